//! Refined exponential solver, two-step form (Zhang et al. 2023, "Improved Order Analysis and Design of
//! Exponential Integrator for Diffusion Models Sampling", arXiv 2308.02157), with ancestral and CFG++ forms.

use candle_core::Tensor;

use super::ancestral::ancestral_step;
use super::walk::Walk;
use crate::Result;
use crate::guidance::Prediction;
use crate::noise::NoiseSource;
use crate::tensor::mix;

/// No noise is added.
pub(super) fn res_multistep(walk: &mut Walk<'_>, x: Tensor) -> Result<Tensor> {
    walk_down(walk, x, 0.0, false)
}

/// No noise is added; the negative side's view gives the direction.
pub(super) fn res_multistep_cfg_pp(walk: &mut Walk<'_>, x: Tensor) -> Result<Tensor> {
    walk_down(walk, x, 0.0, true)
}

/// Steps go further down, and noise is added back.
pub(super) fn res_multistep_ancestral(walk: &mut Walk<'_>, x: Tensor) -> Result<Tensor> {
    let eta = walk.options.eta.unwrap_or(1.0);
    walk_down(walk, x, eta, false)
}

/// Both.
pub(super) fn res_multistep_ancestral_cfg_pp(walk: &mut Walk<'_>, x: Tensor) -> Result<Tensor> {
    let eta = walk.options.eta.unwrap_or(1.0);
    walk_down(walk, x, eta, true)
}

fn walk_down(walk: &mut Walk<'_>, mut x: Tensor, eta: f64, cfg_pp: bool) -> Result<Tensor> {
    let s_noise = walk.options.s_noise.unwrap_or(1.0);
    let sigmas = walk.sigmas;
    let mut noise = walk.independent_noise(&x);
    // What was seen at the last step, and the level that it went down to.
    let mut past: Option<(Tensor, f64)> = None;
    for (i, sigma, next) in walk.each() {
        let Prediction { denoised, negative } = if cfg_pp {
            walk.begin_both(i, &x, sigma)?
        } else {
            let denoised = walk.begin(i, &x, sigma)?;
            Prediction { negative: denoised.clone(), denoised }
        };
        let (down, up) = ancestral_step(sigma, next, eta);
        let kept = down / sigma;
        x = match &past {
            Some((before, before_down)) if down > 0.0 => {
                let h = (sigma / down).ln();
                let c2 = (*before_down / sigmas[i - 1]).ln() / h;
                let (now, earlier) = two_step_weights(h, c2);
                mix(&[
                    (kept, &x),
                    // CFG++ adds what guidance says before the step; nothing where the two are one.
                    (kept, &denoised),
                    (-kept, &negative),
                    (h * now, &negative),
                    (h * earlier, before),
                ])?
            }
            _ => mix(&[(1.0, &denoised), (kept, &x), (-kept, &negative)])?,
        };
        if next > 0.0 && up > 0.0 {
            x = mix(&[(1.0, &x), (s_noise * up, &noise.noise(sigma, next)?)])?;
        }
        past = Some((negative, down));
    }
    Ok(x)
}

/// The weights of this evaluation and the last, over h. Where sigmas repeat they are not defined: zero.
fn two_step_weights(h: f64, c2: f64) -> (f64, f64) {
    let phi_1 = (-h).exp_m1() / -h;
    let phi_2 = (phi_1 - 1.0) / -h;
    let finite = |weight: f64| if weight.is_finite() { weight } else { 0.0 };
    (finite(phi_1 - phi_2 / c2), finite(phi_2 / c2))
}
