//! What computes, and how exactly.

use std::sync::Arc;

use ebb_models::ops::{Ops, Precision};

/// The process's backend, shared by every model that it loads.
#[derive(Clone)]
pub struct Compute {
    ops: Ops,
    precision: Precision,
}

impl Compute {
    /// A backend whose matrix products run in a precision.
    pub fn new(ops: Ops, precision: Precision) -> Arc<Self> {
        Arc::new(Self { ops, precision })
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
}
