//! `CLIP`: the text encoders of a family, which may not be loaded yet.

use std::sync::Arc;

use ebb_engine::node::{Context, NodeError};
use ebb_engine::residency::{Component, ComponentSpec, Lease};
use ebb_engine::value::Payload;
use ebb_models::LoadOptions;
use ebb_models::clip::{self, Clip as Network};
use ebb_models::text::{Chunks, Composition, Encoded, Stack, Token, Tokens};
use ebb_text::{ChunkRules, ClipVocabulary};
use ebb_weights::{ModelFolders, WeightSource};

use super::model::{key, label, load_overhead, load_progress};
use super::model_error;
use crate::compute::{Compute, InMemory};
use crate::embeddings::Files;

/// The text encoders of a family. Cloning shares their weights.
#[derive(Clone)]
pub struct Clip {
    /// The layer that `CLIPSetLastLayer` asked for, counted from the end.
    pub layer: Option<i32>,
    encoders: Arc<Encoders>,
}

struct Encoders {
    composition: Composition,
    parts: Vec<Part>,
    models: Arc<ModelFolders>,
    compute: Arc<Compute>,
}

/// One encoder.
struct Part {
    kind: clip::Kind,
    source: WeightSource,
    spec: ComponentSpec,
    /// Channels of a token: textual inversions of another width are left out.
    width: usize,
}

/// A text encoder in memory.
pub struct LoadedClip(InMemory<Arc<Network>>);

impl Component for LoadedClip {
    fn bytes(&self) -> u64 {
        self.0.bytes() as u64
    }
}

impl Clip {
    /// The encoders in some tensors. Reads no weights.
    ///
    /// # Errors
    /// Where tensors are missing or have the wrong shape.
    pub fn new(
        composition: Composition,
        encoders: Vec<(clip::Kind, WeightSource)>,
        models: &Arc<ModelFolders>,
        compute: &Arc<Compute>,
    ) -> Result<Self, NodeError> {
        let parts = encoders
            .into_iter()
            .map(|(kind, source)| Part::new(kind, source, compute))
            .collect::<Result<_, _>>()?;
        let encoders = Encoders { composition, parts, models: models.clone(), compute: compute.clone() };
        Ok(Self { layer: None, encoders: Arc::new(encoders) })
    }

    /// What is loaded for it, encoder by encoder.
    pub fn specs(&self) -> impl Iterator<Item = &ComponentSpec> {
        self.encoders.parts.iter().map(|part| &part.spec)
    }

    /// Encodes a prompt.
    ///
    /// # Errors
    /// Where the prompt or an embedding cannot be read, a file cannot be loaded, or the run is
    /// cancelled.
    pub fn encode(&self, context: &Context, prompt: &str) -> Result<Encoded, NodeError> {
        self.encode_each(context, prompt, prompt)
    }

    /// Encodes a prompt of its own for ViT-L and for the other encoders.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn encode_each(&self, context: &Context, for_l: &str, for_g: &str) -> Result<Encoded, NodeError> {
        let encoders = &*self.encoders;
        let mut stack =
            Stack { composition: encoders.composition, l: None, g: None, t5: None, layer: self.layer };
        let mut tokens = Tokens::default();
        // Held until the prompt is encoded.
        let mut leases: Vec<Lease<LoadedClip>> = Vec::new();
        let mut label: Arc<str> = "text encoder".into();
        for part in &encoders.parts {
            let prompt = if part.kind == clip::Kind::L { for_l } else { for_g };
            let chunks = part.tokenize(prompt, &encoders.models)?;
            let lease = part.load(context, &encoders.compute)?;
            let network = Some(Arc::clone(&lease.0));
            leases.push(lease);
            label = part.spec.label.clone();
            match part.kind {
                clip::Kind::L => (stack.l, tokens.l) = (network, chunks),
                clip::Kind::G | clip::Kind::H => (stack.g, tokens.g) = (network, chunks),
            }
        }
        if encoders.composition == Composition::Sdxl {
            // Prompts of different lengths are read side by side: the shorter one goes on with nothing.
            let chunks = tokens.l.len().max(tokens.g.len());
            for part in &encoders.parts {
                let list = if part.kind == clip::Kind::L { &mut tokens.l } else { &mut tokens.g };
                while list.len() < chunks {
                    list.extend(part.tokenize("", &encoders.models)?);
                }
            }
        }
        context.check()?;
        let encoded = stack.encode(&tokens).map_err(|e| model_error(&label, e));
        encoders.compute.ops().trim();
        encoded
    }
}

impl Part {
    fn new(kind: clip::Kind, source: WeightSource, compute: &Arc<Compute>) -> Result<Self, NodeError> {
        let part = match kind {
            clip::Kind::L => "text encoder L",
            clip::Kind::G => "text encoder G",
            clip::Kind::H => "text encoder H",
        };
        let label = label(&source, part);
        let outline = Network::load(&compute.counting(), &source, kind, LoadOptions::default())
            .map_err(|e| model_error(&label, e))?;
        let spec = ComponentSpec {
            key: key(&source, part, compute),
            label,
            bytes: outline.bytes() as u64,
            load_overhead: load_overhead(&source),
        };
        Ok(Self { kind, source, spec, width: outline.width() })
    }

    fn load(&self, context: &Context, compute: &Compute) -> Result<Lease<LoadedClip>, NodeError> {
        let spec = &self.spec;
        context.component(spec, |progress| {
            let mut report = load_progress(progress, spec.bytes);
            let options = LoadOptions { progress: Some(&mut report), ..LoadOptions::default() };
            let loaded = Network::load(compute.ops(), &self.source, self.kind, options);
            let loaded = loaded.map_err(|e| model_error(&spec.label, e))?;
            Ok(LoadedClip(InMemory::new(Arc::new(loaded))))
        })
    }

    fn tokenize(&self, prompt: &str, models: &ModelFolders) -> Result<Chunks, NodeError> {
        let (rules, name) = match self.kind {
            clip::Kind::L => (&ChunkRules::CLIP_L, "clip_l"),
            clip::Kind::G => (&ChunkRules::CLIP_G, "clip_g"),
            clip::Kind::H => (&ChunkRules::CLIP_H, "clip_h"),
        };
        let embeddings = Files { models, encoder: name };
        let chunks = ebb_text::tokenize(prompt, &ClipVocabulary, rules, Some((&embeddings, self.width)))
            .map_err(|e| NodeError::input("text", e.to_string()))?;
        Ok(chunks.into_iter().map(|chunk| chunk.into_iter().map(weighted).collect()).collect())
    }
}

fn weighted(token: ebb_text::WeightedToken) -> (Token, f32) {
    let value = match token.token {
        ebb_text::Token::Id(id) => Token::Id(id),
        ebb_text::Token::Vector(vector) => Token::Vector(vector),
    };
    (value, token.weight)
}

impl Payload for Clip {
    fn type_name(&self) -> &'static str {
        "CLIP"
    }

    fn bytes(&self) -> u64 {
        0
    }

    fn summary(&self) -> String {
        self.specs().map(|spec| spec.label.to_string()).collect::<Vec<_>>().join(", ")
    }
}
