//! Flux dev and schnell, and their variants that see a picture.

use ebb_models::dit::flux::Flux;
use ebb_sampling::guidance::{CondValue, Conditioning, InputContext, ModelInput, ModelInputs};
use ebb_sampling::{LatentFormat, ModelSampling, Result};

use super::{Family, sd3};

/// Flux dev, Fill, Canny and Depth: rectified flow, told how strong its distilled guidance is.
pub static FLUX: Family = of("Flux", || ModelSampling::flux(1.15));

/// Flux schnell: rectified flow in a few steps, without guidance.
pub static FLUX_SCHNELL: Family = of("Flux schnell", || ModelSampling::flow(1.0, 1.0));

const fn of(name: &'static str, sampling: fn() -> ModelSampling) -> Family {
    Family {
        name,
        latent_format: LatentFormat::FLUX,
        latent_channels: 16,
        tokens: 256,
        sampling,
        denoiser: |ops, source, options| Ok(Box::new(Flux::load(ops, source, options)?)),
        inputs,
        edits_scaled: true,
    }
}

/// ViT-L's pooled vector.
const POOLED: usize = 768;
/// The guidance of a prompt that names none.
const GUIDANCE: f64 = 3.5;

fn inputs(entry: &Conditioning, _: &InputContext<'_>, inputs: &mut ModelInputs) -> Result<()> {
    let guidance = match entry.extra.get("guidance") {
        Some(CondValue::Number(guidance)) => Some(*guidance),
        // `FluxDisableGuidance`: nothing is added to the timestep.
        Some(CondValue::Flag(false)) => None,
        _ => Some(GUIDANCE),
    };
    if let Some(guidance) = guidance {
        inputs.insert("guidance".into(), ModelInput::Constant(guidance));
    }
    sd3::pooled(entry, POOLED, inputs)
}
