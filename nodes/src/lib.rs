//! ComfyUI's nodes on Ebb's engine.
//!
//! - [`values`]: what travels between them: images, masks, latents.
//! - [`pixels`]: resampling, picture files, PNG metadata.
//! - `image`, `mask`, `latent`: the nodes, a file for each few that belong together.
//! - [`files`]: names from workflows, resolved inside a folder and nowhere else.
//! - [`register`] adds all of them to a registry.

mod compute;
mod conditioning;
mod control;
mod embeddings;
mod environment;
pub mod families;
pub mod files;
mod folders;
mod image;
mod latent;
mod loaders;
mod lora;
mod mask;
mod merge;
mod patches;
pub mod pixels;
mod preview_any;
mod sampling;
mod upscale;
mod utility;
mod vae;
pub mod values;

use ebb_engine::registry::{DuplicateClass, Registry};

pub use compute::{Compute, Room};
pub use environment::Environment;
pub use folders::Folders;

/// Reads what all jobs share and nobody gives back, the tables of words: to be called when a process that runs jobs starts, so that
/// the memory is part of the idle process and of no job.
pub fn prepare() {
    ebb_text::ClipVocabulary::prepare();
}

/// Adds every node of this crate.
///
/// # Errors
/// Where a class name is taken already.
pub fn register(registry: &mut Registry, environment: &Environment) -> Result<(), DuplicateClass> {
    let folders = &environment.folders;
    loaders::register(registry, environment)?;
    lora::register(registry, environment)?;
    control::register(registry, environment)?;
    upscale::register(registry, environment)?;
    patches::register(registry)?;
    merge::register(registry, folders)?;
    utility::register(registry)?;
    image::register(registry, folders)?;
    mask::register(registry)?;
    conditioning::register(registry)?;
    vae::register(registry)?;
    sampling::register(registry)?;
    registry.add(preview_any::PreviewAny)?;
    latent::register(registry, folders)
}
