//! Nodes for conditioning: where, when and how strongly prompts speak.

mod area;
mod combine;
mod encode;
mod flux;
mod gligen;
mod lotus;
mod range;
mod sd3;
mod sdxl;
mod vision;

use ebb_engine::registry::{DuplicateClass, Registry};

pub(crate) fn register(registry: &mut Registry) -> Result<(), DuplicateClass> {
    registry.add(encode::CLIPTextEncode)?;
    registry.add(encode::CLIPSetLastLayer)?;
    registry.add(encode::T5TokenizerOptions)?;
    registry.add(lotus::LotusConditioning)?;
    registry.add(sdxl::CLIPTextEncodeSDXL)?;
    registry.add(sdxl::CLIPTextEncodeSDXLRefiner)?;
    registry.add(sd3::CLIPTextEncodeSD3)?;
    registry.add(flux::CLIPTextEncodeFlux)?;
    registry.add(flux::FluxGuidance)?;
    registry.add(flux::FluxDisableGuidance)?;
    registry.add(combine::ConditioningCombine)?;
    registry.add(combine::ConditioningConcat)?;
    registry.add(combine::ConditioningAverage)?;
    registry.add(combine::ConditioningZeroOut)?;
    registry.add(area::ConditioningSetArea)?;
    registry.add(area::ConditioningSetAreaPercentage)?;
    registry.add(area::ConditioningSetAreaStrength)?;
    registry.add(area::ConditioningSetMask)?;
    registry.add(range::ConditioningSetTimestepRange)?;
    registry.add(gligen::GLIGENTextBoxApply)?;
    vision::register(registry)
}
