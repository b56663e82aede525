//! Stable Diffusion 3 and 3.5.

use candle_core::{DType, Device, Tensor};
use ebb_models::dit::mmdit::Mmdit;
use ebb_sampling::guidance::{Conditioning, ModelInput, ModelInputs};
use ebb_sampling::{LatentFormat, ModelSampling};

use super::Family;

/// Stable Diffusion 3 and 3.5: rectified flow in latents of 16 channels, prompts of up to three encoders.
pub static SD3: Family = Family {
    name: "Stable Diffusion 3",
    latent_format: LatentFormat::SD3,
    latent_channels: 16,
    tokens: 154,
    sampling: || ModelSampling::flow(3.0, 1000.0),
    denoiser: |ops, source, options| Ok(Box::new(Mmdit::load(ops, source, options)?)),
    inputs: |entry, _, inputs| pooled(entry, POOLED, inputs),
    joint: true,
    edits_scaled: true,
};

/// ViT-L's and bigG's pooled vectors side by side.
const POOLED: usize = 768 + 1280;

/// The pooled prompt; a prompt without one (of another family's encoder) says nothing.
pub(super) fn pooled(
    entry: &Conditioning,
    channels: usize,
    inputs: &mut ModelInputs,
) -> ebb_sampling::Result<()> {
    let pooled = match &entry.pooled {
        Some(pooled) => pooled.clone(),
        None => Tensor::zeros((1, channels), DType::F32, &Device::Cpu)?,
    };
    inputs.insert("y".into(), ModelInput::Regular(pooled));
    Ok(())
}
