//! The builder that the UNet families share, and their relation to pooled text.

use candle_core::Tensor;
use ebb_models::denoiser::Denoiser;
use ebb_models::ops::Ops;
use ebb_models::source::Source;
use ebb_models::unet::Unet;
use ebb_models::{LoadOptions, Result, timestep};

/// A UNet of any of them: its tensors say how deep and wide it is.
pub(super) fn build<'a>(
    ops: &'a Ops,
    source: &'a dyn Source,
    options: LoadOptions<'a>,
) -> Result<Box<dyn Denoiser>> {
    Ok(Box::new(Unet::load(ops, source, options)?))
}

/// Channels of one embedded number.
const WIDTH: usize = 256;

/// Pooled text, then each number embedded as a timestep is: `[1, pooled + 256 · numbers]`
/// (Podell et al. 2023, section 2.2).
pub(super) fn pooled_and_sizes(pooled: &Tensor, numbers: &[f64]) -> candle_core::Result<Tensor> {
    let numbers: Vec<f32> = numbers.iter().map(|n| *n as f32).collect();
    let embedded = timestep::embedding(&numbers, WIDTH, 10_000.0);
    let embedded = Tensor::from_vec(embedded, (1, WIDTH * numbers.len()), pooled.device())?;
    let batch = pooled.dim(0)?;
    Tensor::cat(&[pooled, &embedded.repeat((batch, 1))?], 1)
}
