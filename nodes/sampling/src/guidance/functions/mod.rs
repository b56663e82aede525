//! Changes of guidance that nodes add as [`Hooks`](super::Hooks).

mod attention;
mod differential;
mod frames;
mod norm;
mod patched;
mod rescale;

pub use attention::{SelfAttention, self_attention_guidance};
pub use differential::differential_diffusion;
pub use frames::{linear_cfg, triangle_cfg};
pub use norm::{cfg_norm, cfg_zero_star};
pub use patched::{Patched, away_from_patched};
pub use rescale::rescale_cfg;

use candle_core::{DType, Tensor};

use crate::Result;

/// The sum over everything but the batch, batch × 1 × 1 …, so that it broadcasts over the latent.
fn sum_per_item(tensor: &Tensor) -> Result<Tensor> {
    let axes: Vec<usize> = (1..tensor.rank()).collect();
    Ok(tensor.sum_keepdim(axes)?)
}

/// The standard deviation of each item, batch × 1 × 1 …
fn deviation_per_item(tensor: &Tensor) -> Result<Tensor> {
    let count = tensor.dims().iter().skip(1).product::<usize>() as f64;
    let mean = (sum_per_item(tensor)? / count)?;
    let squares = sum_per_item(&tensor.broadcast_sub(&mean)?.sqr()?)?;
    Ok((squares / (count - 1.0).max(1.0))?.sqrt()?)
}

/// The standard deviation of all values.
fn deviation(tensor: &Tensor) -> Result<f64> {
    let flat = tensor.to_dtype(DType::F32)?.flatten_all()?.unsqueeze(0)?;
    Ok(f64::from(deviation_per_item(&flat)?.flatten_all()?.get(0)?.to_scalar::<f32>()?))
}
