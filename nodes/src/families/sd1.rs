//! Stable Diffusion 1.x, its inpainting variant included.

use ebb_sampling::{LatentFormat, ModelSampling};

use super::{Family, unet};

/// Stable Diffusion 1.x: noise prediction in latents of 4 channels.
pub static SD1: Family = Family {
    name: "Stable Diffusion 1",
    latent_format: LatentFormat::SD1,
    latent_channels: 4,
    tokens: 77,
    sampling: ModelSampling::eps,
    denoiser: unet::build,
    inputs: |_, _, _| Ok(()),
    joint: false,
    edits_scaled: false,
};
