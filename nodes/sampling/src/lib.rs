//! Noise, schedules, guidance and samplers: how a denoiser becomes a picture's latent, once for every family.
//!
//! - [`rng`] draws the numbers that PyTorch draws for a seed; [`noise`] makes a latent's noise of them.
//! - [`model_sampling`] says which sigmas a model was trained on, and what its output means.
//! - [`schedule`] chooses the sigmas to walk down.
//! - [`guidance`] turns prompts, areas, masks and ranges into one prediction of the clean latent.
//! - [`samplers`] are the ways to walk; [`sample`] is the walk itself, with masks and latent formats, and
//!   [`KSampler`] the settings of the nodes of that name.
//!
//! A family of models takes part by implementing [`guidance::Model`]: one call of the denoiser, and which
//! inputs it reads from a prompt. An [`Observer`] follows the steps and can stop them.
//!
//! Numbers are compared with ComfyUI's in `tests/reference.rs`; where each formula comes from is in
//! `docs/sampling.md`.

mod error;
pub mod guidance;
mod ksampler;
mod latent_format;
mod mask;
pub mod model_sampling;
pub mod noise;
mod observer;
pub mod rng;
mod sample;
pub mod samplers;
pub mod schedule;
mod tensor;

pub use error::{Error, Result};
pub use ksampler::KSampler;
pub use latent_format::LatentFormat;
pub use mask::denoise_mask_for;
pub use model_sampling::ModelSampling;
pub use observer::{Observer, Step};
pub use sample::{Job, SampledModel, sample};
pub use samplers::{Sampler, SamplerOptions};
pub use schedule::Scheduler;
