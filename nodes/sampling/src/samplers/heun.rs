//! Heun's method: an Euler step, corrected by the slope at its end.

use candle_core::Tensor;

use super::euler::euler_step;
use super::walk::Walk;
use crate::Result;
use crate::tensor::mix;

/// The slope of the latent over sigma.
fn slope(x: &Tensor, denoised: &Tensor, sigma: f64) -> Result<Tensor> {
    mix(&[(1.0 / sigma, x), (-1.0 / sigma, denoised)])
}

/// Karras et al. 2022, algorithm 2 without churn.
pub(super) fn heun(walk: &mut Walk<'_>, mut x: Tensor) -> Result<Tensor> {
    for (i, sigma, next) in walk.each() {
        let denoised = walk.begin(i, &x, sigma)?;
        let ahead = euler_step(&x, &denoised, sigma, next)?;
        if next == 0.0 {
            x = ahead;
            continue;
        }
        let first = slope(&x, &denoised, sigma)?;
        let second = slope(&ahead, &walk.denoise(&ahead, next)?, next)?;
        let half = 0.5 * (next - sigma);
        x = mix(&[(1.0, &x), (half, &first), (half, &second)])?;
    }
    Ok(x)
}

/// Heun++ (Wang et al. 2024, "Heun++"; as in sd-webui-samplers-scheduler): looks two steps ahead, and
/// weighs the slopes by their noise levels.
pub(super) fn heunpp2(walk: &mut Walk<'_>, mut x: Tensor) -> Result<Tensor> {
    let sigmas = walk.sigmas;
    let (Some(&first), Some(&end)) = (sigmas.first(), sigmas.last()) else { return Ok(x) };
    for (i, sigma, next) in walk.each() {
        let denoised = walk.begin(i, &x, sigma)?;
        let ahead = euler_step(&x, &denoised, sigma, next)?;
        let step = next - sigma;
        let after = sigmas.get(i + 2).copied().filter(|_| next != end);
        let Some(after) = after else {
            x = ahead;
            continue;
        };
        let d1 = slope(&x, &denoised, sigma)?;
        let d2 = slope(&ahead, &walk.denoise(&ahead, next)?, next)?;
        if after == end {
            let w2 = next / (2.0 * first);
            x = mix(&[(1.0, &x), (step * (1.0 - w2), &d1), (step * w2, &d2)])?;
        } else {
            let further = mix(&[(1.0, &ahead), (after - next, &d2)])?;
            let d3 = slope(&further, &walk.denoise(&further, after)?, after)?;
            let (w2, w3) = (next / (3.0 * first), after / (3.0 * first));
            let w1 = 1.0 - w2 - w3;
            x = mix(&[(1.0, &x), (step * w1, &d1), (step * w2, &d2), (step * w3, &d3)])?;
        }
    }
    Ok(x)
}
