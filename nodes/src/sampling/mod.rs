//! Nodes that sample.

mod control;
mod custom;
mod guiders;
mod ksampler;
mod layers;
mod preview;
mod relation;
mod reuse;
mod run;
mod samplers;
mod schedulers;
mod select;
mod sigmas;

pub(crate) use run::reference;

use ebb_engine::registry::{DuplicateClass, Registry};
use ebb_engine::schema::Input;

pub(crate) fn register(registry: &mut Registry) -> Result<(), DuplicateClass> {
    relation::register(registry)?;
    registry.add(ksampler::KSampler)?;
    registry.add(ksampler::KSamplerAdvanced)?;
    registry.add(custom::SamplerCustom)?;
    registry.add(custom::SamplerCustomAdvanced)?;
    registry.add(custom::AddNoise)?;
    guiders::register(registry)?;
    schedulers::register(registry)?;
    sigmas::register(registry)?;
    samplers::register(registry)?;
    registry.add(select::KSamplerSelect)
}

/// A seed's input.
fn seed(name: &str) -> Input {
    Input::int(name, 0).range(0, u64::MAX).option("control_after_generate", true)
}
