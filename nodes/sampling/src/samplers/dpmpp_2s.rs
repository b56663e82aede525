//! DPM-Solver++(2S) with ancestral steps (Lu et al. 2022, "DPM-Solver++", algorithm 1), and its CFG++ form.

use candle_core::Tensor;

use super::ancestral::{ancestral_step, flow_step, log_middle_from_start};
use super::euler::euler_step;
use super::walk::Walk;
use crate::Result;
use crate::noise::NoiseSource;
use crate::tensor::mix;

/// Steps towards what the model sees in the middle of the step.
pub(super) fn dpmpp_2s_ancestral(walk: &mut Walk<'_>, mut x: Tensor) -> Result<Tensor> {
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
        x = if down == 0.0 {
            denoised
        } else {
            let middle = middle(walk, sigma, down);
            let seen = walk.denoise(&euler_step(&x, &denoised, sigma, middle)?, middle)?;
            euler_step(&x, &seen, sigma, down)?
        };
        if next > 0.0 && eta > 0.0 {
            x = mix(&[(keep, &x), (s_noise * renoise, &noise.noise(sigma, next)?)])?;
        }
    }
    Ok(x)
}

/// The middle of two levels in ln SNR. Where the first holds no signal at all, just below it.
fn middle(walk: &Walk<'_>, from: f64, to: f64) -> f64 {
    if walk.sampling.is_flow() && from == 1.0 {
        return 0.9999;
    }
    if !walk.sampling.is_flow() {
        return log_middle_from_start(from, to);
    }
    walk.sigma_of_half_log_snr(0.5 * (walk.half_log_snr(from) + walk.half_log_snr(to)))
}

/// CFG++ (Chung et al. 2024): what guidance adds is added to the latent, and the noise is what the negative
/// side sees. The second half of the step takes the negative side's view from its middle.
pub(super) fn dpmpp_2s_ancestral_cfg_pp(walk: &mut Walk<'_>, mut x: Tensor) -> Result<Tensor> {
    let (eta, s_noise) = (walk.options.eta.unwrap_or(1.0), walk.options.s_noise.unwrap_or(1.0));
    let mut noise = walk.independent_noise(&x);
    for (i, sigma, next) in walk.each() {
        let seen = walk.begin_both(i, &x, sigma)?;
        let (down, up) = ancestral_step(sigma, next, eta);
        if down == 0.0 {
            x = seen.denoised;
        } else {
            let guided = |negative: &Tensor| mix(&[(1.0, &x), (1.0, &seen.denoised), (-1.0, negative)]);
            let middle = log_middle_from_start(sigma, down);
            let halfway = euler_step(&guided(&seen.negative)?, &seen.denoised, sigma, middle)?;
            let inside = walk.denoise_both(&halfway, middle)?;
            x = euler_step(&guided(&inside.negative)?, &inside.denoised, sigma, down)?;
        }
        if next > 0.0 && up > 0.0 {
            x = mix(&[(1.0, &x), (s_noise * up, &noise.noise(sigma, next)?)])?;
        }
    }
    Ok(x)
}
