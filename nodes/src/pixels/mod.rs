//! Resampling of pictures and latents, and the codecs.
//!
//! Everything here works on planes: `[planes, height, width]` of f32, so that images (moved to
//! channels first), latents and masks share it.

mod bislerp;
pub(crate) mod canny;
mod lanczos;
pub mod load;
pub mod png;
mod resample;
mod scale;

pub(crate) use scale::smooth_bicubic;
pub use scale::{Crop, Method, image, latent};
