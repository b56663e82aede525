//! A language model as the text encoder of a `CLIP`: its weights, which may not be loaded yet, and its vocabulary.

use std::sync::{Arc, OnceLock};

use candle_core::Tensor;
use ebb_engine::node::{Context, NodeError};
use ebb_engine::residency::{Component, ComponentSpec, Lease};
use ebb_models::LoadOptions;
use ebb_models::qwen::Qwen3;
use ebb_text::T5Vocabulary;
use ebb_weights::{ModelFolders, WeightSource, vocabularies, vocabulary_folders};

use super::model::load_progress;
use super::model_error;
use super::tensors::Tensors;
use crate::compute::{Compute, InMemory};

/// Qwen 3: where its weights and its vocabulary are.
pub(crate) struct Language {
    source: WeightSource,
    spec: ComponentSpec,
    /// Channels of a token's vector.
    width: usize,
    compute: Arc<Compute>,
    models: Arc<ModelFolders>,
    /// Read with the first prompt: planning needs no vocabulary.
    vocabulary: OnceLock<T5Vocabulary>,
}

/// Qwen 3 in memory.
struct LoadedLanguage(InMemory<Qwen3>);

impl Component for LoadedLanguage {
    fn bytes(&self) -> u64 {
        self.0.bytes() as u64
    }
}

/// What a prompt is wrapped in: the model was trained as one side of a conversation.
const BEFORE: &str = "<|im_start|>user\n";
const AFTER: &str = "<|im_end|>\n<|im_start|>assistant\n";
/// A token that every vocabulary of Qwen has, and T5's have not.
const OWN_TOKEN: &str = "<|im_start|>";

/// The names under which the vocabulary stands beside the encoder or in a text encoders' folder.
const FILES: [&str; 5] = [
    "qwen3/tokenizer.json",
    "qwen/tokenizer.json",
    "qwen_tokenizer/tokenizer.json",
    "tokenizer/tokenizer.json",
    "tokenizer.json",
];

impl Language {
    /// The encoder in some tensors, named as the transformers library does. Reads no weights.
    pub(crate) fn new(
        source: WeightSource,
        models: &Arc<ModelFolders>,
        compute: &Arc<Compute>,
    ) -> Result<Self, NodeError> {
        let tensors = Tensors::of_file(source.clone());
        let outline = Qwen3::load(&compute.counting(), &source, LoadOptions::default())
            .map_err(|e| model_error(&tensors.label("Qwen 3"), e))?;
        let spec = tensors.spec("Qwen 3", compute, outline.bytes() as u64);
        let (models, compute) = (models.clone(), compute.clone());
        let width = outline.width();
        Ok(Self { source, spec, width, compute, models, vocabulary: OnceLock::new() })
    }

    pub(crate) fn spec(&self) -> &ComponentSpec {
        &self.spec
    }

    /// Bytes of an encoded prompt, at most: no token is shorter than a byte. One that is not known yet counts as short.
    pub(crate) fn encoded_bytes(&self, prompt: Option<&str>) -> u64 {
        let text = prompt.map_or(77, str::len) + BEFORE.len() + AFTER.len();
        (text as u64).saturating_mul(self.width as u64).saturating_mul(4)
    }

    /// Its tensors.
    pub(crate) fn tensors(&self) -> Arc<dyn ebb_models::source::Source> {
        Arc::new(self.source.clone())
    }

    /// Encodes a prompt, `[1, tokens, channels]`. Emphasis is part of the text: it knows no weights.
    pub(crate) fn encode(&self, context: &Context, prompt: &str) -> Result<Tensor, NodeError> {
        let tokens = self
            .vocabulary()?
            .ids(&format!("{BEFORE}{prompt}{AFTER}"))
            .map_err(|e| NodeError::input("text", e.to_string()))?;
        let spec = &self.spec;
        let lease: Lease<LoadedLanguage> = context.component(spec, |progress| {
            let mut report = load_progress(progress, spec.bytes);
            let options = LoadOptions { progress: Some(&mut report), ..LoadOptions::default() };
            let loaded = Qwen3::load(self.compute.ops(), &self.source, options);
            Ok(LoadedLanguage(InMemory::new(loaded.map_err(|e| model_error(&spec.label, e))?)))
        })?;
        context.check()?;
        let encoded = lease.0.encode(&tokens).map_err(|e| model_error(&spec.label, e));
        self.compute.ops().trim();
        encoded
    }

    fn vocabulary(&self) -> Result<&T5Vocabulary, NodeError> {
        if let Some(known) = self.vocabulary.get() {
            return Ok(known);
        }
        let roots = vocabulary_folders(&self.source, &self.models);
        for found in vocabularies(&roots, &FILES) {
            let (path, json) = found.map_err(|e| NodeError::model(e.to_string()))?;
            let unread = |e| NodeError::model(format!("{}: {e}", path.display()));
            let found = T5Vocabulary::from_tokenizer_json(&json).map_err(unread)?;
            // T5's vocabulary has the same name.
            if found.has(OWN_TOKEN) {
                return Ok(self.vocabulary.get_or_init(|| found));
            }
        }
        let places: Vec<String> = roots.iter().map(|root| root.display().to_string()).collect();
        Err(NodeError::model(format!(
            "{}: needs its vocabulary; put Qwen's tokenizer.json, as it is or as qwen3/tokenizer.json, into one of: {}",
            self.spec.label,
            places.join(", ")
        )))
    }
}
