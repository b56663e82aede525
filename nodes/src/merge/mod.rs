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
mod pair;
mod save;

use std::sync::Arc;

use ebb_engine::registry::{DuplicateClass, Registry};

use crate::folders::Folders;
use crate::values::{Clip, Model};

const MODULE: &str = "comfy_extras.nodes_model_merging";
const CATEGORY: &str = "advanced/model_merging";

pub(crate) fn register(registry: &mut Registry, folders: &Arc<Folders>) -> Result<(), DuplicateClass> {
    pair::register::<Model>(registry)?;
    blocks::register(registry)?;
    pair::register::<Clip>(registry)?;
    attention::register(registry)?;
    save::register(registry, folders)
}
