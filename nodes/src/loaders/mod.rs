//! Nodes that open model files. They read headers; weights are loaded by whoever uses them first.

mod checkpoint;
mod vae;

use std::sync::Arc;

use ebb_engine::node::NodeError;
use ebb_engine::registry::{DuplicateClass, Registry};
use ebb_weights::ModelFile;

use crate::environment::Environment;

pub(crate) fn register(registry: &mut Registry, environment: &Environment) -> Result<(), DuplicateClass> {
    registry.add(checkpoint::CheckpointLoaderSimple(environment.clone()))?;
    registry.add(vae::VAELoader(environment.clone()))
}

/// Opens a file of a model folder that an input names.
pub(crate) fn open(
    environment: &Environment,
    kind: &str,
    input: &str,
    name: &str,
) -> Result<Arc<ModelFile>, NodeError> {
    environment.models.open(kind, name).map_err(|e| {
        let mut error = NodeError::model(e.to_string());
        error.input = Some(input.to_owned());
        error
    })
}
