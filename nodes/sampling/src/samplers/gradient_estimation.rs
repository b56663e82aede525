//! Gradient estimation (Permenter and Yuan 2024, "Interpreting and Improving Diffusion Models from an
//! Optimization Perspective", algorithm 2), and its CFG++ form.

use candle_core::Tensor;

use super::walk::Walk;
use crate::Result;
use crate::guidance::Prediction;
use crate::tensor::mix;

/// How far the slope is extrapolated: the paper's γ.
const GAMMA: f64 = 2.0;

/// Euler steps whose slope is extrapolated from the last.
pub(super) fn gradient_estimation(walk: &mut Walk<'_>, x: Tensor) -> Result<Tensor> {
    walk_down(walk, x, false)
}

/// With the noise that the negative side sees.
pub(super) fn gradient_estimation_cfg_pp(walk: &mut Walk<'_>, x: Tensor) -> Result<Tensor> {
    walk_down(walk, x, true)
}

fn walk_down(walk: &mut Walk<'_>, mut x: Tensor, cfg_pp: bool) -> Result<Tensor> {
    let mut before: Option<Tensor> = None;
    for (i, sigma, next) in walk.each() {
        let Prediction { denoised, negative } = if cfg_pp {
            walk.begin_both(i, &x, sigma)?
        } else {
            let denoised = walk.begin(i, &x, sigma)?;
            Prediction { negative: denoised.clone(), denoised }
        };
        let slope = mix(&[(1.0 / sigma, &x), (-1.0 / sigma, &negative)])?;
        x = if next == 0.0 { denoised } else { mix(&[(1.0, &denoised), (next, &slope)])? };
        if let Some(before) = before.filter(|_| next != 0.0) {
            let further = (GAMMA - 1.0) * (next - sigma);
            x = mix(&[(1.0, &x), (further, &slope), (-further, &before)])?;
        }
        before = Some(slope);
    }
    Ok(x)
}
