//! UniPC (Zhao et al. 2023, "UniPC: A Unified Predictor-Corrector Framework for Fast Sampling of Diffusion
//! Models", arXiv 2302.04867), multistep, data prediction, with B(h) = h or eʰ − 1.
//!
//! The method counts in latents of unit variance: x / √(1+σ²).

use std::collections::VecDeque;

use candle_core::Tensor;

use super::linear::solve;
use super::walk::Walk;
use crate::Result;
use crate::tensor::mix;

/// With B(h) = h.
pub(super) fn uni_pc(walk: &mut Walk<'_>, x: Tensor) -> Result<Tensor> {
    walk_down(walk, x, |hh| hh)
}

/// With B(h) = eʰ − 1.
pub(super) fn uni_pc_bh2(walk: &mut Walk<'_>, x: Tensor) -> Result<Tensor> {
    walk_down(walk, x, f64::exp_m1)
}

/// The level that stands in for zero, at which nothing is defined.
const NEARLY_ZERO: f64 = 0.001;
const ORDER: usize = 3;

/// An evaluation: the clean latent and the level at which it was seen.
struct Seen {
    denoised: Tensor,
    sigma: f64,
}

fn walk_down(walk: &mut Walk<'_>, x: Tensor, b: fn(f64) -> f64) -> Result<Tensor> {
    let mut sigmas = walk.sigmas.to_vec();
    let ends_at_zero = sigmas.last() == Some(&0.0);
    if let Some(last) = sigmas.last_mut().filter(|_| ends_at_zero) {
        *last = NEARLY_ZERO;
    }
    let steps = sigmas.len() - 1;
    if steps == 1 {
        // Not enough points for the method: one evaluation, all the way.
        let denoised = walk.begin(0, &x, sigmas[0])?;
        return super::euler::euler_step(&x, &denoised, walk.sigmas[0], walk.sigmas[1]);
    }
    let order = ORDER.min(steps - 1);
    let mut x = (x / deviation(sigmas[0]))?;
    let mut seen = VecDeque::from([Seen { denoised: evaluate(walk, &x, sigmas[0])?, sigma: sigmas[0] }]);
    walk.report(0, sigmas[0], &x, &seen[0].denoised)?;
    for (step, &sigma) in sigmas.iter().enumerate().skip(1) {
        // Rising at the start, where little is known, and falling at the end.
        let order_now = step.min(order).min(steps + 1 - step);
        let last = step == steps;
        let (state, denoised) = update(walk, &x, &seen, sigma, order_now, !last, b)?;
        x = state;
        if let Some(denoised) = denoised {
            walk.report(step, sigma, &x, &denoised)?;
            seen.push_back(Seen { denoised, sigma });
            if seen.len() > order {
                seen.pop_front();
            }
        }
    }
    x = (x * deviation(sigmas[steps]))?;
    if walk.sampling.is_flow() && ends_at_zero {
        // A flow's latent at a level is (1−σ) of the clean one; the level here is not quite zero.
        x = (x / (1.0 - NEARLY_ZERO))?;
    }
    Ok(x)
}

/// A level in the method's own terms: latents of unit variance, α·x₀ + std·noise.
///
/// In f32 and by way of ln α, as the reference computes them: at the level that stands in for zero this
/// loses so many digits that the last step differs visibly.
struct Level {
    alpha: f64,
    std: f64,
    lambda: f64,
}

impl Level {
    fn of(sigma: f64) -> Self {
        let sigma = sigma as f32;
        let log_alpha = 0.5 * (1.0 / (sigma * sigma + 1.0)).ln();
        let variance = 1.0 - (2.0 * log_alpha).exp();
        Self {
            alpha: f64::from(log_alpha.exp()),
            std: f64::from(variance.sqrt()),
            lambda: f64::from(log_alpha - 0.5 * variance.ln()),
        }
    }
}

/// √(1+σ²).
fn deviation(sigma: f64) -> f64 {
    (1.0 + sigma * sigma).sqrt()
}

fn evaluate(walk: &mut Walk<'_>, x: &Tensor, sigma: f64) -> Result<Tensor> {
    walk.denoise(&(x * deviation(sigma))?, sigma)
}

/// One step to `sigma`: the predictor, and the corrector unless it is the last. Answers the state, and what
/// the model saw at the predicted one.
fn update(
    walk: &mut Walk<'_>,
    x: &Tensor,
    seen: &VecDeque<Seen>,
    sigma: f64,
    order: usize,
    correct: bool,
    b: fn(f64) -> f64,
) -> Result<(Tensor, Option<Tensor>)> {
    let latest = &seen[seen.len() - 1];
    let (from, to) = (Level::of(latest.sigma), Level::of(sigma));
    let h = to.lambda - from.lambda;
    let bh = b(-h);
    // The other evaluations: how far back they are, in steps of h, and their slopes.
    let mut ratios = Vec::new();
    let mut slopes = Vec::new();
    for earlier in seen.iter().rev().skip(1).take(order - 1) {
        let ratio = (Level::of(earlier.sigma).lambda - from.lambda) / h;
        slopes.push(((&earlier.denoised - &latest.denoised)? / ratio)?);
        ratios.push(ratio);
    }
    ratios.push(1.0);
    let (rows, right) = system(&ratios, -h, bh);

    let signal = to.alpha;
    let base = mix(&[(to.std / from.std, x), (-signal * (-h).exp_m1(), &latest.denoised)])?;
    let corrected = |weights: &[f64], last: Option<&Tensor>| -> Result<Tensor> {
        let mut terms = vec![(1.0, &base)];
        terms.extend(weights.iter().map(|weight| -signal * bh * weight).zip(slopes.iter().chain(last)));
        mix(&terms)
    };

    let predictor = match order {
        1 => vec![],
        2 => vec![0.5], // the paper's simplification
        _ => {
            let smaller = rows[..order - 1].iter().map(|row| row[..order - 1].to_vec()).collect();
            solve(smaller, right[..order - 1].to_vec(), "uni_pc")?
        }
    };
    let predicted = corrected(&predictor, None)?;
    if !correct {
        return Ok((predicted, None));
    }
    let denoised = evaluate(walk, &predicted, sigma)?;
    let corrector = if order == 1 { vec![0.5] } else { solve(rows, right, "uni_pc")? };
    let change = (&denoised - &latest.denoised)?;
    Ok((corrected(&corrector, Some(&change))?, Some(denoised)))
}

/// The conditions of order (eq. 5): powers of the ratios, and the φ functions of h.
fn system(ratios: &[f64], hh: f64, bh: f64) -> (Vec<Vec<f64>>, Vec<f64>) {
    let mut phi = hh.exp_m1() / hh - 1.0;
    let mut factorial = 1.0;
    let (mut rows, mut right) = (Vec::new(), Vec::new());
    for power in 0..ratios.len() {
        rows.push(ratios.iter().map(|ratio| ratio.powi(power as i32)).collect());
        right.push(phi * factorial / bh);
        factorial *= (power + 2) as f64;
        phi = phi / hh - 1.0 / factorial;
    }
    (rows, right)
}
