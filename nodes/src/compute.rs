//! What computes, how exactly, and within which bounds.

use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use ebb_engine::node::{Context, NodeError};
use ebb_engine::residency::Reservation;
use ebb_models::ops::{Ops, Precision};

/// Bytes of freed activations that stay for the next node.
const IDLE: usize = 32 << 20;

/// The process's backend, shared by every model that it loads.
pub struct Compute {
    ops: Ops,
    precision: Precision,
    /// What nodes have reserved, and how many of them could not say how much.
    working: Mutex<(u64, usize)>,
}

impl Compute {
    /// A backend whose matrix products run in a precision.
    pub fn new(ops: Ops, precision: Precision) -> Arc<Self> {
        ops.allow(Some(IDLE));
        Arc::new(Self { ops, precision, working: Mutex::default() })
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
        Ops::meta(self.precision)
    }

    /// Asks for scratch before it is taken, and lets the backend keep as much of it between its calls; what it keeps
    /// goes back when the room is given back. `None`, or 0, where nobody knows how much it will be.
    ///
    /// # Errors
    /// Where the budget cannot hold it.
    pub fn room(
        self: &Arc<Self>,
        context: &Context,
        what: &str,
        bytes: Option<u64>,
    ) -> Result<Room, NodeError> {
        let bytes = bytes.unwrap_or(0);
        let reservation = context.reserve(what, bytes)?;
        self.change(|(sum, unknown)| if bytes == 0 { *unknown += 1 } else { *sum += bytes });
        Ok(Room { compute: self.clone(), bytes, _reservation: reservation })
    }

    fn change(&self, change: impl FnOnce((&mut u64, &mut usize))) {
        let mut working = self.working.lock().unwrap_or_else(PoisonError::into_inner);
        let (sum, unknown) = &mut *working;
        change((sum, unknown));
        let allowed = usize::try_from(*sum).unwrap_or(usize::MAX).saturating_add(IDLE);
        self.ops.allow((*unknown == 0).then_some(allowed));
    }
}

/// Scratch that a node has asked for.
pub struct Room {
    compute: Arc<Compute>,
    bytes: u64,
    _reservation: Reservation,
}

impl Drop for Room {
    fn drop(&mut self) {
        // First the memory, then the ledger.
        let bytes = self.bytes;
        self.compute.change(|(sum, unknown)| if bytes == 0 { *unknown -= 1 } else { *sum -= bytes });
    }
}

/// A network in memory, whose pages are seen to go back to the system when it is dropped.
pub(crate) struct InMemory<T> {
    network: T,
    /// Dropped after the network.
    _trim: Trim,
}

impl<T> InMemory<T> {
    /// Takes a network that was just loaded, and gives back what its load used.
    pub(crate) fn new(network: T) -> Self {
        ebb_kernels::heap::trim();
        Self { network, _trim: Trim }
    }
}

impl<T> Deref for InMemory<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.network
    }
}

struct Trim;

impl Drop for Trim {
    fn drop(&mut self) {
        ebb_kernels::heap::trim();
    }
}
