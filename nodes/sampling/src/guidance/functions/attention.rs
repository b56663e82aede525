//! Self-attention guidance: away from what the model makes of a picture that is blurred where it looks most (Hong et
//! al. 2023, "Improving Sample Quality of Diffusion Models Using Self-Attention Guidance").

use std::sync::Arc;

use candle_core::{DType, Tensor};

use crate::Result;
use crate::guidance::{PostCfgFunction, Side};
use crate::tensor::mix;

/// How to guide by self-attention.
#[derive(Clone)]
pub struct SelfAttention {
    /// How strongly.
    pub scale: f64,
    /// The blur's deviation, in cells.
    pub blur: f64,
    /// How much each position of the middle block was looked at when the negative side was evaluated last: for each
    /// sample, the mean over heads of the sums over queries.
    pub looked_at: Arc<dyn Fn() -> Vec<Vec<f32>> + Send + Sync>,
}

/// What is looked at more than by one query's worth is blurred.
const THRESHOLD: f32 = 1.0;
/// Cells along a side of the blur.
const KERNEL: usize = 9;

/// Blurs what the negative side sees where it looks most, and guides away from what it makes of that.
pub fn self_attention_guidance(settings: SelfAttention) -> PostCfgFunction {
    Arc::new(move |args| {
        let (_, _, height, width) = args.denoised.dims4()?;
        let looked_at = (settings.looked_at)();
        if height.min(width) <= 4 || looked_at.is_empty() {
            return Ok(args.denoised.clone());
        }
        let blurred = blurred(args.negative, settings.blur)?;
        let mask = mask(args.negative, &looked_at)?;
        let kept = mask.affine(-1.0, 1.0)?;
        let degraded = (blurred.broadcast_mul(&mask)? + args.negative.broadcast_mul(&kept)?)?;
        let noisy = mix(&[(1.0, &degraded), (1.0, args.x), (-1.0, args.negative)])?;
        let made = (args.evaluate)(Side::Negative, &noisy, None)?;
        mix(&[(1.0, &args.denoised), (settings.scale, &degraded), (-settings.scale, &made)])
    })
}

/// Ones where a sample was looked at, in the latent's size.
fn mask(latent: &Tensor, looked_at: &[Vec<f32>]) -> Result<Tensor> {
    let (batch, _, height, width) = latent.dims4()?;
    let mut values = Vec::with_capacity(batch * height * width);
    for sample in 0..batch {
        let sums = &looked_at[sample % looked_at.len()];
        let rows = rows(sums.len(), height, width);
        let columns = (sums.len() / rows).max(1);
        for y in 0..height {
            let from = y * rows / height;
            values.extend(
                (0..width).map(|x| f32::from(sums[from * columns + x * columns / width] > THRESHOLD)),
            );
        }
    }
    Ok(Tensor::from_vec(values, (batch, 1, height, width), latent.device())?)
}

/// Rows of the middle block for a latent of a size: the divisor of its positions next to the latent's shape.
fn rows(total: usize, height: usize, width: usize) -> usize {
    let wanted = ((height as f64 / width as f64) * total as f64).sqrt().round_ties_even() as usize;
    let furthest = ((total as f64).sqrt() / 2.0) as usize;
    let divides = |rows: usize| rows > 0 && total.is_multiple_of(rows);
    (0..furthest.max(1))
        .flat_map(|i| [wanted + i, wanted.saturating_sub(i).max(1)])
        .find(|rows| divides(*rows))
        .unwrap_or(1)
}

/// A Gaussian blur; edges are mirrored.
fn blurred(latent: &Tensor, deviation: f64) -> Result<Tensor> {
    let (batch, channels, height, width) = latent.dims4()?;
    let half = KERNEL / 2;
    let weights: Vec<f32> = (0..KERNEL)
        .map(|i| {
            let x = i as f64 - half as f64;
            if deviation > 0.0 { (-0.5 * (x / deviation).powi(2)).exp() as f32 } else { f32::from(i == half) }
        })
        .collect();
    let total: f32 = weights.iter().sum();
    let mirrored = |i: isize, size: usize| -> usize {
        let last = size as isize - 1;
        let i = i.abs();
        (if i > last { 2 * last - i } else { i }).clamp(0, last) as usize
    };
    let values = latent.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
    let mut rows = vec![0f32; values.len()];
    let mut out = vec![0f32; values.len()];
    let place = |plane: usize, y: usize, x: usize| (plane * height + y) * width + x;
    for plane in 0..batch * channels {
        for y in 0..height {
            for x in 0..width {
                rows[place(plane, y, x)] = (0..KERNEL)
                    .map(|k| {
                        let from = mirrored((x + k) as isize - half as isize, width);
                        weights[k] / total * values[place(plane, y, from)]
                    })
                    .sum();
            }
        }
        for y in 0..height {
            for x in 0..width {
                out[place(plane, y, x)] = (0..KERNEL)
                    .map(|k| {
                        let from = mirrored((y + k) as isize - half as isize, height);
                        weights[k] / total * rows[place(plane, from, x)]
                    })
                    .sum();
            }
        }
    }
    Ok(Tensor::from_vec(out, (batch, channels, height, width), latent.device())?.to_dtype(latent.dtype())?)
}
