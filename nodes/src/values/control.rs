//! `CONTROL_NET`, and what an entry of a conditioning says of it.

use std::sync::Arc;

use candle_core::Tensor;
use ebb_engine::node::{Context, NodeError};
use ebb_engine::residency::{Component, ComponentSpec, Lease};
use ebb_engine::value::Payload;
use ebb_models::LoadOptions;
use ebb_models::adapter::Adapter;
use ebb_models::controlnet::{ControlNet as UnetControl, ControlNetwork, Hint, Sees};
use ebb_models::denoiser::{Input, Residuals, Session};
use ebb_models::dit::flux_control::FluxControl;
use ebb_models::dit::mmdit_control::{BORROWED, Sd3Control, Sd35LargeControl};
use ebb_models::ops::{Ops, blank};
use ebb_models::source::{Info, Source, Values};
use ebb_weights::WeightSource;

use super::counted::{CELLS, Counted};
use super::model::{Model, load_progress};
use super::model_error;
use super::tensors::Tensors;
use super::vae::Vae;
use crate::compute::Compute;

/// A network that guides a denoiser by a picture, which may not be loaded yet. Cloning shares the weights.
#[derive(Clone)]
pub struct ControlNet {
    weights: Arc<Weights>,
    /// The kind of hint, for networks that tell several apart.
    pub hint_kind: Option<usize>,
}

/// What guides: a network that looks at every step, or one that looks at the hint alone.
pub enum Guide {
    /// A ControlNet.
    Steps(Box<dyn ControlNetwork>),
    /// A T2I adapter.
    Once(Adapter),
}

/// Which network some tensors are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GuideKind {
    /// A ControlNet of a UNet.
    Unet,
    /// A ControlNet of Flux.
    Flux,
    /// A ControlNet of SD 3.
    Sd3,
    /// A ControlNet of SD 3.5 large, which borrows a part of it.
    Sd35Large,
    /// A T2I adapter.
    Adapter,
}

impl Guide {
    fn load<'a>(
        kind: GuideKind,
        ops: &'a Ops,
        source: &'a dyn Source,
        options: LoadOptions<'a>,
    ) -> ebb_models::Result<Self> {
        Ok(match kind {
            GuideKind::Unet => Self::Steps(Box::new(UnetControl::load(ops, source, options)?)),
            GuideKind::Flux => Self::Steps(Box::new(FluxControl::load(ops, source, options)?)),
            GuideKind::Sd3 => Self::Steps(Box::new(Sd3Control::load(ops, source, options)?)),
            GuideKind::Sd35Large => Self::Steps(Box::new(Sd35LargeControl::load(ops, source, options)?)),
            GuideKind::Adapter => Self::Once(Adapter::load(ops, source, options)?),
        })
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Steps(net) => net.bytes(),
            Self::Once(adapter) => adapter.bytes(),
        }
    }

    /// Sides of a hint are multiples of this.
    pub(crate) fn multiple(&self) -> usize {
        match self {
            Self::Steps(_) => HINT_SCALE,
            Self::Once(adapter) => adapter.multiple(),
        }
    }

    /// Pixels as it was trained on them, where an autoencoder reads them first.
    pub(crate) fn prepared(&self, pixels: &Tensor) -> ebb_models::Result<Tensor> {
        match self {
            Self::Steps(net) => net.prepared(pixels),
            Self::Once(_) => Ok(pixels.clone()),
        }
    }

    /// How hints come to it.
    pub(crate) fn sees(&self) -> Sees {
        match self {
            Self::Steps(net) => net.sees(),
            Self::Once(_) => Sees::Pixels,
        }
    }

    /// What it makes of a hint, once a run.
    pub(crate) fn hint(&self, pixels: &Tensor, control: &Control) -> ebb_models::Result<Read> {
        Ok(match self {
            Self::Steps(net) => Read::Hint(net.hint(pixels, control.net.hint_kind)?),
            Self::Once(adapter) => Read::Residuals(adapter.residuals(pixels, control.strength as f32)?),
        })
    }

    /// What it adds to the UNet that is called with the same input.
    pub(crate) fn residuals(
        &self,
        session: &mut Session,
        read: &Read,
        input: Input<'_>,
        control: &Control,
    ) -> ebb_models::Result<Residuals> {
        match (self, read) {
            (Self::Steps(net), Read::Hint(hint)) => {
                net.residuals(session, hint, input, control.net.hint_kind, control.strength as f32)
            }
            (_, Read::Residuals(residuals)) => Ok(residuals.clone()),
            (Self::Once(_), Read::Hint(_)) => Ok(Residuals::default()),
        }
    }
}

/// A hint as a network keeps it over a run.
pub(crate) enum Read {
    /// For a ControlNet.
    Hint(Hint),
    /// All that a T2I adapter says.
    Residuals(Residuals),
}

struct Weights {
    tensors: Tensors,
    spec: ComponentSpec,
    compute: Arc<Compute>,
    /// Loaded on a backend that only counts: answers for sizes.
    kind: GuideKind,
    outline: Guide,
    /// Whether a residual is averaged over the picture: networks that transfer content, not layout.
    averages: bool,
}

/// A control network in memory.
pub struct LoadedControlNet(Guide);

impl Component for LoadedControlNet {
    fn bytes(&self) -> u64 {
        self.0.bytes() as u64
    }
}

impl LoadedControlNet {
    /// The network.
    pub fn network(&self) -> &Guide {
        &self.0
    }
}

/// Pixels of a hint along one side of a latent cell.
pub(crate) const HINT_SCALE: usize = 8;

impl ControlNet {
    /// A network of a kind in tensors of the single-file naming, without a prefix. Reads no weights.
    ///
    /// # Errors
    /// Where tensors are missing or have the wrong shape.
    pub(crate) fn new(
        kind: GuideKind,
        source: WeightSource,
        averages: bool,
        compute: &Arc<Compute>,
    ) -> Result<Self, NodeError> {
        Self::of(kind, Tensors::of_file(source), averages, compute)
    }

    /// How hints come to it.
    pub(crate) fn sees(&self) -> Sees {
        self.weights.outline.sees()
    }

    /// The network as it guides a model: with what it borrows of that model's weights.
    ///
    /// # Errors
    /// Where the model lacks what is borrowed, or has it in the wrong shape.
    pub(crate) fn guiding(&self, model: &Model) -> Result<Self, NodeError> {
        let Weights { kind, tensors, averages, compute, .. } = &*self.weights;
        if *kind != GuideKind::Sd35Large {
            return Ok(self.clone());
        }
        let base = model.tensors();
        let both = Borrowing { own: tensors.source.clone(), base: base.source.clone() };
        let tensors = tensors.changed(Arc::new(both), base.name(), &base.identity());
        let net = Self::of(*kind, tensors, *averages, compute)?;
        Ok(Self { hint_kind: self.hint_kind, ..net })
    }

    /// The same network, told of which kind its hints are.
    pub(crate) fn for_kind(&self, hint_kind: Option<usize>) -> Self {
        Self { hint_kind, ..self.clone() }
    }

    /// How many kinds of hints it tells apart.
    pub(crate) fn kinds(&self) -> usize {
        match &self.weights.outline {
            Guide::Steps(net) => net.kinds(),
            Guide::Once(_) => 0,
        }
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
        let Weights { kind, tensors, averages, compute, .. } = &*self.weights;
        Self::of(*kind, tensors.changed(sums, name, change), *averages, compute)
    }

    fn of(
        kind: GuideKind,
        tensors: Tensors,
        averages: bool,
        compute: &Arc<Compute>,
    ) -> Result<Self, NodeError> {
        let outline = Guide::load(kind, &compute.counting(), &tensors.source, LoadOptions::default())
            .map_err(|e| model_error(&tensors.label("ControlNet"), e))?;
        let spec = tensors.spec("controlnet", compute, outline.bytes() as u64);
        let compute = compute.clone();
        let weights = Arc::new(Weights { tensors, spec, compute, kind, outline, averages });
        Ok(Self { weights, hint_kind: None })
    }

    /// Its tensors.
    pub(crate) fn tensors(&self) -> &Tensors {
        &self.weights.tensors
    }

    /// What is loaded for it.
    pub fn spec(&self) -> &ComponentSpec {
        &self.weights.spec
    }

    /// Whether a residual is averaged over the picture.
    pub(crate) fn averages(&self) -> bool {
        self.weights.averages
    }

    /// The weights, loaded where they are not.
    ///
    /// # Errors
    /// Where the file cannot be read, there is no room, or the run is cancelled.
    pub fn load(&self, context: &Context) -> Result<Lease<LoadedControlNet>, NodeError> {
        let Weights { tensors, spec, compute, kind, .. } = &*self.weights;
        context.component(spec, |progress| {
            let mut report = load_progress(progress, spec.bytes);
            let options = LoadOptions { progress: Some(&mut report), ..LoadOptions::default() };
            let loaded = Guide::load(*kind, compute.ops(), &tensors.source, options);
            loaded.map(LoadedControlNet).map_err(|e| model_error(&spec.label, e))
        })
    }

    /// Bytes of scratch that one call takes for `batch` latents of a size in cells, prompts of `tokens`.
    pub fn scratch(&self, batch: usize, height: usize, width: usize, tokens: usize) -> Option<u64> {
        let Weights { tensors, compute, kind, .. } = &*self.weights;
        let ops = compute.counting();
        let guide = Guide::load(*kind, &ops, &tensors.source, LoadOptions::default()).ok()?;
        let counted = Counted::of(batch, height, width, CELLS);
        let Counted { batch, height, width, .. } = counted;
        let side = |cells: usize| (cells * HINT_SCALE).next_multiple_of(guide.multiple());
        let pixels = blank(&[batch, 3, side(height), side(width)]).ok()?;
        ops.reset_peak();
        match &guide {
            Guide::Once(adapter) => {
                adapter.residuals(&pixels, 1.0).ok()?;
            }
            Guide::Steps(net) => {
                let channels = net.input_channels();
                let x = blank(&[batch, channels, height, width]).ok()?;
                let pixels = match net.sees() {
                    Sees::Pixels => pixels,
                    Sees::Latent { masked, .. } => {
                        blank(&[batch, channels + usize::from(masked), height, width]).ok()?
                    }
                };
                let context = blank(&[batch, tokens, net.context_channels()]).ok()?;
                let y = match net.y_channels() {
                    Some(channels) => Some(blank(&[batch, channels]).ok()?),
                    None => None,
                };
                let timesteps = vec![0.0; batch];
                let hint = net.hint(&pixels, self.hint_kind).ok()?;
                let input = Input { y: y.as_ref(), ..Input::new(&x, &timesteps, &context) };
                net.residuals(&mut Session::new(), &hint, input, self.hint_kind, 1.0).ok()?;
            }
        }
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
        self.weights.spec.label.to_string()
    }
}

/// A network's own tensors, and those that it borrows of the model that it guides.
struct Borrowing {
    own: Arc<dyn Source>,
    base: Arc<dyn Source>,
}

impl Borrowing {
    fn there(name: &str) -> Option<String> {
        let [there, here] = BORROWED;
        Some(format!("{there}{}", name.strip_prefix(here)?))
    }
}

impl Source for Borrowing {
    fn names(&self) -> Vec<String> {
        let [there, here] = BORROWED;
        let mut names = self.own.names();
        let base = self.base.names();
        names.extend(base.iter().filter_map(|name| Some(format!("{here}{}", name.strip_prefix(there)?))));
        names
    }

    fn info(&self, name: &str) -> Option<Info> {
        match Self::there(name) {
            Some(there) => self.base.info(&there),
            None => self.own.info(name),
        }
    }

    fn read(&self, name: &str) -> ebb_models::Result<Values> {
        match Self::there(name) {
            Some(there) => self.base.read(&there),
            None => self.own.read(name),
        }
    }
}

/// A control network applied to an entry of a conditioning.
pub struct Control {
    /// The network.
    pub net: ControlNet,
    /// The picture, `[batch, 3, height, width]` in 0 to 1, of any size.
    pub hint: Tensor,
    /// What makes a latent of the picture, for networks that see one.
    pub vae: Option<Vae>,
    /// Where the picture is to be kept, `[batch, 1, height, width]` of any size, for networks that are told so.
    pub mask: Option<Tensor>,
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
