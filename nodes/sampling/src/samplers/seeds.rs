//! SEEDS (Gonzalez et al. 2023, "SEEDS: Exponential SDE Solvers for Fast High-Quality Sampling from Diffusion
//! Models", arXiv 2305.14267): exponential solvers of two and three stages, which share their noise.

use candle_core::Tensor;

use super::walk::Walk;
use crate::Result;
use crate::noise::{Independent, NoiseSource};
use crate::tensor::mix;

/// One step in ln SNR, of which stages cover a share.
struct Step {
    sigma: f64,
    from: f64,
    h: f64,
    eta: f64,
}

/// A point within a step.
#[derive(Clone, Copy)]
struct Point {
    share: f64,
    sigma: f64,
    signal: f64,
}

impl Step {
    fn new(walk: &Walk<'_>, sigma: f64, next: f64, eta: f64) -> Self {
        let from = walk.half_log_snr(sigma);
        Self { sigma, from, h: walk.half_log_snr(next) - from, eta }
    }

    fn point(&self, walk: &Walk<'_>, share: f64) -> Point {
        let lambda = self.from + share * self.h;
        let sigma = walk.sigma_of_half_log_snr(lambda);
        Point { share, sigma, signal: sigma * lambda.exp() }
    }

    /// The factor on the latent from the start to a point.
    fn kept(&self, to: Point) -> f64 {
        to.sigma / self.sigma * (-to.share * self.h * self.eta).exp()
    }

    /// −h·φ₁ of the share of the step.
    fn phi_1(&self, share: f64) -> f64 {
        -(-share * self.h * (self.eta + 1.0)).exp_m1()
    }

    /// −h·φ₂ of the share of the step.
    fn phi_2(&self, share: f64) -> f64 {
        let h = -share * self.h * (self.eta + 1.0);
        -((h.exp_m1() - h) / h)
    }
}

/// The noise of a step: each stage's is the last stage's, faded, with new noise.
struct SharedNoise {
    source: Independent,
    strength: f64,
    sum: Option<Tensor>,
}

impl SharedNoise {
    /// Adds to `x`, a state at `to`, the noise since the start of the step; `since` is the last stage.
    fn add(&mut self, x: Tensor, step: &Step, since: Point, to: Point) -> Result<Tensor> {
        if step.eta <= 0.0 || self.strength <= 0.0 {
            return Ok(x);
        }
        let segment = (since.share - to.share) * step.h * step.eta;
        let deviation = (-(2.0 * segment).exp_m1()).sqrt();
        let fresh = (self.source.noise(since.sigma, to.sigma)? * deviation)?;
        let sum = match self.sum.take() {
            Some(sum) => mix(&[(segment.exp(), &sum), (1.0, &fresh)])?,
            None => fresh,
        };
        let noisy = mix(&[(1.0, &x), (to.sigma * self.strength, &sum)])?;
        self.sum = Some(sum);
        Ok(noisy)
    }
}

/// Two stages.
pub(super) fn seeds_2(walk: &mut Walk<'_>, x: Tensor) -> Result<Tensor> {
    let r = walk.options.r.unwrap_or(0.5);
    walk_down(walk, x, |walk, x, denoised, step, noise, end| {
        let (start, middle) = (start(step), step.point(walk, r));
        let halfway = mix(&[(step.kept(middle), x), (middle.signal * step.phi_1(r), denoised)])?;
        let halfway = noise.add(halfway, step, start, middle)?;
        let seen = walk.denoise(&halfway, middle.sigma)?;
        let weight = 1.0 / (2.0 * r);
        let towards = end.signal * step.phi_1(1.0);
        let x = mix(&[(step.kept(end), x), (towards * (1.0 - weight), denoised), (towards * weight, &seen)])?;
        noise.add(x, step, middle, end)
    })
}

/// Three stages, at a third and two thirds of the step.
pub(super) fn seeds_3(walk: &mut Walk<'_>, x: Tensor) -> Result<Tensor> {
    const R1: f64 = 1.0 / 3.0;
    const R2: f64 = 2.0 / 3.0;
    walk_down(walk, x, |walk, x, denoised, step, noise, end| {
        let (start, first, second) = (start(step), step.point(walk, R1), step.point(walk, R2));
        let x1 = mix(&[(step.kept(first), x), (first.signal * step.phi_1(R1), denoised)])?;
        let seen1 = walk.denoise(&noise.add(x1, step, start, first)?, first.sigma)?;
        let bend = R2 / R1 * step.phi_2(R2);
        let x2 = mix(&[
            (step.kept(second), x),
            (second.signal * (step.phi_1(R2) - bend), denoised),
            (second.signal * bend, &seen1),
        ])?;
        let seen2 = walk.denoise(&noise.add(x2, step, first, second)?, second.sigma)?;
        let bend = step.phi_2(1.0) / R2;
        let x = mix(&[
            (step.kept(end), x),
            (end.signal * (step.phi_1(1.0) - bend), denoised),
            (end.signal * bend, &seen2),
        ])?;
        noise.add(x, step, second, end)
    })
}

fn start(step: &Step) -> Point {
    Point { share: 0.0, sigma: step.sigma, signal: step.sigma * step.from.exp() }
}

fn walk_down(
    walk: &mut Walk<'_>,
    mut x: Tensor,
    stages: impl Fn(&mut Walk<'_>, &Tensor, &Tensor, &Step, &mut SharedNoise, Point) -> Result<Tensor>,
) -> Result<Tensor> {
    let (eta, strength) = (walk.options.eta.unwrap_or(1.0), walk.options.s_noise.unwrap_or(1.0));
    let mut noise = SharedNoise { source: walk.independent_noise(&x), strength, sum: None };
    let sigmas = walk.sigmas_with_finite_snr();
    for (i, pair) in sigmas.windows(2).enumerate() {
        let (sigma, next) = (pair[0], pair[1]);
        let denoised = walk.begin(i, &x, sigma)?;
        if next == 0.0 {
            x = denoised;
            continue;
        }
        let step = Step::new(walk, sigma, next, eta);
        let end = step.point(walk, 1.0);
        noise.sum = None;
        x = stages(walk, &x, &denoised, &step, &mut noise, end)?;
    }
    Ok(x)
}
