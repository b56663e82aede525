//! Euler's method, and its ancestral and CFG++ forms.

use candle_core::Tensor;

use super::ancestral::{ancestral_step, flow_step};
use super::walk::Walk;
use crate::Result;
use crate::noise::NoiseSource;
use crate::tensor::mix;

/// Moves from `sigma` to `next` along the line through the clean latent. All first-order steps are this one.
pub(super) fn euler_step(x: &Tensor, denoised: &Tensor, sigma: f64, next: f64) -> Result<Tensor> {
    let kept = next / sigma;
    mix(&[(kept, x), (1.0 - kept, denoised)])
}

/// Euler's method (Karras et al. 2022, algorithm 2 without its second-order correction).
pub(super) fn euler(walk: &mut Walk<'_>, mut x: Tensor) -> Result<Tensor> {
    for (i, sigma, next) in walk.each() {
        let denoised = walk.begin(i, &x, sigma)?;
        x = euler_step(&x, &denoised, sigma, next)?;
    }
    Ok(x)
}

/// Euler steps that go further down and add noise back.
pub(super) fn euler_ancestral(walk: &mut Walk<'_>, mut x: Tensor) -> Result<Tensor> {
    let (eta, s_noise) = (walk.options.eta.unwrap_or(1.0), walk.options.s_noise.unwrap_or(1.0));
    let mut noise = walk.independent_noise(&x);
    for (i, sigma, next) in walk.each() {
        let denoised = walk.begin(i, &x, sigma)?;
        if next == 0.0 {
            x = denoised;
        } else if walk.sampling.is_flow() {
            let step = flow_step(sigma, next, eta);
            x = euler_step(&x, &denoised, sigma, step.down)?;
            if eta > 0.0 {
                x = mix(&[(step.keep, &x), (s_noise * step.renoise, &noise.noise(sigma, next)?)])?;
            }
        } else {
            let (down, up) = ancestral_step(sigma, next, eta);
            x = if down == 0.0 { denoised } else { euler_step(&x, &denoised, sigma, down)? };
            if down != 0.0 {
                x = mix(&[(1.0, &x), (s_noise * up, &noise.noise(sigma, next)?)])?;
            }
        }
    }
    Ok(x)
}

/// CFG++ (Chung et al. 2024): the guided clean latent, with the noise that the negative side sees.
pub(super) fn euler_cfg_pp(walk: &mut Walk<'_>, x: Tensor) -> Result<Tensor> {
    cfg_pp(walk, x, 0.0, 0.0)
}

/// CFG++ with ancestral steps.
pub(super) fn euler_ancestral_cfg_pp(walk: &mut Walk<'_>, x: Tensor) -> Result<Tensor> {
    let (eta, s_noise) = (walk.options.eta.unwrap_or(1.0), walk.options.s_noise.unwrap_or(1.0));
    cfg_pp(walk, x, eta, s_noise)
}

fn cfg_pp(walk: &mut Walk<'_>, mut x: Tensor, eta: f64, s_noise: f64) -> Result<Tensor> {
    let mut noise = walk.independent_noise(&x);
    // The share of signal at a level: 1 − σ for flow models, 1 for others.
    let signal = |sigma: f64| if walk.sampling.is_flow() { 1.0 - sigma } else { 1.0 };
    let shares: Vec<f64> = walk.sigmas.iter().map(|sigma| signal(*sigma)).collect();
    for (i, sigma, next) in walk.each() {
        let seen = walk.begin_both(i, &x, sigma)?;
        if next == 0.0 {
            x = seen.denoised;
            continue;
        }
        let (from, to) = (shares[i], shares[i + 1]);
        let (down, up) = ancestral_step(sigma / from, next / to, eta);
        let down = to * down / sigma;
        x = mix(&[(to, &seen.denoised), (down, &x), (-down * from, &seen.negative)])?;
        if eta > 0.0 && s_noise > 0.0 {
            x = mix(&[(1.0, &x), (to * s_noise * up, &noise.noise(sigma, next)?)])?;
        }
    }
    Ok(x)
}

/// The other reading of CFG++: the step is taken along (2·x₀ − x₀ of the negative side).
pub(super) fn euler_cfg_pp_alternative(walk: &mut Walk<'_>, mut x: Tensor) -> Result<Tensor> {
    for (i, sigma, next) in walk.each() {
        let seen = walk.begin_both(i, &x, sigma)?;
        let share = (next - sigma) / sigma;
        x = mix(&[(1.0 + share, &x), (-2.0 * share, &seen.denoised), (share, &seen.negative)])?;
    }
    Ok(x)
}
