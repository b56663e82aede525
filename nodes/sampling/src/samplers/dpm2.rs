//! DPM-Solver-2 on a given schedule, and its ancestral form (k-diffusion's `dpm_2`).

use candle_core::Tensor;

use super::ancestral::{ancestral_step, flow_step, log_middle_from_end};
use super::euler::euler_step;
use super::walk::Walk;
use crate::Result;
use crate::noise::NoiseSource;
use crate::tensor::mix;

/// Lu et al. 2022, "DPM-Solver", second order with the middle in ln σ.
pub(super) fn dpm_2(walk: &mut Walk<'_>, mut x: Tensor) -> Result<Tensor> {
    for (i, sigma, next) in walk.each() {
        let denoised = walk.begin(i, &x, sigma)?;
        x = midpoint_step(walk, &x, &denoised, sigma, next)?;
    }
    Ok(x)
}

/// With noise added back after each step.
pub(super) fn dpm_2_ancestral(walk: &mut Walk<'_>, mut x: Tensor) -> Result<Tensor> {
    let (eta, s_noise) = (walk.options.eta.unwrap_or(1.0), walk.options.s_noise.unwrap_or(1.0));
    let mut noise = walk.independent_noise(&x);
    for (i, sigma, next) in walk.each() {
        let denoised = walk.begin(i, &x, sigma)?;
        let (down, keep, renoise) = if walk.sampling.is_flow() {
            let step = flow_step(sigma, next, eta);
            (step.down, step.keep, step.renoise)
        } else {
            let (down, up) = ancestral_step(sigma, next, eta);
            (down, 1.0, up)
        };
        x = midpoint_step(walk, &x, &denoised, sigma, down)?;
        if down != 0.0 {
            x = mix(&[(keep, &x), (s_noise * renoise, &noise.noise(sigma, next)?)])?;
        }
    }
    Ok(x)
}

/// Steps along the slope at the geometric middle of the two levels; straight to zero where there is none.
fn midpoint_step(
    walk: &mut Walk<'_>,
    x: &Tensor,
    denoised: &Tensor,
    sigma: f64,
    next: f64,
) -> Result<Tensor> {
    if next == 0.0 {
        return euler_step(x, denoised, sigma, next);
    }
    let middle = log_middle_from_end(sigma, next);
    let halfway = euler_step(x, denoised, sigma, middle)?;
    let seen = walk.denoise(&halfway, middle)?;
    let slope = (next - sigma) / middle;
    mix(&[(1.0, x), (slope, &halfway), (-slope, &seen)])
}
