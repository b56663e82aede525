//! Control networks: loaders, the nodes that put them on a conditioning, and the edges of a picture.

mod apply;
mod canny;
mod diffusers;
mod load;

use ebb_engine::registry::{DuplicateClass, Registry};

use crate::environment::Environment;

pub(crate) use apply::ControlSketch;

pub(crate) fn register(registry: &mut Registry, environment: &Environment) -> Result<(), DuplicateClass> {
    registry.add(load::ControlNetLoader(environment.clone()))?;
    registry.add(load::DiffControlNetLoader(environment.clone()))?;
    registry.add(apply::ControlNetApply)?;
    registry.add(apply::ControlNetApplyAdvanced)?;
    registry.add(apply::ControlNetApplySD3)?;
    registry.add(apply::ControlNetInpaintingAliMamaApply)?;
    registry.add(apply::SetUnionControlNetType)?;
    registry.add(canny::Canny)
}
