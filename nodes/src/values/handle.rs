//! Networks beside the ones that every picture needs, in files of their own: read when they are first used.

use std::sync::Arc;

use ebb_engine::node::{Context, NodeError};
use ebb_engine::residency::{Component, ComponentSpec, Lease};
use ebb_engine::value::Payload;
use ebb_models::LoadOptions;
use ebb_models::gligen::Gligen;
use ebb_models::hypernetwork::{Form, Hypernetwork};
use ebb_models::ops::Ops;
use ebb_models::source::Source;
use ebb_models::style::StyleModel;
use ebb_models::vision::Vision;
use ebb_weights::WeightSource;

use super::model::load_progress;
use super::model_error;
use super::tensors::Tensors;
use crate::compute::{Compute, InMemory};

/// A network that a [`Handle`] loads.
pub trait Network: Sized + Send + Sync + 'static {
    /// The part of its file that it is, for people and for its key.
    const PART: &'static str;
    /// The type of the values that nodes pass on.
    const TYPE: &'static str;
    /// What its tensors don't tell.
    type Form: Clone + Send + Sync;

    /// Loads its weights.
    ///
    /// # Errors
    /// Where tensors are missing or have the wrong shape.
    fn load<'a>(
        ops: &'a Ops,
        source: &'a dyn Source,
        form: &Self::Form,
        options: LoadOptions<'a>,
    ) -> ebb_models::Result<Self>;

    /// Bytes of its weights.
    fn bytes(&self) -> usize;
}

/// Where a network's weights are. Cloning shares them.
pub struct Handle<N: Network>(Arc<Weights<N>>);

struct Weights<N: Network> {
    tensors: Tensors,
    spec: ComponentSpec,
    compute: Arc<Compute>,
    form: N::Form,
    outline: N,
}

/// A network in memory.
pub struct Loaded<N: Network>(InMemory<Arc<N>>);

impl<N: Network> Component for Loaded<N> {
    fn bytes(&self) -> u64 {
        self.0.bytes() as u64
    }
}

impl<N: Network> Loaded<N> {
    /// The network.
    pub fn network(&self) -> &Arc<N> {
        &self.0
    }
}

impl<N: Network> Clone for Handle<N> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<N: Network> Handle<N> {
    /// A network in some tensors. Reads no weights.
    ///
    /// # Errors
    /// Where tensors are missing or have the wrong shape.
    pub fn new(source: WeightSource, form: N::Form, compute: &Arc<Compute>) -> Result<Self, NodeError> {
        let tensors = Tensors::of_file(source);
        let outline = N::load(&compute.counting(), &tensors.source, &form, LoadOptions::default())
            .map_err(|e| model_error(&tensors.label(N::PART), e))?;
        let spec = tensors.spec(N::PART, compute, outline.bytes() as u64);
        Ok(Self(Arc::new(Weights { tensors, spec, compute: compute.clone(), form, outline })))
    }

    /// What is loaded for it.
    pub fn spec(&self) -> &ComponentSpec {
        &self.0.spec
    }

    /// The network without its weights: answers for sizes.
    pub fn outline(&self) -> &N {
        &self.0.outline
    }

    /// What computes it.
    pub fn compute(&self) -> &Arc<Compute> {
        &self.0.compute
    }

    /// The weights, loaded where they are not.
    ///
    /// # Errors
    /// Where the file cannot be read, there is no room, or the run is cancelled.
    pub fn load(&self, context: &Context) -> Result<Lease<Loaded<N>>, NodeError> {
        let Weights { tensors, spec, compute, form, .. } = &*self.0;
        context.component(spec, |progress| {
            let mut report = load_progress(progress, spec.bytes);
            let options = LoadOptions { progress: Some(&mut report), ..LoadOptions::default() };
            let loaded = N::load(compute.ops(), &tensors.source, form, options);
            Ok(Loaded(InMemory::new(Arc::new(loaded.map_err(|e| model_error(&spec.label, e))?))))
        })
    }

    /// Bytes of scratch that something takes of it, as the network itself counts them.
    pub fn scratch<T>(&self, run: impl FnOnce(&N) -> ebb_models::Result<T>) -> Option<u64> {
        let Weights { tensors, compute, form, .. } = &*self.0;
        let ops = compute.counting();
        let network = N::load(&ops, &tensors.source, form, LoadOptions::default()).ok()?;
        ops.reset_peak();
        run(&network).ok()?;
        ops.peak_pages().map(|bytes| bytes as u64)
    }
}

impl<N: Network> Payload for Handle<N> {
    fn type_name(&self) -> &'static str {
        N::TYPE
    }

    fn bytes(&self) -> u64 {
        0
    }

    fn summary(&self) -> String {
        self.0.spec.label.to_string()
    }
}

macro_rules! network {
    ($network:ty, $part:literal, $kind:literal) => {
        impl Network for $network {
            const PART: &'static str = $part;
            const TYPE: &'static str = $kind;
            type Form = ();

            fn load<'a>(
                ops: &'a Ops,
                source: &'a dyn Source,
                (): &(),
                options: LoadOptions<'a>,
            ) -> ebb_models::Result<Self> {
                Self::load(ops, source, options)
            }

            fn bytes(&self) -> usize {
                self.bytes()
            }
        }
    };
}

network!(Vision, "CLIP vision", "CLIP_VISION");
network!(StyleModel, "style model", "STYLE_MODEL");
network!(Gligen, "GLIGEN", "GLIGEN");

impl Network for Hypernetwork {
    const PART: &'static str = "hypernetwork";
    const TYPE: &'static str = "HYPERNETWORK";
    type Form = Form;

    fn load<'a>(
        ops: &'a Ops,
        source: &'a dyn Source,
        form: &Form,
        options: LoadOptions<'a>,
    ) -> ebb_models::Result<Self> {
        Self::load(ops, source, *form, options)
    }

    fn bytes(&self) -> usize {
        self.bytes()
    }
}
