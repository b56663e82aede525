//! SA-Solver (Xue et al. 2023, "SA-Solver: Stochastic Adams Solver for Fast Sampling of Diffusion Models",
//! arXiv 2309.05019): predictor and corrector of several steps, with noise on part of the way.

use std::collections::VecDeque;

use candle_core::Tensor;

use super::linear::solve;
use super::options::Adams;
use super::walk::Walk;
use crate::Result;
use crate::noise::NoiseSource;
use crate::tensor::mix;

/// Predicts, evaluates, corrects.
pub(super) fn sa_solver(walk: &mut Walk<'_>, x: Tensor) -> Result<Tensor> {
    walk_down(walk, x, walk.options.adams)
}

/// Predicts, evaluates, corrects and evaluates again.
pub(super) fn sa_solver_pece(walk: &mut Walk<'_>, x: Tensor) -> Result<Tensor> {
    walk_down(walk, x, Adams { use_pece: true, ..walk.options.adams })
}

/// The last predictor step, which the corrector repeats with one evaluation more.
struct Predicted {
    /// The state that it started from.
    from: Tensor,
    tau: f64,
    /// The noise that it added.
    noise: Option<Tensor>,
}

fn walk_down(walk: &mut Walk<'_>, x: Tensor, options: Adams) -> Result<Tensor> {
    let Adams { noisy_between, predictor_order, corrector_order, use_pece, simple_order_2 } = options;
    let (eta, s_noise) = (walk.options.eta.unwrap_or(1.0), walk.options.s_noise.unwrap_or(1.0));
    let between = |percent| walk.sampling.percent_to_sigma(percent);
    let (noisy_from, noisy_to) = noisy_between.unwrap_or_else(|| (between(0.2), between(0.8)));
    let tau_at = |sigma: f64| if noisy_from >= sigma && sigma >= noisy_to { eta.max(0.0) } else { 0.0 };

    let mut noise = walk.independent_noise(&x);
    let sigmas = walk.sigmas_with_finite_snr();
    let lambdas: Vec<f64> = sigmas.iter().map(|sigma| walk.half_log_snr(*sigma)).collect();
    let steps = sigmas.len().saturating_sub(1);
    let to_zero = sigmas.last() == Some(&0.0);

    let mut seen: VecDeque<Tensor> = VecDeque::new(); // the oldest first
    let mut state = x; // what the predictor arrived at
    let mut predicted: Option<Predicted> = None;
    for i in 0..steps {
        let (sigma, next) = (sigmas[i], sigmas[i + 1]);
        let mut denoised = walk.begin(i, &state, sigma)?;
        seen.push_back(denoised.clone());
        if seen.len() > predictor_order.max(corrector_order).max(1) {
            seen.pop_front();
        }
        let mut predictor = predictor_order.max(1).min(seen.len());
        let mut corrector = corrector_order.min(seen.len());
        if to_zero {
            // Fewer near the end, where high orders are unstable.
            predictor = predictor.min(steps.saturating_sub(i + 1));
            corrector = corrector.min(steps - i);
        }
        let last_evaluation = next == 0.0 && !use_pece;
        let mut x = state;
        if let Some(Predicted { from, tau, noise }) =
            predicted.take().filter(|_| corrector > 0 && !last_evaluation)
        {
            let span = Span { sigma_to: sigma, from: lambdas[i - 1], to: lambdas[i], tau };
            let places = &lambdas[i + 1 - corrector..=i];
            let simple = (simple_order_2 && corrector == 2).then(|| span.simple_corrector());
            let weights = simple.map_or_else(|| span.weights(places), Ok)?;
            x = span.step(&from, sigmas[i - 1], &weights, &seen)?;
            if let Some(noise) = noise {
                x = (x + noise)?;
            }
            if use_pece {
                denoised = walk.denoise(&x, sigma)?;
                if let Some(last) = seen.back_mut() {
                    *last = denoised.clone();
                }
            }
        }
        if next == 0.0 {
            state = denoised;
            continue;
        }
        let span = Span { sigma_to: next, from: lambdas[i], to: lambdas[i + 1], tau: tau_at(next) };
        let places = &lambdas[i + 1 - predictor..=i];
        let simple = (simple_order_2 && predictor == 2).then(|| span.simple_predictor(places[0]));
        let weights = simple.map_or_else(|| span.weights(places), Ok)?;
        state = span.step(&x, sigma, &weights, &seen)?;
        let mut added = None;
        if span.tau > 0.0 && s_noise > 0.0 {
            let fresh = (noise.noise(sigma, next)? * (span.deviation() * s_noise))?;
            state = (&state + &fresh)?;
            added = Some(fresh);
        }
        predicted = Some(Predicted { from: x, tau: span.tau, noise: added });
    }
    Ok(state)
}

/// A step in ln SNR, with noise of strength τ.
struct Span {
    sigma_to: f64,
    from: f64,
    to: f64,
    tau: f64,
}

impl Span {
    fn h(&self) -> f64 {
        self.to - self.from
    }

    /// 1 + τ².
    fn rate(&self) -> f64 {
        1.0 + self.tau * self.tau
    }

    /// The share of signal at the end.
    fn signal(&self) -> f64 {
        self.sigma_to * self.to.exp()
    }

    /// The deviation of the step's noise.
    fn deviation(&self) -> f64 {
        self.sigma_to * (-(-2.0 * self.tau * self.tau * self.h()).exp_m1()).sqrt()
    }

    /// The state at the end, without noise. `weights` belong to the latest evaluations, the oldest first.
    fn step(&self, x: &Tensor, sigma: f64, weights: &[f64], seen: &VecDeque<Tensor>) -> Result<Tensor> {
        let kept = self.sigma_to / sigma * (-self.tau * self.tau * self.h()).exp();
        let latest = seen.iter().skip(seen.len() - weights.len());
        let mut terms = vec![(kept, x)];
        terms.extend(weights.iter().copied().zip(latest));
        mix(&terms)
    }

    /// The weights of evaluations at `places` (eqs. 15 and 18): integrals of (1+τ²)·e^((1+τ²)(λ−to)) times the
    /// polynomials that are 1 at one place and 0 at the others, found from those of the powers of λ.
    fn weights(&self, places: &[f64]) -> Result<Vec<f64>> {
        // Powers of λ − from: the same polynomials, and the powers of small numbers stay apart.
        let places: Vec<f64> = places.iter().map(|place| place - self.from).collect();
        let n = places.len();
        let rows =
            (0..n).map(|power| places.iter().map(|place| place.powi(power as i32)).collect()).collect();
        let weights = solve(rows, self.power_integrals(n), "sa_solver")?;
        Ok(weights.into_iter().map(|weight| weight * self.signal()).collect())
    }

    /// By parts: I₀ = 1 − e^(−r·h), Iₚ = hᵖ − p/r·Iₚ₋₁.
    fn power_integrals(&self, count: usize) -> Vec<f64> {
        let (h, rate) = (self.h(), self.rate());
        let mut integrals = vec![-(-rate * h).exp_m1()];
        for power in 1..count {
            let last = integrals[power - 1];
            integrals.push(h.powi(power as i32) - power as f64 / rate * last);
        }
        integrals
    }

    /// The simplified predictor of order 2 (appendix D), whose earlier evaluation was at `place`.
    fn simple_predictor(&self, place: f64) -> Vec<f64> {
        let earlier = self.signal() * 0.5 * self.rate() * self.h().powi(2) / (place - self.from);
        vec![earlier, self.signal() * -(-self.h() * self.rate()).exp_m1() - earlier]
    }

    /// The simplified corrector of order 2 (appendix D).
    fn simple_corrector(&self) -> Vec<f64> {
        let latest = self.signal() * 0.5 * self.rate() * self.h();
        vec![self.signal() * -(-self.h() * self.rate()).exp_m1() - latest, latest]
    }
}
