//! `CONTROL_NET`, and what an entry of a conditioning says of it.

use std::sync::Arc;

use candle_core::Tensor;
use ebb_engine::node::{Context, NodeError};
use ebb_engine::residency::{Component, ComponentSpec, Lease};
use ebb_engine::value::Payload;
use ebb_models::LoadOptions;
use ebb_models::controlnet::ControlNet as Network;
use ebb_models::denoiser::{Input, Session};
use ebb_models::ops::blank;
use ebb_models::source::Source;
use ebb_weights::WeightSource;

use super::counted::{CELLS, Counted};
use super::model::load_progress;
use super::model_error;
use super::tensors::Tensors;
use crate::compute::Compute;

/// A network that guides a UNet by a picture, which may not be loaded yet. Cloning shares the weights.
#[derive(Clone)]
pub struct ControlNet(Arc<Weights>);

struct Weights {
    tensors: Tensors,
    spec: ComponentSpec,
    compute: Arc<Compute>,
    /// Loaded on a backend that only counts: answers for sizes.
    outline: Network,
    /// Whether a residual is averaged over the picture: networks that transfer content, not layout.
    averages: bool,
}

/// A control network in memory.
pub struct LoadedControlNet(Network);

impl Component for LoadedControlNet {
    fn bytes(&self) -> u64 {
        self.0.bytes() as u64
    }
}

impl LoadedControlNet {
    /// The network.
    pub fn network(&self) -> &Network {
        &self.0
    }
}

/// Pixels of a hint along one side of a latent cell.
pub(crate) const HINT_SCALE: usize = 8;

impl ControlNet {
    /// A control network in tensors of the single-file naming, without a prefix. Reads no weights.
    ///
    /// # Errors
    /// Where tensors are missing or have the wrong shape.
    pub fn new(source: WeightSource, averages: bool, compute: &Arc<Compute>) -> Result<Self, NodeError> {
        Self::of(Tensors::of_file(source), averages, compute)
    }

    /// The same network with every tensor added to the one of the same name in a denoiser: files of differences.
    ///
    /// # Errors
    /// Where the sums do not make a control network.
    pub(crate) fn added_to(
        &self,
        sums: Arc<dyn Source>,
        name: &str,
        change: &str,
    ) -> Result<Self, NodeError> {
        Self::of(self.0.tensors.changed(sums, name, change), self.0.averages, &self.0.compute)
    }

    fn of(tensors: Tensors, averages: bool, compute: &Arc<Compute>) -> Result<Self, NodeError> {
        let outline = Network::load(&compute.counting(), &tensors.source, LoadOptions::default())
            .map_err(|e| model_error(&tensors.label("ControlNet"), e))?;
        let spec = tensors.spec("controlnet", compute, outline.bytes() as u64);
        Ok(Self(Arc::new(Weights { tensors, spec, compute: compute.clone(), outline, averages })))
    }

    /// Its tensors.
    pub(crate) fn tensors(&self) -> &Tensors {
        &self.0.tensors
    }

    /// What is loaded for it.
    pub fn spec(&self) -> &ComponentSpec {
        &self.0.spec
    }

    /// Whether a residual is averaged over the picture.
    pub(crate) fn averages(&self) -> bool {
        self.0.averages
    }

    /// The weights, loaded where they are not.
    ///
    /// # Errors
    /// Where the file cannot be read, there is no room, or the run is cancelled.
    pub fn load(&self, context: &Context) -> Result<Lease<LoadedControlNet>, NodeError> {
        let Weights { tensors, spec, compute, .. } = &*self.0;
        context.component(spec, |progress| {
            let mut report = load_progress(progress, spec.bytes);
            let options = LoadOptions { progress: Some(&mut report), ..LoadOptions::default() };
            let loaded = Network::load(compute.ops(), &tensors.source, options);
            loaded.map(LoadedControlNet).map_err(|e| model_error(&spec.label, e))
        })
    }

    /// Bytes of scratch that one call takes for `batch` latents of a size in cells, prompts of `tokens`.
    pub fn scratch(&self, batch: usize, height: usize, width: usize, tokens: usize) -> Option<u64> {
        let ops = self.0.compute.counting();
        let network = Network::load(&ops, &self.0.tensors.source, LoadOptions::default()).ok()?;
        let counted = Counted::of(batch, height, width, CELLS);
        let Counted { batch, height, width, .. } = counted;
        let x = blank(&[batch, self.0.outline.input_channels(), height, width]).ok()?;
        let context = blank(&[batch, tokens, self.0.outline.context_channels()]).ok()?;
        let y = match self.0.outline.y_channels() {
            Some(channels) => Some(blank(&[batch, channels]).ok()?),
            None => None,
        };
        let timesteps = vec![0.0; batch];
        ops.reset_peak();
        let hint = blank(&[batch, 3, height * HINT_SCALE, width * HINT_SCALE]).ok()?;
        let hint = network.hint(&hint).ok()?;
        let input = Input { y: y.as_ref(), ..Input::new(&x, &timesteps, &context) };
        network.residuals(&mut Session::new(), &hint, input, 1.0).ok()?;
        ops.peak_pages().map(|bytes| counted.whole(bytes))
    }
}

impl Payload for ControlNet {
    fn type_name(&self) -> &'static str {
        "CONTROL_NET"
    }

    fn bytes(&self) -> u64 {
        0
    }

    fn summary(&self) -> String {
        self.0.spec.label.to_string()
    }
}

/// A control network applied to an entry of a conditioning.
pub struct Control {
    /// The network.
    pub net: ControlNet,
    /// The picture, `[batch, 3, height, width]` in 0 to 1, of any size.
    pub hint: Tensor,
    /// Factor on what it adds.
    pub strength: f64,
    /// Where in sampling it begins to speak, 0 to 1.
    pub start_percent: f64,
    /// Where it ends, 0 to 1.
    pub end_percent: f64,
    /// The network that was applied before, which speaks too.
    pub previous: Option<Arc<Control>>,
}

impl Control {
    /// The control of an entry, where it has one of this kind.
    pub(crate) fn of(entry: &ebb_sampling::guidance::Conditioning) -> Option<Arc<Self>> {
        entry.control.clone()?.downcast().ok()
    }

    /// This one and those applied before, the latest first.
    pub(crate) fn chain(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |control| control.previous.as_deref())
    }
}
