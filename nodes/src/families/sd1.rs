//! Stable Diffusion 1.x, its inpainting variant included.

use ebb_sampling::{LatentFormat, ModelSampling};

use super::{Family, unet};

/// Stable Diffusion 1.x: noise prediction in latents of 4 channels.
pub static SD1: Family = Family {
    name: "Stable Diffusion 1",
    latent_format: LatentFormat::SD1,
    latent_channels: 4,
    sampling: ModelSampling::eps,
    denoiser: unet::build,
    preview: &PREVIEW,
    inputs: |_, _, _| Ok(()),
};

/// Latent channels to colours: the linear fit that K. Turner published for v1 latents.
pub(super) const PREVIEW: [[f32; 3]; 5] = [
    [0.298, 0.207, 0.208],
    [0.187, 0.286, 0.173],
    [-0.158, 0.189, 0.264],
    [-0.184, -0.271, -0.473],
    [0.0, 0.0, 0.0],
];
