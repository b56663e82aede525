//! Extended reverse-time SDE solver, third order (Cui et al. 2023, "Elucidating the Solution Space of
//! Extended Reverse-Time SDE for Diffusion Models", arXiv 2309.06169).

use candle_core::Tensor;

use super::options::ErNoise;
use super::walk::Walk;
use crate::Result;
use crate::noise::NoiseSource;
use crate::tensor::mix;

impl ErNoise {
    /// The paper's φ(λ).
    fn scale(self, lambda: f64) -> f64 {
        match self {
            Self::ErSde => lambda * (lambda.powf(0.3).exp() + 10.0),
            Self::ReverseTime { eta } => lambda.powf(eta + 1.0),
        }
    }

    /// Whether noise is added at all.
    fn is_noisy(self) -> bool {
        self != Self::ReverseTime { eta: 0.0 }
    }
}

/// Points of the numerical integrals over 1/φ.
const POINTS: usize = 200;

/// Walks with λ = σ/α.
pub(super) fn er_sde(walk: &mut Walk<'_>, mut x: Tensor) -> Result<Tensor> {
    let phi = walk.options.er_noise;
    let s_noise = if phi.is_noisy() { walk.options.s_noise.unwrap_or(1.0) } else { 0.0 };
    let max_stage = walk.options.max_stage.unwrap_or(3);
    let mut noise = walk.independent_noise(&x);
    let sigmas = walk.sigmas_with_finite_snr();
    let lambdas: Vec<f64> = sigmas.iter().map(|sigma| (-walk.half_log_snr(*sigma)).exp()).collect();
    let mut before: Option<Tensor> = None;
    let mut slope_before: Option<Tensor> = None;
    for i in 0..sigmas.len().saturating_sub(1) {
        let (sigma, next) = (sigmas[i], sigmas[i + 1]);
        let denoised = walk.begin(i, &x, sigma)?;
        if next == 0.0 {
            x = denoised;
            continue;
        }
        let (from, to) = (lambdas[i], lambdas[i + 1]);
        let (signal_from, signal) = (sigma / from, next / to);
        let r = phi.scale(to) / phi.scale(from);
        x = mix(&[(signal / signal_from * r, &x), (signal * (1.0 - r), &denoised)])?;
        if let Some(before) = before.filter(|_| max_stage >= 2) {
            let width = to - from;
            let point = -width / POINTS as f64;
            let places = || (0..POINTS).map(|k| to + k as f64 * point);
            let integral: f64 = places().map(|place| 1.0 / phi.scale(place)).sum::<f64>() * point;
            let run = 1.0 / (from - lambdas[i - 1]);
            let slope = mix(&[(run, &denoised), (-run, &before)])?;
            x = mix(&[(1.0, &x), (signal * (width + integral * phi.scale(to)), &slope)])?;
            if let Some(slope_before) = slope_before.filter(|_| max_stage >= 3) {
                let moment: f64 =
                    places().map(|place| (place - from) / phi.scale(place)).sum::<f64>() * point;
                let run = 2.0 / (from - lambdas[i - 2]);
                let weight = signal * (width * width / 2.0 + moment * phi.scale(to)) * run;
                x = mix(&[(1.0, &x), (weight, &slope), (-weight, &slope_before)])?;
            }
            slope_before = Some(slope);
        }
        if s_noise > 0.0 {
            let deviation = (to * to - (from * r).powi(2)).max(0.0).sqrt();
            x = mix(&[(1.0, &x), (signal * s_noise * deviation, &noise.noise(sigma, next)?)])?;
        }
        before = Some(denoised);
    }
    Ok(x)
}
