//! Nodes for plain values.

mod primitive;
mod string;

use ebb_engine::registry::{DuplicateClass, Registry};

pub(crate) fn register(registry: &mut Registry) -> Result<(), DuplicateClass> {
    primitive::register(registry)?;
    string::register(registry)
}
