//! T5 among the text encoders of a `CLIP`: its weights, which may not be loaded yet, and its vocabulary.

use std::sync::{Arc, OnceLock};

use ebb_engine::node::{Context, NodeError};
use ebb_engine::residency::{Component, ComponentSpec, Lease};
use ebb_kernels::Quant;
use ebb_models::LoadOptions;
use ebb_models::source::Source;
use ebb_models::t5::T5 as Network;
use ebb_models::text::Chunks;
use ebb_text::{ChunkRules, T5Vocabulary, UnigramPieces};
use ebb_weights::{ModelFolders, TokenizerData, WeightSource, t5_tokenizer};

use super::clip::weighted;
use super::model::load_progress;
use super::model_error;
use super::tensors::Tensors;
use super::ways::{narrow_spec, narrowed, narrowing};
use crate::compute::{Compute, InMemory};

/// A T5 encoder: where its weights and its vocabulary are.
pub(crate) struct T5 {
    source: WeightSource,
    tensors: Tensors,
    spec: ComponentSpec,
    compute: Arc<Compute>,
    models: Arc<ModelFolders>,
    /// Read with the first prompt: planning needs no vocabulary.
    vocabulary: OnceLock<T5Vocabulary>,
}

/// A T5 encoder in memory.
pub(crate) struct LoadedT5(pub(crate) InMemory<Arc<Network>>);

impl Component for LoadedT5 {
    fn bytes(&self) -> u64 {
        self.0.bytes() as u64
    }
}

impl T5 {
    /// Its tensors.
    pub(crate) fn tensors(&self) -> Arc<dyn ebb_models::source::Source> {
        Arc::new(self.source.clone())
    }

    /// The encoder in some tensors, named as the transformers library does. Reads no weights.
    pub(crate) fn new(
        source: WeightSource,
        models: &Arc<ModelFolders>,
        compute: &Arc<Compute>,
    ) -> Result<Self, NodeError> {
        let tensors = Tensors::of_file(source.clone());
        let outline = Network::load(&compute.counting(), &source, LoadOptions::default())
            .map_err(|e| model_error(&tensors.label("T5"), e))?;
        let spec = tensors.spec("T5", compute, outline.bytes() as u64);
        let (models, compute) = (models.clone(), compute.clone());
        Ok(Self { source, tensors, spec, compute, models, vocabulary: OnceLock::new() })
    }

    pub(crate) fn spec(&self) -> &ComponentSpec {
        &self.spec
    }

    /// The component with its matrices in blocks of a type, and the tensors that it is loaded from; none where that
    /// saves nothing.
    pub(super) fn narrowed(&self, kind: &str, quant: Quant) -> Option<(ComponentSpec, Arc<dyn Source>)> {
        let source = narrowed(&self.tensors, quant);
        let counted = Network::load(&self.compute.counting(), &source, LoadOptions::default()).ok()?;
        Some((narrow_spec(&self.spec, kind, counted.bytes() as u64)?, source))
    }

    pub(crate) fn load(&self, context: &Context) -> Result<Lease<LoadedT5>, NodeError> {
        let narrow = narrowing(context.savings()).and_then(|(kind, quant)| self.narrowed(kind, quant));
        let (spec, source) = narrow.unwrap_or_else(|| (self.spec.clone(), self.tensors.source.clone()));
        context.component(&spec, |progress| {
            let mut report = load_progress(progress, spec.bytes);
            let options = LoadOptions { progress: Some(&mut report), ..LoadOptions::default() };
            let loaded = Network::load(self.compute.ops(), &source, options);
            let loaded = loaded.map_err(|e| model_error(&spec.label, e))?;
            Ok(LoadedT5(InMemory::new(Arc::new(loaded))))
        })
    }

    /// A prompt's tokens. T5 knows no textual inversions.
    pub(crate) fn tokenize(&self, prompt: &str, rules: &ChunkRules) -> Result<Chunks, NodeError> {
        let chunks = ebb_text::tokenize(prompt, self.vocabulary()?, rules, None)
            .map_err(|e| NodeError::input("text", e.to_string()))?;
        Ok(chunks.into_iter().map(|chunk| chunk.into_iter().map(weighted).collect()).collect())
    }

    fn vocabulary(&self) -> Result<&T5Vocabulary, NodeError> {
        if let Some(known) = self.vocabulary.get() {
            return Ok(known);
        }
        let found = t5_tokenizer(&self.source, &self.models).map_err(|e| NodeError::model(e.to_string()))?;
        let read = match found {
            TokenizerData::Json(json) => T5Vocabulary::from_tokenizer_json(&json),
            TokenizerData::SentencePiece(model) => T5Vocabulary::from_spiece(&model),
            TokenizerData::Pieces { pieces, unknown, special, rules } => {
                T5Vocabulary::from_pieces(UnigramPieces { pieces, unknown, special, rules })
            }
        };
        let read = read.map_err(|e| NodeError::model(format!("{}: its vocabulary: {e}", self.spec.label)))?;
        Ok(self.vocabulary.get_or_init(|| read))
    }
}
