//! Nodes that sample.

mod ksampler;
mod preview;
mod run;
mod select;

use ebb_engine::registry::{DuplicateClass, Registry};

pub(crate) fn register(registry: &mut Registry) -> Result<(), DuplicateClass> {
    registry.add(ksampler::KSampler)?;
    registry.add(ksampler::KSamplerAdvanced)?;
    registry.add(select::KSamplerSelect)
}
