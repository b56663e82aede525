//! What computes, how exactly, and within which bounds.

use std::ops::Deref;
use std::sync::Arc;

use ebb_engine::node::{Context, NodeError};
use ebb_engine::residency::{Reservation, Residency};
use ebb_models::ops::{Ops, Precision};
use ebb_weights::ModelFolders;

/// The process's backend, shared by every model that it loads.
#[derive(Clone)]
pub struct Compute {
    ops: Ops,
    precision: Precision,
    small_decoders: Option<Arc<ModelFolders>>,
    /// For denoisers, where they compute otherwise than text encoders and autoencoders.
    denoiser: Option<Arc<Compute>>,
}

impl Compute {
    /// A backend whose matrix products run in a precision.
    pub fn new(ops: Ops, precision: Precision) -> Arc<Self> {
        Arc::new(Self { ops, precision, small_decoders: None, denoiser: None })
    }

    /// Denoisers in one precision, everything else in f32: what the steps save, the prompt and the picture need not
    /// pay for. Both share workers and memory.
    pub fn denoising_in(ops: &Ops, precision: Precision) -> Arc<Self> {
        let denoiser = Some(Self::new(ops.in_precision(precision), precision));
        let (ops, precision) = (ops.in_precision(Precision::F32), Precision::F32);
        Arc::new(Self { ops, precision, small_decoders: None, denoiser })
    }

    /// The same, with the folders in whose `vae_approx` previews find their small decoders.
    pub fn with_small_decoders(&self, folders: Arc<ModelFolders>) -> Arc<Self> {
        let denoiser = self.denoiser.as_ref().map(|inner| inner.with_small_decoders(folders.clone()));
        Arc::new(Self { small_decoders: Some(folders), denoiser, ..self.clone() })
    }

    /// What computes denoisers, and what is added to them.
    pub fn for_denoisers(self: &Arc<Self>) -> Arc<Self> {
        self.denoiser.clone().unwrap_or_else(|| self.clone())
    }

    /// Where small decoders are.
    pub(crate) fn small_decoders(&self) -> Option<&Arc<ModelFolders>> {
        self.small_decoders.as_ref()
    }

    /// The backend.
    pub fn ops(&self) -> &Ops {
        &self.ops
    }

    /// How weights are held: part of a component's key.
    pub fn dtype(&self) -> &'static str {
        match self.precision {
            Precision::F32 => "f32",
            Precision::Bf16 => "bf16",
        }
    }

    /// A backend that only counts.
    pub fn counting(&self) -> Ops {
        self.ops.counting()
    }

    /// Keeps room for activations, for as long as the result lives: entered in the ledger first, and given back to
    /// the system at the end.
    ///
    /// # Errors
    /// Where there is no room, with how much was asked for.
    pub fn room(&self, context: &Context, what: &str, bytes: u64) -> Result<Room, NodeError> {
        let entry = context.reserve(what, bytes)?;
        Ok(Room { ops: self.ops.clone(), residency: context.residency().clone(), _entry: entry })
    }
}

/// Room for a node's activations.
pub struct Room {
    ops: Ops,
    residency: Arc<Residency>,
    _entry: Reservation,
}

impl Drop for Room {
    fn drop(&mut self) {
        // All that it took is still held.
        self.residency.sample_moment();
        // What a picture of one size leaves is of no use to the next network.
        self.ops.trim();
        // Nor are the gaps that its tensors left in the heap.
        ebb_kernels::heap::trim();
    }
}

/// A network in memory, whose pages are seen to go back to the system when it is dropped.
pub(crate) struct InMemory<T> {
    network: T,
    /// Dropped after the network.
    _trim: Trim,
}

impl<T> InMemory<T> {
    /// Takes a network that was just loaded.
    pub(crate) fn new(network: T) -> Self {
        Self { network, _trim: Trim }
    }
}

impl<T> Deref for InMemory<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.network
    }
}

/// Gives back the free pages of the heap when it is dropped.
pub(crate) struct Trim;

impl Drop for Trim {
    fn drop(&mut self) {
        ebb_kernels::heap::trim();
    }
}
