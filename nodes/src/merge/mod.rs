//! Models made of models, and models written to files.
//!
//! A merge is a view, as a LoRA is one: nothing is read before a network asks, weights that one side keeps whole are
//! shared with it, and the merged ones are a component of their own.

mod attention;
mod blocks;
mod clip;
mod mixed;
mod model;
mod names;
mod save;

use std::sync::Arc;

use ebb_engine::registry::{DuplicateClass, Registry};

use crate::folders::Folders;

pub(crate) fn register(registry: &mut Registry, folders: &Arc<Folders>) -> Result<(), DuplicateClass> {
    model::register(registry)?;
    blocks::register(registry)?;
    clip::register(registry)?;
    attention::register(registry)?;
    save::register(registry, folders)
}
