//! Guidance of image-to-video models, which needs to be weaker at the frames near the given picture.

use std::sync::Arc;

use candle_core::Tensor;

use crate::Result;
use crate::guidance::{CfgArgs, CfgFunction};

/// From `least` at the first frame to the full scale at the last (Blattmann et al. 2023, "Stable Video
/// Diffusion", section D.3).
pub fn linear_cfg(least: f64) -> CfgFunction {
    Arc::new(move |args| guide_frames(args, |place| least + (args.scale - least) * place))
}

/// From `least` at the first frame to the full scale in the middle, and back.
pub fn triangle_cfg(least: f64) -> CfgFunction {
    Arc::new(move |args| {
        guide_frames(args, |place| least + (args.scale - least) * (1.0 - (2.0 * place - 1.0).abs()))
    })
}

/// Guides each item of the batch with the scale of its place, 0 to 1.
fn guide_frames(args: &CfgArgs<'_>, scale: impl Fn(f64) -> f64) -> Result<Tensor> {
    let frames = args.positive.dim(0)?;
    let scales: Vec<f32> =
        (0..frames).map(|i| scale(i as f64 / frames.saturating_sub(1).max(1) as f64) as f32).collect();
    let mut shape = vec![1; args.positive.rank()];
    shape[0] = frames;
    let scales = Tensor::from_vec(scales, shape, args.positive.device())?.to_dtype(args.positive.dtype())?;
    Ok((args.negative + (args.positive - args.negative)?.broadcast_mul(&scales)?)?)
}
