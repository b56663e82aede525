//! The schedule of Mochi 1 (Genmo 2024): slow linear steps at high noise, then a quadratic fall.

use super::at_least_one;
use crate::Result;
use crate::model_sampling::ModelSampling;
use crate::tensor::round_to_f32;

/// The first `linear_steps` (half of the steps, unless given) remove `threshold_noise` of the noise
/// between them; a parabola that continues their slope removes the rest.
pub fn linear_quadratic(
    sampling: &ModelSampling,
    steps: usize,
    threshold_noise: f64,
    linear_steps: Option<usize>,
) -> Result<Vec<f64>> {
    at_least_one("linear_quadratic scheduler", steps)?;
    let scaled = |removed: f64| round_to_f32(round_to_f32(1.0 - removed) * sampling.sigma_max());
    if steps == 1 {
        return Ok(vec![scaled(0.0), 0.0]);
    }
    let linear_steps = linear_steps.unwrap_or(steps / 2).clamp(1, steps - 1);
    let (linear, all) = (linear_steps as f64, steps as f64);
    let slope = threshold_noise / linear;
    // A parabola a·i² + b·i + c through (linear, threshold) with that slope, and through (all, 1).
    let rest = (all - linear).powi(2);
    let lag = linear - threshold_noise * all;
    let a = lag / (linear * rest);
    let b = slope - 2.0 * lag / rest;
    let c = a * linear * linear;
    let removed = |i: usize| {
        let i = i as f64;
        if i < linear { slope * i } else { a * i * i + b * i + c }
    };
    Ok((0..steps).map(removed).chain([1.0]).map(scaled).collect())
}
