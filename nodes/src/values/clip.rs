//! `CLIP`: the text encoders of a family, which may not be loaded yet.

use std::sync::{Arc, OnceLock};

use ebb_engine::node::{Context, NodeError, Way};
use ebb_engine::residency::{Component, ComponentKey, ComponentSpec, Lease};
use ebb_engine::value::Payload;
use ebb_kernels::Quant;
use ebb_models::LoadOptions;
use ebb_models::clip::{self, Clip as Network};
use ebb_models::narrow;
use ebb_models::source::Source;
use ebb_models::text::{Chunks, Composition, Encoded, Stack, Token, Tokens};
use ebb_text::{ChunkRules, ClipVocabulary};
use ebb_weights::{ModelFolders, WeightSource};

use super::language::Language;
use super::model::{load_progress, make_way};
use super::model_error;
use super::t5::T5;
use super::tensors::Tensors;
use super::ways::{narrow_spec, narrow_to, narrowed, narrowing};
use crate::compute::{Compute, InMemory};
use crate::embeddings::Files;

/// The text encoders of a family. Cloning shares their weights.
#[derive(Clone)]
pub struct Clip {
    /// The layer that `CLIPSetLastLayer` asked for, counted from the end.
    pub layer: Option<i32>,
    /// What `T5TokenizerOptions` asked for: fillers behind T5's prompt, and its least length.
    pub t5_padding: Option<[usize; 2]>,
    /// T5, of families that have it.
    t5: Option<Arc<T5>>,
    /// A language model, of families that have one.
    language: Option<Arc<Language>>,
    encoders: Arc<Encoders>,
}

struct Encoders {
    composition: Composition,
    parts: Vec<Arc<Part>>,
    models: Arc<ModelFolders>,
    compute: Arc<Compute>,
    /// What is loaded where it is to be less: found once, whatever the number of prompts.
    narrow: OnceLock<Vec<(&'static str, Vec<Narrow>)>>,
}

/// The components of one encoder with fewer bits a weight; its own where that saves nothing.
type Narrow = Vec<ComponentSpec>;

/// A prompt for each encoder. `None` leaves its encoder out where the family allows it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Prompts<'a> {
    /// For ViT-L.
    pub l: Option<&'a str>,
    /// For bigG and ViT-H.
    pub g: Option<&'a str>,
    /// For T5.
    pub t5: Option<&'a str>,
}

/// One encoder.
struct Part {
    kind: clip::Kind,
    tensors: Tensors,
    spec: ComponentSpec,
    /// Loaded on a backend that only counts: answers for sizes.
    outline: Arc<Network>,
    /// The unpatched encoder that this one is a view on.
    base: Option<Arc<Part>>,
}

/// A text encoder in memory. A patched one holds its base, which is not evicted before it.
pub struct LoadedClip {
    network: InMemory<Arc<Network>>,
    base: Option<Lease<LoadedClip>>,
}

impl Component for LoadedClip {
    fn bytes(&self) -> u64 {
        self.network.params().own_bytes() as u64
    }

    fn base(&self) -> Option<&ComponentKey> {
        self.base.as_ref().map(Lease::key)
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
            .map(|(kind, source)| Part::new(kind, source, compute).map(Arc::new))
            .collect::<Result<_, _>>()?;
        let encoders = Encoders {
            composition,
            parts,
            models: models.clone(),
            compute: compute.clone(),
            narrow: OnceLock::new(),
        };
        Ok(Self { layer: None, t5_padding: None, t5: None, language: None, encoders: Arc::new(encoders) })
    }

    /// With T5 beside the other encoders.
    #[must_use]
    pub(crate) fn with_t5(self, t5: T5) -> Self {
        Self { t5: Some(Arc::new(t5)), ..self }
    }

    /// With a language model as its only encoder.
    #[must_use]
    pub(crate) fn with_language(self, language: Language) -> Self {
        Self { language: Some(Arc::new(language)), ..self }
    }

    /// What is loaded for it, encoder by encoder.
    pub fn specs(&self) -> impl Iterator<Item = &ComponentSpec> {
        let t5 = self.t5.iter().map(|t5| t5.spec());
        let language = self.language.iter().map(|language| language.spec());
        self.encoders.parts.iter().flat_map(|part| part.specs()).chain(t5).chain(language)
    }

    /// Ways to encode in less memory than [`specs`](Self::specs) take: with fewer bits a weight.
    pub fn ways(&self) -> Vec<Way> {
        let encoders = &*self.encoders;
        let parts = encoders.narrow.get_or_init(|| {
            let of = |kind, quant| {
                encoders.parts.iter().map(move |part| part.narrow(&encoders.compute, kind, quant))
            };
            narrow::KINDS.into_iter().map(|(kind, quant)| (kind, of(kind, quant).collect())).collect()
        });
        let ways = parts.iter().zip(narrow::KINDS).filter_map(|((kind, parts), (_, quant))| {
            let t5 =
                self.t5.iter().map(|t5| t5.narrowed(kind, quant).map_or(t5.spec().clone(), |(spec, _)| spec));
            let language = self.language.iter().map(|language| language.spec().clone());
            let uses: Vec<ComponentSpec> =
                parts.iter().flatten().cloned().chain(t5).chain(language).collect();
            let bytes = |specs: &mut dyn Iterator<Item = u64>| specs.fold(0, u64::saturating_add);
            let saves = bytes(&mut uses.iter().map(|s| s.bytes)) < bytes(&mut self.specs().map(|s| s.bytes));
            saves.then(|| Way { savings: vec![narrow_to(kind)], uses, scratch: 0 })
        });
        ways.collect()
    }

    /// Bytes of an encoded prompt: the tokens' vectors and the pooled one. A prompt that is not known yet counts as short.
    pub fn encoded_bytes(&self, prompt: Option<&str>) -> u64 {
        if let Some(language) = &self.language {
            return language.encoded_bytes(prompt);
        }
        let Encoders { composition, parts, models, .. } = &*self.encoders;
        let chunks = prompt.zip(parts.first()).and_then(|(prompt, part)| part.tokenize(prompt, models).ok());
        let chunks = chunks.map_or(1, |chunks| chunks.len().max(1)) as u64;
        let widths: u64 = parts.iter().map(|part| part.outline.width() as u64).sum();
        let (padding, least) = match self.t5_padding {
            Some([padding, least]) => (padding as u64, least as u64),
            None => (0, if matches!(composition, Composition::Flux) { 256 } else { 77 }),
        };
        let t5 = least.max((77 * chunks).saturating_add(padding));
        let (tokens, width) = match composition {
            // T5's tokens stand behind CLIP's, all as wide as T5's.
            Composition::Sd3 => (77 * chunks + if self.t5.is_some() { t5 } else { 0 }, T5_WIDTH),
            Composition::Flux => (t5, T5_WIDTH),
            _ => (77 * chunks, widths),
        };
        tokens.saturating_mul(width).saturating_add(widths).saturating_mul(4)
    }

    /// How its encoders are put together.
    pub(crate) fn composition(&self) -> Composition {
        self.encoders.composition
    }

    /// The language model's tensors, where it has one.
    pub(crate) fn language_tensors(&self) -> Option<Arc<dyn Source>> {
        self.language.as_ref().map(|language| language.tensors())
    }

    /// T5's tensors, where it is among them.
    pub(crate) fn t5_tensors(&self) -> Option<Arc<dyn Source>> {
        self.t5.as_ref().map(|t5| t5.tensors())
    }

    /// Which encoders there are, and their tensors, patched where they are.
    pub(crate) fn encoders(&self) -> impl ExactSizeIterator<Item = (clip::Kind, &Tensors)> {
        self.encoders.parts.iter().map(|part| (part.kind, &part.tensors))
    }

    /// The same encoders with changed weights: views on the unpatched ones, which stay as they are. `change` answers
    /// an encoder's changed tensors, or `None` for one that stays; `name` is the change's name for people and
    /// `identity` tells it from other changes.
    ///
    /// # Errors
    /// Where the changed tensors do not make an encoder.
    pub(crate) fn view(
        &self,
        name: &str,
        identity: &str,
        mut change: impl FnMut(usize, clip::Kind, &Tensors) -> Result<Option<Arc<dyn Source>>, NodeError>,
    ) -> Result<Self, NodeError> {
        let Encoders { composition, parts, models, compute, .. } = &*self.encoders;
        let viewed = |(i, part): (usize, &Arc<Part>)| match change(i, part.kind, &part.tensors)? {
            Some(source) => part.view(source, name, identity, compute).map(Arc::new),
            None => Ok(part.clone()),
        };
        let parts = parts.iter().enumerate().map(viewed).collect::<Result<_, _>>()?;
        let (models, compute) = (models.clone(), compute.clone());
        let narrow = OnceLock::new();
        let encoders = Encoders { composition: *composition, parts, models, compute, narrow };
        Ok(Self { encoders: Arc::new(encoders), ..self.clone() })
    }

    /// Encodes a prompt.
    ///
    /// # Errors
    /// Where the prompt or an embedding cannot be read, a file cannot be loaded, or the run is
    /// cancelled.
    pub fn encode(&self, context: &Context, prompt: &str) -> Result<Encoded, NodeError> {
        self.encode_each(context, Prompts { l: Some(prompt), g: Some(prompt), t5: Some(prompt) })
    }

    /// Encodes a prompt, with pooled vectors as they are before any projection.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub(crate) fn encode_unprojected(&self, context: &Context, prompt: &str) -> Result<Encoded, NodeError> {
        self.encode_as(context, Prompts { l: Some(prompt), g: Some(prompt), t5: Some(prompt) }, true)
    }

    /// Encodes a prompt of its own for each encoder.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn encode_each(&self, context: &Context, prompts: Prompts<'_>) -> Result<Encoded, NodeError> {
        self.encode_as(context, prompts, false)
    }

    fn encode_as(
        &self,
        context: &Context,
        prompts: Prompts<'_>,
        unprojected: bool,
    ) -> Result<Encoded, NodeError> {
        if let Some(language) = &self.language {
            let prompt = prompts.l.or(prompts.g).or(prompts.t5).unwrap_or_default();
            return Ok(Encoded { context: language.encode(context, prompt)?, pooled: None });
        }
        let encoders = &*self.encoders;
        if encoders.parts.is_empty() && self.t5.is_none() {
            return Err(NodeError::input(
                "clip",
                "holds no text encoder: its file has none; load them with CLIPLoader, DualCLIPLoader or TripleCLIPLoader",
            ));
        }
        let mut stack = Stack {
            composition: encoders.composition,
            l: None,
            g: None,
            t5: None,
            layer: self.layer,
            unprojected,
        };
        let is_beside = prompts.l.is_some() || prompts.g.is_some();
        let mut tokens = Tokens::default();
        // Held until the prompt is encoded.
        let mut leases: Vec<Lease<LoadedClip>> = Vec::new();
        let mut label: Arc<str> = "text encoder".into();
        for part in &encoders.parts {
            let prompt = if part.kind == clip::Kind::L { prompts.l } else { prompts.g };
            // The encoder of a prompt that was left out counts as one that is not there.
            let Some(prompt) = prompt.or(is_beside.then_some("")) else { continue };
            let chunks = part.tokenize(prompt, &encoders.models)?;
            let lease = part.load(context, &encoders.compute)?;
            let network = Some(Arc::clone(&lease.network));
            leases.push(lease);
            label = part.spec.label.clone();
            match part.kind {
                clip::Kind::L => (stack.l, tokens.l) = (network, chunks),
                clip::Kind::G | clip::Kind::H => (stack.g, tokens.g) = (network, chunks),
            }
        }
        if matches!(encoders.composition, Composition::Sdxl | Composition::Sd3) && is_beside {
            // Prompts of different lengths are read side by side: the shorter one goes on with nothing.
            let chunks = tokens.l.len().max(tokens.g.len());
            for part in &encoders.parts {
                let list = if part.kind == clip::Kind::L { &mut tokens.l } else { &mut tokens.g };
                while list.len() < chunks {
                    list.extend(part.tokenize("", &encoders.models)?);
                }
            }
        }
        let lease;
        if let Some(t5) = &self.t5 {
            let rules = match encoders.composition {
                Composition::Flux => ChunkRules::T5_FLUX,
                _ => ChunkRules::T5_SD3,
            };
            let rules = match self.t5_padding {
                Some([min_padding, min_length]) => ChunkRules { min_padding, min_length, ..rules },
                None => rules,
            };
            // Without a prompt of its own it reads the shortest text there is.
            tokens.t5 = prompts.t5.map(|prompt| t5.tokenize(prompt, &rules)).transpose()?.unwrap_or_default();
            lease = t5.load(context)?;
            stack.t5 = Some(Arc::clone(&lease.0));
            label = t5.spec().label.clone();
        }
        context.check()?;
        let encoded = stack.encode(&tokens).map_err(|e| model_error(&label, e));
        // Its handles on the networks go before the leases: what is given back then is really gone.
        drop(stack);
        encoders.compute.ops().trim();
        encoded
    }
}

impl Part {
    fn new(kind: clip::Kind, source: WeightSource, compute: &Arc<Compute>) -> Result<Self, NodeError> {
        let tensors = Tensors::of_file(source);
        let outline = Network::load(&compute.counting(), &tensors.source, kind, LoadOptions::default())
            .map_err(|e| model_error(&tensors.label(name(kind)), e))?;
        let spec = tensors.spec(name(kind), compute, outline.bytes() as u64);
        Ok(Self { kind, tensors, spec, outline: Arc::new(outline), base: None })
    }

    fn view(
        self: &Arc<Self>,
        source: Arc<dyn Source>,
        change: &str,
        identity: &str,
        compute: &Compute,
    ) -> Result<Self, NodeError> {
        let base = self.base.as_ref().unwrap_or(self).clone();
        let tensors = self.tensors.changed(source, change, identity);
        let options = LoadOptions { base: Some(base.outline.params()), ..LoadOptions::default() };
        let counted = Network::load(&compute.counting(), &tensors.source, self.kind, options)
            .map_err(|e| model_error(&tensors.label(name(self.kind)), e))?;
        let spec = tensors.spec(name(self.kind), compute, counted.params().own_bytes() as u64);
        let kind = self.kind;
        if counted.params().shared_bytes() == 0 {
            // Every weight is another: a merge. There is nothing to hold the base for.
            return Ok(Self { kind, tensors, spec, outline: Arc::new(counted), base: None });
        }
        let outline = base.outline.clone();
        Ok(Self { kind, tensors, spec, outline, base: Some(base) })
    }

    /// What is loaded for it: the unpatched weights, and what patches changed of them.
    fn specs(&self) -> impl Iterator<Item = &ComponentSpec> {
        self.base.iter().map(|base| &base.spec).chain([&self.spec])
    }

    /// The component with its matrices in blocks of a type, and the tensors that it is loaded from; none where that
    /// saves nothing.
    fn narrowed(
        &self,
        compute: &Compute,
        kind: &str,
        quant: Quant,
    ) -> Option<(ComponentSpec, Arc<dyn Source>)> {
        let source = narrowed(&self.tensors, quant);
        let counted = Network::load(&compute.counting(), &source, self.kind, LoadOptions::default()).ok()?;
        let whole = ComponentSpec { bytes: self.specs().map(|spec| spec.bytes).sum(), ..self.spec.clone() };
        Some((narrow_spec(&whole, kind, counted.bytes() as u64)?, source))
    }

    fn narrow(&self, compute: &Compute, kind: &str, quant: Quant) -> Narrow {
        match self.narrowed(compute, kind, quant) {
            Some((spec, _)) => vec![spec],
            None => self.specs().cloned().collect(),
        }
    }

    fn load(&self, context: &Context, compute: &Compute) -> Result<Lease<LoadedClip>, NodeError> {
        let narrow = narrowing(context.savings());
        if let Some((spec, source)) = narrow.and_then(|(kind, quant)| self.narrowed(compute, kind, quant)) {
            return context.component(&spec, |progress| {
                let mut report = load_progress(progress, spec.bytes);
                let options = LoadOptions { progress: Some(&mut report), ..LoadOptions::default() };
                let loaded = Network::load(compute.ops(), &source, self.kind, options);
                let network = loaded.map_err(|e| model_error(&spec.label, e))?;
                Ok(LoadedClip { network: InMemory::new(Arc::new(network)), base: None })
            });
        }
        let Self { spec, base, .. } = self;
        if base.is_some() {
            make_way(context, spec);
        }
        context.component(spec, |progress| {
            let base = base.as_ref().map(|base| base.load(context, compute)).transpose()?;
            let mut report = load_progress(progress, spec.bytes);
            let options = LoadOptions {
                base: base.as_ref().map(|base| base.network.params()),
                progress: Some(&mut report),
                stream: None,
            };
            let loaded = Network::load(compute.ops(), &self.tensors.source, self.kind, options);
            let network = loaded.map_err(|e| model_error(&spec.label, e))?;
            Ok(LoadedClip { network: InMemory::new(Arc::new(network)), base })
        })
    }

    fn tokenize(&self, prompt: &str, models: &ModelFolders) -> Result<Chunks, NodeError> {
        let (rules, name) = match self.kind {
            clip::Kind::L => (&ChunkRules::CLIP_L, "clip_l"),
            clip::Kind::G => (&ChunkRules::CLIP_G, "clip_g"),
            clip::Kind::H => (&ChunkRules::CLIP_H, "clip_h"),
        };
        let embeddings = Files { models, encoder: name };
        let chunks =
            ebb_text::tokenize(prompt, &ClipVocabulary, rules, Some((&embeddings, self.outline.width())))
                .map_err(|e| NodeError::input("text", e.to_string()))?;
        Ok(chunks.into_iter().map(|chunk| chunk.into_iter().map(weighted).collect()).collect())
    }
}

/// Channels of T5's tokens, and of what stands beside them.
const T5_WIDTH: u64 = 4096;

/// An encoder's name among a checkpoint's components.
fn name(kind: clip::Kind) -> &'static str {
    match kind {
        clip::Kind::L => "text encoder L",
        clip::Kind::G => "text encoder G",
        clip::Kind::H => "text encoder H",
    }
}

pub(super) fn weighted(token: ebb_text::WeightedToken) -> (Token, f32) {
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
