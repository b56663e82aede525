//! Improved PNDM (Liu et al. 2022, "Pseudo Numerical Methods for Diffusion Models on Manifolds"; Zhang and
//! Chen 2023, DEIS, appendix): Adams-Bashforth weights for even steps, or for the steps that there are.

use std::collections::VecDeque;

use candle_core::Tensor;

use super::walk::Walk;
use crate::Result;
use crate::tensor::mix;

/// How many slopes are used.
const ORDER: usize = 4;

/// With the weights of even steps, whatever the schedule.
pub(super) fn ipndm(walk: &mut Walk<'_>, x: Tensor) -> Result<Tensor> {
    multistep(walk, x, |_, _, order| match order {
        1 => vec![1.0],
        2 => [3.0, -1.0].map(|w| w / 2.0).to_vec(),
        3 => [23.0, -16.0, 5.0].map(|w| w / 12.0).to_vec(),
        _ => [55.0, -59.0, 37.0, -9.0].map(|w| w / 24.0).to_vec(),
    })
}

/// With weights for the schedule's own steps.
pub(super) fn ipndm_v(walk: &mut Walk<'_>, x: Tensor) -> Result<Tensor> {
    multistep(walk, x, variable_weights)
}

/// The weights of the last `order` slopes, the latest first, for step `i`.
fn variable_weights(sigmas: &[f64], i: usize, order: usize) -> Vec<f64> {
    let h = |k: usize| sigmas[i + 1 - k] - sigmas[i - k]; // the k-th step back; 0 is this one
    if order == 1 {
        return vec![1.0];
    }
    let (h0, h1) = (h(0), h(1));
    let ratio = h0 / h1;
    let (w0, w1) = (1.0 + ratio / 2.0, -ratio / 2.0);
    if order == 2 {
        return vec![w0, w1];
    }
    let h2 = h(2);
    let back = h1 / h2;
    // The second and third differences, each weighted by an integral over the step.
    let second = (1.0 - h0 / (3.0 * (h0 + h1)) * (h0 * (h0 + h1)) / (h1 * (h1 + h2))) / 2.0;
    let (w0, w1, w2) = (w0 + second, w1 - (1.0 + back) * second, second * back);
    if order == 3 {
        return vec![w0, w1, w2];
    }
    let h3 = h(3);
    let third = ((1.0 - h0 / (3.0 * (h0 + h1))) / 2.0
        + (1.0 - h0 / (2.0 * (h0 + h1))) * h0 / (6.0 * (h0 + h1 + h2)))
        * (h0 * (h0 + h1) * (h0 + h1 + h2))
        / (h1 * (h1 + h2) * (h1 + h2 + h3));
    let far = h1 * (h1 + h2) / (h2 * (h2 + h3));
    vec![
        w0 + third,
        w1 - (1.0 + back + far) * third,
        w2 + (back + far * (1.0 + h2 / h3)) * third,
        -third * far * back,
    ]
}

fn multistep(
    walk: &mut Walk<'_>,
    mut x: Tensor,
    weights: impl Fn(&[f64], usize, usize) -> Vec<f64>,
) -> Result<Tensor> {
    let sigmas = walk.sigmas;
    let mut slopes: VecDeque<Tensor> = VecDeque::new(); // the latest first
    for (i, sigma, next) in walk.each() {
        let denoised = walk.begin(i, &x, sigma)?;
        slopes.push_front(mix(&[(1.0 / sigma, &x), (-1.0 / sigma, &denoised)])?);
        slopes.truncate(ORDER);
        if next == 0.0 {
            x = denoised;
            continue;
        }
        let step = next - sigma;
        let weights = weights(sigmas, i, slopes.len());
        let mut terms = vec![(1.0, &x)];
        terms.extend(weights.into_iter().map(|weight| step * weight).zip(&slopes));
        x = mix(&terms)?;
    }
    Ok(x)
}
