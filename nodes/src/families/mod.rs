//! Families of models: which blocks, which latent format, which relation to noise. Data, not
//! pipelines: loading, sampling, guidance and memory are written once, elsewhere.

mod concat;
mod detected;
mod flux;
mod lotus;
mod sd1;
mod sd2;
mod sd3;
mod sdxl;
mod unclip;
mod unet;
mod z_image;

use ebb_models::denoiser::Denoiser;
use ebb_models::ops::Ops;
use ebb_models::source::Source;
use ebb_models::{LoadOptions, Result};
use ebb_sampling::guidance::{Conditioning, InputContext, ModelInputs};
use ebb_sampling::{LatentFormat, ModelSampling};

pub(crate) use concat::{concat, set_concat, set_picture};
pub(crate) use detected::{composition, encoder, family};
pub use flux::{FLUX, FLUX_SCHNELL};
pub use lotus::LOTUS;
pub use sd1::SD1;
pub use sd2::SD2;
pub use sd3::SD3;
pub use sdxl::{SDXL, SDXL_REFINER};
pub(crate) use unclip::PICTURES;
pub use unclip::SD2_UNCLIP;
pub use z_image::Z_IMAGE;

/// What sets one family apart from another.
pub struct Family {
    /// Its name for people.
    pub name: &'static str,
    /// The scale of its latents.
    pub latent_format: LatentFormat,
    /// Channels of its latents.
    pub latent_channels: usize,
    /// Tokens of a short prompt: what a plan reckons with.
    pub tokens: usize,
    /// Its relation to noise, where the file says nothing else.
    pub sampling: fn() -> ModelSampling,
    /// Builds its denoiser.
    pub denoiser: BuildDenoiser,
    /// Adds what it reads from an entry beside the prompt itself.
    pub inputs: AddInputs,
    /// Whether prompt and picture are one sequence, so that a prompt that is repeated says something else.
    pub joint: bool,
    /// Whether a picture that is concatenated to the latent is in the latent's scale, or in the autoencoder's.
    pub edits_scaled: bool,
}

/// Builds a denoiser from tensors named as in a single file, without their prefix.
pub type BuildDenoiser = for<'a> fn(&'a Ops, &'a dyn Source, LoadOptions<'a>) -> Result<Box<dyn Denoiser>>;

/// Adds a model's inputs for an entry.
pub type AddInputs = fn(&Conditioning, &InputContext<'_>, &mut ModelInputs) -> ebb_sampling::Result<()>;
