//! Linear multistep: Adams and Bashforth's method over sigma (k-diffusion's `lms`).

use std::collections::VecDeque;

use candle_core::Tensor;

use super::walk::Walk;
use crate::Result;
use crate::tensor::mix;

/// Fits a polynomial through the last `order` slopes and integrates it over the step.
pub(super) fn lms(walk: &mut Walk<'_>, mut x: Tensor) -> Result<Tensor> {
    let order = walk.options.order.unwrap_or(4).max(1);
    let sigmas = walk.sigmas;
    let mut slopes: VecDeque<Tensor> = VecDeque::new(); // the latest first
    for (i, sigma, next) in walk.each() {
        let denoised = walk.begin(i, &x, sigma)?;
        slopes.push_front(mix(&[(1.0 / sigma, &x), (-1.0 / sigma, &denoised)])?);
        slopes.truncate(order);
        if next == 0.0 {
            x = denoised;
            continue;
        }
        let nodes: Vec<f64> = (0..slopes.len()).map(|k| sigmas[i - k]).collect();
        let weights: Vec<f64> = (0..nodes.len()).map(|j| basis_integral(&nodes, j, sigma, next)).collect();
        let mut terms = vec![(1.0, &x)];
        terms.extend(weights.into_iter().zip(&slopes));
        x = mix(&terms)?;
    }
    Ok(x)
}

/// The integral from `from` to `to` of the polynomial that is 1 at `nodes[j]` and 0 at the others.
fn basis_integral(nodes: &[f64], j: usize, from: f64, to: f64) -> f64 {
    // Coefficients in t = (σ − from) / (to − from), which keeps the powers of small steps apart.
    let width = to - from;
    let place = |sigma: f64| (sigma - from) / width;
    let mut coefficients = vec![1.0];
    for (k, node) in nodes.iter().enumerate().filter(|(k, _)| *k != j) {
        debug_assert_ne!(k, j);
        let scale = 1.0 / (place(nodes[j]) - place(*node));
        let mut product = vec![0.0; coefficients.len() + 1];
        for (power, coefficient) in coefficients.iter().enumerate() {
            product[power] -= coefficient * place(*node) * scale;
            product[power + 1] += coefficient * scale;
        }
        coefficients = product;
    }
    let integral: f64 = coefficients.iter().enumerate().map(|(power, c)| c / (power + 1) as f64).sum();
    integral * width
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_steps_give_the_textbook_weights() {
        // Adams-Bashforth of order 4: (55, −59, 37, −9) / 24.
        let nodes = [0.0, -1.0, -2.0, -3.0];
        for (j, expected) in [55.0, -59.0, 37.0, -9.0].into_iter().enumerate() {
            assert!((basis_integral(&nodes, j, 0.0, 1.0) - expected / 24.0).abs() < 1e-12);
        }
    }
}
