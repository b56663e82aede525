//! Z-Image.

use ebb_models::dit::z_image::ZImage;
use ebb_sampling::{LatentFormat, ModelSampling};

use super::Family;

/// Z-Image and its turbo: rectified flow in Flux's latents, prompts of a language model.
pub static Z_IMAGE: Family = Family {
    name: "Z-Image",
    latent_format: LatentFormat::FLUX,
    latent_channels: 16,
    tokens: 64,
    sampling: || ModelSampling::flow(3.0, 1.0),
    denoiser: |ops, source, options| Ok(Box::new(ZImage::load(ops, source, options)?)),
    inputs: |_, _, _| Ok(()),
    joint: true,
    edits_scaled: true,
};
