//! Nodes for masks.

mod compose;
mod convert;
mod shape;

use ebb_engine::registry::{DuplicateClass, Registry};

/// Where ComfyUI has these nodes.
const MODULE: &str = "comfy_extras.nodes_mask";

pub(crate) fn register(registry: &mut Registry) -> Result<(), DuplicateClass> {
    registry.add(convert::MaskToImage)?;
    registry.add(convert::ImageToMask)?;
    registry.add(convert::SolidMask)?;
    registry.add(compose::InvertMask)?;
    registry.add(compose::CropMask)?;
    registry.add(compose::MaskComposite)?;
    registry.add(shape::FeatherMask)?;
    registry.add(shape::GrowMask)?;
    registry.add(shape::ThresholdMask)
}
