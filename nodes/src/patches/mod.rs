//! Nodes that change how a model is guided, and its layers while it runs.

mod guidance;
mod layers;

use ebb_engine::registry::{DuplicateClass, Registry};

pub(crate) fn register(registry: &mut Registry) -> Result<(), DuplicateClass> {
    guidance::register(registry)?;
    layers::register(registry)
}
