//! Text encoders, denoisers and autoencoders as blocks on the kernels.
//!
//! A model is built from a [`Source`](source::Source) of named tensors, which tell all of its dimensions, and runs
//! on [`Ops`](ops::Ops), which computes. Nothing else in Ebb knows how a network is put together.
//!
//! - [`source`]: where weights come from (files, renamed files, patched files)
//! - [`ops`]: the one seam to what computes: kernels, candle, or only counting
//! - `params`: weights prepared one tensor at a time, shared between a model and its patched views
//! - [`text`]: from weighted tokens to conditioning; [`clip`], [`t5`] and [`qwen`]: the encoders
//! - [`denoiser`]: what every denoiser is to the samplers; [`changes`]: what nodes change of its layers
//! - [`gligen`], [`hypernetwork`]: networks inside another's layers
//! - [`timestep`]: sinusoidal embeddings
//! - [`unet`]: the denoiser of SD 1, SD 2 and SDXL
//! - [`dit`]: the transformers of SD 3, Flux and Z-Image
//! - [`lora`]: patches as views on a source
//! - [`narrow`], [`quantize`], [`stream`]: fewer bits a weight, and weights that stay in their file
//! - [`controlnet`], [`adapter`]: what guides it
//! - [`vision`]: pictures to vectors; [`style`]: those to tokens
//! - [`vae`]: the KL autoencoder; [`taesd`]: the one for previews
//! - [`upscaler`]: ESRGAN and its kin

pub mod adapter;
pub mod changes;
pub mod clip;
pub mod controlnet;
pub mod denoiser;
pub mod dit;
mod error;
pub mod gligen;
pub mod hypernetwork;
pub mod lora;
pub mod narrow;
pub mod ops;
mod params;
pub mod quantize;
pub mod qwen;
pub mod source;
mod stored;
pub mod stream;
pub mod style;
pub mod t5;
pub mod taesd;
pub mod text;
pub mod timestep;
pub mod unet;
pub mod upscaler;
pub mod vae;
pub mod vision;

pub use error::{Error, Result};
pub use params::{LoadOptions, Params, Progress};
