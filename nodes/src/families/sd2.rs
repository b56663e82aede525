//! Stable Diffusion 2.x.

use ebb_sampling::{LatentFormat, ModelSampling};

use super::{Family, unet};

/// Stable Diffusion 2.x: the latents of 1.x, another text encoder; noise or velocity, which the
/// file's tensors tell.
pub static SD2: Family = Family {
    name: "Stable Diffusion 2",
    latent_format: LatentFormat::SD1,
    latent_channels: 4,
    tokens: 77,
    sampling: ModelSampling::eps,
    denoiser: unet::build,
    inputs: |_, _, _| Ok(()),
    joint: false,
    edits_scaled: false,
};
