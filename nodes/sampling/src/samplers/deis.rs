//! DEIS, tAB form (Zhang and Chen 2023, "Fast Sampling of Diffusion Models with Exponential Integrator"): the
//! slopes are extrapolated as polynomials of the variance-preserving time, whose integrals are tabulated.

use std::collections::VecDeque;

use candle_core::Tensor;

use super::walk::Walk;
use crate::Result;
use crate::tensor::mix;

/// How many slopes are used.
const ORDER: usize = 3;

/// Walks with coefficients for the schedule's own steps.
pub(super) fn deis(walk: &mut Walk<'_>, mut x: Tensor) -> Result<Tensor> {
    let time = VpTime::default();
    let times: Vec<f64> = walk.sigmas.iter().map(|sigma| time.of_sigma(*sigma)).collect();
    let mut slopes: VecDeque<Tensor> = VecDeque::new(); // the latest first
    for (i, sigma, next) in walk.each() {
        let denoised = walk.begin(i, &x, sigma)?;
        slopes.push_front(mix(&[(1.0 / sigma, &x), (-1.0 / sigma, &denoised)])?);
        slopes.truncate(ORDER);
        let mut terms = vec![(1.0, &x)];
        if slopes.len() == 1 || next <= 0.0 {
            terms.push((next - sigma, &slopes[0]));
        } else {
            let nodes: Vec<f64> = (0..slopes.len()).map(|k| times[i - k]).collect();
            let weights = (0..nodes.len()).map(|j| time.integral(&nodes, j, times[i], times[i + 1]));
            terms.extend(weights.zip(&slopes));
        }
        x = mix(&terms)?;
    }
    Ok(x)
}

/// The time of the variance-preserving SDE that EDM's range of sigmas corresponds to (Karras et al. 2022,
/// table 1).
struct VpTime {
    beta_min: f64,
    beta_d: f64,
}

impl Default for VpTime {
    fn default() -> Self {
        const SIGMA_MIN: f64 = 0.002;
        const SIGMA_MAX: f64 = 80.0;
        const EPSILON: f64 = 1e-3;
        let log = |sigma: f64| (sigma * sigma).ln_1p();
        let beta_d = 2.0 * (log(SIGMA_MIN) / EPSILON - log(SIGMA_MAX)) / (EPSILON - 1.0);
        Self { beta_min: log(SIGMA_MAX) - 0.5 * beta_d, beta_d }
    }
}

impl VpTime {
    fn of_sigma(&self, sigma: f64) -> f64 {
        let root = (self.beta_min * self.beta_min + 2.0 * self.beta_d * (sigma * sigma).ln_1p()).sqrt();
        (root - self.beta_min) / self.beta_d
    }

    /// dσ/dt at a time.
    fn sigma_slope(&self, t: f64) -> f64 {
        let alpha = (-0.5 * t * t * self.beta_d - t * self.beta_min).exp();
        0.5 * (t * self.beta_d + self.beta_min) / (alpha * (1.0 - alpha)).sqrt()
    }

    /// The integral over a step of dσ/dt times the polynomial that is 1 at `nodes[j]` and 0 at the others: a
    /// sum over the same number of points as the reference takes.
    fn integral(&self, nodes: &[f64], j: usize, from: f64, to: f64) -> f64 {
        const POINTS: usize = 10_000;
        let basis = |t: f64| -> f64 {
            let others = nodes.iter().enumerate().filter(|(k, _)| *k != j);
            others.map(|(_, node)| (t - node) / (nodes[j] - node)).product()
        };
        let point = |i: usize| from + (to - from) * (i as f64 / (POINTS - 1) as f64);
        let sum: f64 = (0..POINTS).map(point).map(|t| self.sigma_slope(t) * basis(t)).sum();
        sum * (to - from) / POINTS as f64
    }
}
