//! Nodes for latents.

mod arithmetic;
mod batch;
mod combine;
mod empty;
mod file;
mod mask;
mod operations;
mod scale;
mod transform;

use std::sync::Arc;

use ebb_engine::node::{Forecast, NodeError, Sketches};
use ebb_engine::registry::{DuplicateClass, Registry};

use crate::folders::Folders;
use crate::values::LatentShape;

pub(crate) fn register(registry: &mut Registry, folders: &Arc<Folders>) -> Result<(), DuplicateClass> {
    arithmetic::register(registry)?;
    operations::register(registry)?;
    registry.add(empty::EMPTY)?;
    registry.add(empty::EMPTY_SD3)?;
    registry.add(scale::LatentUpscale)?;
    registry.add(scale::LatentUpscaleBy)?;
    registry.add(combine::LatentComposite)?;
    registry.add(combine::LatentBlend)?;
    registry.add(transform::LatentCrop)?;
    registry.add(transform::LatentFlip)?;
    registry.add(transform::LatentRotate)?;
    registry.add(batch::RepeatLatentBatch)?;
    registry.add(batch::LatentFromBatch)?;
    registry.add(mask::SetLatentNoiseMask)?;
    registry.add(file::SaveLatent(folders.clone()))?;
    registry.add(file::LoadLatent(folders.clone()))
}

/// A forecast of one latent whose shape follows from that of the input `name`.
fn forecast_from(
    inputs: &Sketches,
    name: &str,
    shape: impl FnOnce(LatentShape) -> Option<LatentShape>,
) -> Result<Forecast, NodeError> {
    match inputs.what::<LatentShape>(name).and_then(|from| shape(*from)) {
        Some(shape) => Ok(Forecast::output(shape.sketch()?)),
        None => Ok(Forecast::unknown()),
    }
}
