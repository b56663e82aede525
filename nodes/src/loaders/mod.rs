//! Nodes that open model files. They read headers; weights are loaded by whoever uses them first.

mod beside;
mod checkpoint;
mod clip;
mod diffusers;
mod parts;
mod unet;
mod vae;

use std::sync::Arc;

use ebb_engine::node::{Changed, Inputs, NodeError};
use ebb_engine::registry::{DuplicateClass, Registry};
use ebb_weights::ModelFile;

use crate::environment::Environment;

pub(crate) fn register(registry: &mut Registry, environment: &Environment) -> Result<(), DuplicateClass> {
    registry.add(checkpoint::CheckpointLoaderSimple(environment.clone()))?;
    registry.add(diffusers::DiffusersLoader(environment.clone()))?;
    registry.add(unet::UNETLoader(environment.clone()))?;
    registry.add(unet::UnetLoaderGGUF(environment.clone()))?;
    for loader in clip::ClipLoader::all(environment) {
        registry.add(loader)?;
    }
    beside::register(registry, environment)?;
    registry.add(vae::VAELoader(environment.clone()))
}

/// Where the classes that load GGUF files come from in ComfyUI.
const GGUF_MODULE: &str = "custom_nodes.ComfyUI-GGUF";

/// The GGUF files of a list.
fn gguf(names: Vec<String>) -> Vec<String> {
    names.into_iter().filter(|name| name.to_ascii_lowercase().ends_with(".gguf")).collect()
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

/// What tells the files that some inputs name from those that were there before.
fn fingerprint(
    environment: &Environment,
    inputs: &Inputs,
    kind: &str,
    names: &[&str],
) -> Result<Option<Changed>, NodeError> {
    let one = |input: &&str| Ok(open(environment, kind, input, inputs.str(input)?)?.fingerprint());
    let all: Vec<String> = names.iter().map(one).collect::<Result<_, NodeError>>()?;
    Ok(Some(Changed::Fingerprint(all.join("+"))))
}
