//! DPM-Solver++(2M) (Lu et al. 2022, "DPM-Solver++", algorithm 2), and its CFG++ form.

use candle_core::Tensor;

use super::euler::euler_step;
use super::walk::Walk;
use crate::Result;
use crate::tensor::mix;

/// 1/(2r), where r is the last step's length over this one's, in ln σ. None at the first step and the last,
/// which are of first order.
fn half_inverse_ratio(sigmas: &[f64], i: usize) -> Option<f64> {
    let (sigma, next) = (sigmas[i], sigmas[i + 1]);
    if i == 0 || next == 0.0 {
        return None;
    }
    let (step, last) = ((sigma / next).ln(), (sigmas[i - 1] / sigma).ln());
    Some(step / (2.0 * last))
}

/// Extrapolates the clean latent from the last two evaluations.
pub(super) fn dpmpp_2m(walk: &mut Walk<'_>, mut x: Tensor) -> Result<Tensor> {
    let sigmas = walk.sigmas;
    let mut before: Option<Tensor> = None;
    for (i, sigma, next) in walk.each() {
        let denoised = walk.begin(i, &x, sigma)?;
        let target = match (&before, half_inverse_ratio(sigmas, i)) {
            (Some(before), Some(weight)) => mix(&[(1.0 + weight, &denoised), (-weight, before)])?,
            _ => denoised.clone(),
        };
        x = euler_step(&x, &target, sigma, next)?;
        before = Some(denoised);
    }
    Ok(x)
}

/// With the noise that the negative side sees (Chung et al. 2024, "CFG++").
pub(super) fn dpmpp_2m_cfg_pp(walk: &mut Walk<'_>, mut x: Tensor) -> Result<Tensor> {
    let sigmas = walk.sigmas;
    let mut before: Option<Tensor> = None;
    for (i, sigma, next) in walk.each() {
        let seen = walk.begin_both(i, &x, sigma)?;
        let kept = next / sigma;
        let mut terms = vec![(1.0, &seen.denoised), (-kept, &seen.negative), (kept, &x)];
        if let (Some(before), Some(weight)) = (&before, half_inverse_ratio(sigmas, i)) {
            let bend = (1.0 - kept) * weight;
            terms.extend([(bend, &seen.denoised), (-bend, before)]);
        }
        x = mix(&terms)?;
        before = Some(seen.negative);
    }
    Ok(x)
}
