//! `MODEL`: a denoiser that may not be loaded yet.

use std::sync::Arc;

use ebb_engine::node::{Context, NodeError, Saving};
use ebb_engine::residency::{Component, ComponentKey, ComponentSpec, Lease, LoadProgress, Loader};
use ebb_engine::value::Payload;
use ebb_models::LoadOptions;
use ebb_models::changes::{Changes, Shrink};
use ebb_models::denoiser::{Denoiser, Input, Session};
use ebb_models::hypernetwork::Hypernetwork;
use ebb_models::ops::blank;
use ebb_models::source::Source;
use ebb_sampling::ModelSampling;
use ebb_sampling::guidance::Hooks;
use ebb_weights::WeightSource;

use super::counted::{CELLS, Counted};
use super::handle::Handle;
use super::model_error;
use super::tensors::Tensors;
use super::ways::narrowing;
use crate::compute::{Compute, InMemory, Trim};
use crate::families::Family;

/// A denoiser: where its weights are, and what nodes changed about it. Cloning shares the weights.
#[derive(Clone)]
pub struct Model {
    /// Its family.
    pub family: &'static Family,
    /// Its relation to noise.
    pub sampling: ModelSampling,
    /// Changes of guidance.
    pub hooks: Arc<Hooks>,
    /// Changes of the network's layers, in the order in which they were made.
    pub patches: Vec<Patch>,
    /// Steps that take an earlier one's answer.
    pub reuse: Option<Reuse>,
    pub(super) weights: Arc<Weights>,
}

/// A change of a denoiser's layers that a node made.
#[derive(Clone)]
pub enum Patch {
    /// What needs nothing more.
    Layers(Arc<Changes>),
    /// Self-attention in tiles.
    Tiles {
        /// Cells along a side of a tile, at least.
        size: usize,
        /// How many divisions a side is drawn from.
        swap: usize,
        /// Down to which resolution.
        depth: u32,
        /// Whether tiles of lower resolutions have more cells.
        scales: bool,
    },
    /// Queries that are alike are computed once: this share of them.
    Merge(f64),
    /// A network on keys and values, and how strongly.
    Hypernetwork(Handle<Hypernetwork>, f64),
    /// A block whose result is made smaller.
    Shrink(Shrink),
}

/// When a step may take the answer of an earlier one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reuse {
    /// How much the answer may have changed meanwhile.
    pub threshold: f64,
    /// The share of sampling after which it may.
    pub start_percent: f64,
    /// The share of sampling until which it may.
    pub end_percent: f64,
    /// Whether it says what it does.
    pub verbose: bool,
}

/// The denoiser's tensors and what is known of them before they are read.
pub(super) struct Weights {
    pub(super) tensors: Tensors,
    pub(super) spec: ComponentSpec,
    pub(super) compute: Arc<Compute>,
    /// Loaded on a backend that only counts: answers for sizes.
    pub(super) outline: Arc<dyn Denoiser>,
    /// The unpatched weights that these are a view on: what the patches leave alone is theirs.
    base: Option<Arc<Weights>>,
}

/// A denoiser in memory. A patched one holds its base, which is not evicted before it.
pub struct LoadedDenoiser {
    network: InMemory<Box<dyn Denoiser>>,
    base: Option<Lease<LoadedDenoiser>>,
}

impl Component for LoadedDenoiser {
    fn bytes(&self) -> u64 {
        self.network.params().own_bytes() as u64
    }

    fn base(&self) -> Option<&ComponentKey> {
        self.base.as_ref().map(Lease::key)
    }
}

impl LoadedDenoiser {
    /// The network.
    pub fn network(&self) -> &dyn Denoiser {
        &**self.network
    }
}

impl Weights {
    fn load(&self, family: &Family, context: &Context) -> Result<Lease<LoadedDenoiser>, NodeError> {
        let Self { spec, base, .. } = self;
        if base.is_some() {
            make_way(context, spec);
        }
        context.component(spec, |progress| {
            let base = base.as_ref().map(|base| base.load(family, context)).transpose()?;
            self.read(family, base, progress)
        })
    }

    fn read(
        &self,
        family: &Family,
        base: Option<Lease<LoadedDenoiser>>,
        progress: &LoadProgress<'_>,
    ) -> Result<LoadedDenoiser, NodeError> {
        let Self { tensors, spec, compute, .. } = self;
        let mut report = load_progress(progress, spec.bytes);
        let options = LoadOptions {
            base: base.as_ref().map(|base| base.network.params()),
            progress: Some(&mut report),
            stream: None,
        };
        let loaded = (family.denoiser)(compute.ops(), &tensors.source, options);
        let network = InMemory::new(loaded.map_err(|e| model_error(&spec.label, e))?);
        Ok(LoadedDenoiser { network, base })
    }
}

impl Model {
    /// A denoiser of a family in some tensors. Reads no weights.
    ///
    /// # Errors
    /// Where tensors are missing or have the wrong shape.
    pub fn new(
        family: &'static Family,
        source: WeightSource,
        compute: &Arc<Compute>,
    ) -> Result<Self, NodeError> {
        let compute = &compute.for_denoisers();
        let tensors = Tensors::of_file(source);
        let outline = (family.denoiser)(&compute.counting(), &tensors.source, LoadOptions::default())
            .map_err(|e| model_error(&tensors.label("denoiser"), e))?;
        let spec = tensors.spec("denoiser", compute, outline.bytes() as u64);
        let weights =
            Weights { tensors, spec, compute: compute.clone(), outline: outline.into(), base: None };
        let (sampling, hooks) = ((family.sampling)(), Arc::default());
        Ok(Self { family, sampling, hooks, patches: Vec::new(), reuse: None, weights: Arc::new(weights) })
    }

    /// The same denoiser with changed weights: a view on the unpatched ones, which stay as they are. `source` gives
    /// the changed tensors (and tells by its revisions which), `name` the change's name for people, and `change`
    /// tells it from other changes.
    ///
    /// # Errors
    /// Where the changed tensors do not make a denoiser.
    pub(crate) fn view(&self, source: Arc<dyn Source>, name: &str, change: &str) -> Result<Self, NodeError> {
        let weights = &self.weights;
        let base = weights.base.as_ref().unwrap_or(weights).clone();
        let tensors = weights.tensors.changed(source, name, change);
        let options = LoadOptions { base: Some(base.outline.params()), ..LoadOptions::default() };
        let counted = (self.family.denoiser)(&base.compute.counting(), &tensors.source, options)
            .map_err(|e| model_error(&tensors.label("denoiser"), e))?;
        let spec = tensors.spec("denoiser", &base.compute, counted.params().own_bytes() as u64);
        let compute = base.compute.clone();
        let weights = if counted.params().shared_bytes() == 0 {
            // Every weight is another: a merge. There is nothing to hold the base for.
            Weights { tensors, spec, compute, outline: counted.into(), base: None }
        } else {
            let outline = base.outline.clone();
            Weights { tensors, spec, compute, outline, base: Some(base) }
        };
        let weights = Arc::new(weights);
        Ok(Self { weights, ..self.clone() })
    }

    /// Its tensors, patched where they are.
    pub(crate) fn tensors(&self) -> &Tensors {
        &self.weights.tensors
    }

    /// What computes it.
    pub fn compute(&self) -> &Arc<Compute> {
        &self.weights.compute
    }

    /// What is loaded for it: the unpatched weights, and what patches changed of them.
    pub fn specs(&self) -> impl Iterator<Item = &ComponentSpec> {
        let networks = self.patches.iter().filter_map(|patch| match patch {
            Patch::Hypernetwork(network, _) => Some(network.spec()),
            _ => None,
        });
        self.weights.base.iter().map(|base| &base.spec).chain([&self.weights.spec]).chain(networks)
    }

    /// Reads the unpatched weights before a node asks for them.
    pub fn loader(&self) -> (ComponentKey, Loader) {
        let family = self.family;
        let weights = Arc::clone(self.weights.base.as_ref().unwrap_or(&self.weights));
        let key = weights.spec.key.clone();
        (key, Loader::new(move |progress| weights.read(family, None, progress)))
    }

    /// Channels that the network reads: more than its latents have, where a picture is concatenated.
    pub fn input_channels(&self) -> usize {
        self.weights.outline.input_channels()
    }

    /// The weights, loaded where they are not.
    ///
    /// # Errors
    /// Where the file cannot be read, there is no room, or the run is cancelled.
    pub fn load(&self, context: &Context) -> Result<Lease<LoadedDenoiser>, NodeError> {
        let Weights { tensors, compute, .. } = &*self.weights;
        let streamed = context.savings().iter().find_map(|saving| match saving {
            Saving::Stream { resident } => Some((self.streamed(*resident)?.0, self.stream(*resident))),
            _ => None,
        });
        let (spec, source, stream) = match streamed {
            Some((spec, stream)) => (spec, tensors.source.clone(), Some(stream)),
            None => {
                let narrow = narrowing(context.savings());
                match narrow.and_then(|(kind, quant)| self.narrowed(kind, quant)) {
                    Some((spec, source)) => (spec, source, None),
                    None => return self.weights.load(self.family, context),
                }
            }
        };
        // These are made from the patched tensors: there is no base to share.
        context.component(&spec, |progress| {
            let mut report = load_progress(progress, spec.bytes);
            let options = LoadOptions { base: None, progress: Some(&mut report), stream };
            let loaded = (self.family.denoiser)(compute.ops(), &source, options);
            let network = InMemory::new(loaded.map_err(|e| model_error(&spec.label, e))?);
            Ok(LoadedDenoiser { network, base: None })
        })
    }

    /// Its patches, as far as sizes go; `None` where it has none.
    fn counted_changes(&self) -> Option<Changes> {
        let mut all = Changes::default();
        for patch in &self.patches {
            match patch {
                Patch::Layers(changes) => all = all.with(changes),
                Patch::Shrink(shrink) => all.shrink.push(shrink.clone()),
                // Copies of keys and queries, which the largest layer's product outweighs.
                Patch::Tiles { .. } | Patch::Merge(_) | Patch::Hypernetwork(..) => {}
            }
        }
        (!all.is_empty()).then_some(all)
    }

    /// Bytes of scratch that one call takes for `batch` latents of a size in cells, prompts of
    /// `tokens`, as the network itself counts them.
    pub fn scratch(&self, batch: usize, height: usize, width: usize, tokens: usize) -> Option<u64> {
        let ops = self.weights.compute.counting();
        let source = &self.weights.tensors.source;
        let network = (self.family.denoiser)(&ops, source, LoadOptions::default()).ok()?;
        let counted = Counted::of(batch, height, width, CELLS);
        let x = blank(&[counted.batch, network.input_channels(), counted.height, counted.width]).ok()?;
        let context = blank(&[counted.batch, tokens, network.context_channels()]).ok()?;
        let y = match network.y_channels() {
            Some(channels) => Some(blank(&[counted.batch, channels]).ok()?),
            None => None,
        };
        let timesteps = vec![0.0; counted.batch];
        ops.reset_peak();
        let changes = self.counted_changes();
        let input =
            Input { y: y.as_ref(), changes: changes.as_ref(), ..Input::new(&x, &timesteps, &context) };
        network.denoise(&mut Session::new(), input).ok()?;
        ops.peak_pages().map(|bytes| counted.whole(bytes))
    }
}

/// Patched weights that nobody uses make way for other patches of the same base where no budget bounds what is
/// kept: ten LoRAs tried in turn must not fill the memory with ten models.
pub(crate) fn make_way(context: &Context, spec: &ComponentSpec) {
    let residency = context.residency();
    if residency.budget().is_some() {
        return;
    }
    let kind = spec.key.part.split('+').next().unwrap_or_default();
    let is_sibling = |key: &ComponentKey| {
        let patched = key.part.strip_prefix(kind).is_some_and(|rest| rest.starts_with('+'));
        patched && *key != spec.key && key.fingerprint == spec.key.fingerprint && key.dtype == spec.key.dtype
    };
    residency.evict_unused(is_sibling);
}

/// Reports a load, and stops it when its run is cancelled.
pub(crate) fn load_progress<'a>(
    progress: &'a LoadProgress<'a>,
    total: u64,
) -> impl FnMut(usize) -> std::ops::ControlFlow<()> + 'a {
    let mut reported = 0;
    // However the load ends, the heap's gaps that it leaves go back.
    let trim = Trim;
    move |done| {
        let _ = &trim;
        let done = done as u64;
        // A hundred reports are enough for any bar.
        if done == 0 || done >= reported + total / 100 {
            reported = done;
            if progress.report(done, total).is_err() {
                return std::ops::ControlFlow::Break(());
            }
        }
        std::ops::ControlFlow::Continue(())
    }
}

impl Payload for Model {
    fn type_name(&self) -> &'static str {
        "MODEL"
    }

    fn bytes(&self) -> u64 {
        0
    }

    fn summary(&self) -> String {
        format!("{} ({})", self.weights.spec.label, self.family.name)
    }
}
