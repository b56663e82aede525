//! `MODEL`: a denoiser that may not be loaded yet.

use std::sync::Arc;

use candle_core::Tensor;
use ebb_engine::node::{Context, NodeError, Saving};
use ebb_engine::residency::{Component, ComponentKey, ComponentSpec, Lease};
use ebb_engine::value::Payload;
use ebb_models::LoadOptions;
use ebb_models::denoiser::{Denoiser, Input, Session};
use ebb_sampling::ModelSampling;
use ebb_sampling::guidance::Hooks;
use ebb_weights::WeightSource;

use super::model_error;
use crate::compute::{Compute, InMemory};
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
    pub(super) weights: Arc<Weights>,
}

/// The denoiser's tensors and what is known of them before they are read.
pub(super) struct Weights {
    pub(super) source: WeightSource,
    pub(super) spec: ComponentSpec,
    pub(super) compute: Arc<Compute>,
    /// Loaded on a backend that only counts: answers for sizes.
    outline: Box<dyn Denoiser>,
}

/// A denoiser in memory.
pub struct LoadedDenoiser(InMemory<Box<dyn Denoiser>>);

impl Component for LoadedDenoiser {
    fn bytes(&self) -> u64 {
        self.0.bytes() as u64
    }
}

impl LoadedDenoiser {
    /// The network.
    pub fn network(&self) -> &dyn Denoiser {
        &**self.0
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
        let label = label(&source, "denoiser");
        let outline = (family.denoiser)(&compute.counting(), &source, LoadOptions::default())
            .map_err(|e| model_error(&label, e))?;
        let spec = ComponentSpec {
            key: key(&source, "denoiser", compute),
            label,
            bytes: outline.bytes() as u64,
            load_overhead: load_overhead(&source),
        };
        let weights = Arc::new(Weights { source, spec, compute: compute.clone(), outline });
        Ok(Self { family, sampling: (family.sampling)(), hooks: Arc::default(), weights })
    }

    /// What is loaded for it.
    pub fn spec(&self) -> &ComponentSpec {
        &self.weights.spec
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
        let Weights { source, spec, compute, .. } = &*self.weights;
        let streamed = context.savings().iter().find_map(|saving| match saving {
            Saving::Stream { resident } => Some((self.streamed(*resident)?.0, self.stream(*resident))),
            _ => None,
        });
        let (spec, stream) = match &streamed {
            Some((spec, stream)) => (spec, Some(stream.clone())),
            None => (spec, None),
        };
        context.component(spec, |progress| {
            let mut report = load_progress(progress, spec.bytes);
            let options = LoadOptions { progress: Some(&mut report), stream, ..LoadOptions::default() };
            let loaded = (self.family.denoiser)(compute.ops(), source, options);
            let loaded = loaded.map_err(|e| model_error(&spec.label, e))?;
            Ok(LoadedDenoiser(InMemory::new(loaded)))
        })
    }

    /// What computes it.
    pub fn compute(&self) -> &Arc<Compute> {
        &self.weights.compute
    }

    /// Bytes of scratch that one call takes for `batch` latents of a size in cells, prompts of
    /// `tokens`, as the network itself counts them.
    pub fn scratch(&self, batch: usize, height: usize, width: usize, tokens: usize) -> Option<u64> {
        let ops = self.weights.compute.counting();
        let source = &self.weights.source;
        let network = (self.family.denoiser)(&ops, source, LoadOptions::default()).ok()?;
        let zeros =
            |dims: &[usize]| Tensor::zeros(dims, candle_core::DType::F32, &candle_core::Device::Cpu).ok();
        let x = zeros(&[batch, network.input_channels(), height, width])?;
        let context = zeros(&[batch, tokens, network.context_channels()])?;
        let y = network.y_channels().map(|channels| zeros(&[batch, channels]));
        let y = match y {
            Some(y) => Some(y?),
            None => None,
        };
        let timesteps = vec![0.0; batch];
        ops.reset_peak();
        let input = Input {
            x: &x,
            timesteps: &timesteps,
            context: &context,
            y: y.as_ref(),
            guidance: None,
            control: None,
        };
        network.denoise(&mut Session::new(), input).ok()?;
        ops.peak_bytes().map(|bytes| bytes as u64)
    }
}

/// `file part`, for people.
pub(crate) fn label(source: &WeightSource, part: &str) -> Arc<str> {
    let name = source.label().file_name().map(|n| n.to_string_lossy().into_owned());
    format!("{} {part}", name.unwrap_or_default()).into()
}

/// The key of a part of a source, as a backend holds it.
pub(crate) fn key(source: &WeightSource, part: &str, compute: &Compute) -> ComponentKey {
    ComponentKey {
        fingerprint: source.fingerprint().into(),
        part: part.into(),
        dtype: compute.dtype().into(),
    }
}

/// The largest tensor, which is read before it is packed.
pub(crate) fn load_overhead(source: &WeightSource) -> u64 {
    source.largest().saturating_mul(2)
}

/// Reports a load, and stops it when its run is cancelled.
pub(crate) fn load_progress<'a>(
    progress: &'a ebb_engine::residency::LoadProgress<'a>,
    total: u64,
) -> impl FnMut(usize) -> std::ops::ControlFlow<()> + 'a {
    let mut reported = 0;
    move |done| {
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
