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
        joint: true,
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
    if let Some(CondValue::Tensors(references)) = entry.extra.get("reference_latents") {
        for (i, latent) in references.iter().enumerate() {
            let latent = LatentFormat::FLUX.process_in(latent)?;
            inputs.insert(crate::sampling::reference(i), ModelInput::Regular(latent));
        }
        let place = match entry.extra.get("reference_latents_method") {
            Some(CondValue::Text(method)) if method == "index" => 1.0,
            Some(CondValue::Text(method)) if method.starts_with("uxo") => 2.0,
            _ => 0.0,
        };
        inputs.insert("ref_latents_method".into(), ModelInput::Constant(place));
    }
    if let Some(bias) = entry.tensor("attention_mask") {
        inputs.insert("attention_mask".into(), ModelInput::Regular(bias.clone()));
    }
    sd3::pooled(entry, POOLED, inputs)
}
