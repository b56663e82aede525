//! Stable Cascade's cosine schedule (Nichol and Dhariwal 2021, "Improved Denoising Diffusion Probabilistic
//! Models", eq. 17) with a shift of the signal-to-noise ratio.

use std::f64::consts::FRAC_PI_2;

use super::{BEYOND_ALL, NoiseLevels};

/// The cosine's offset, which keeps the first steps from being too small.
const OFFSET: f64 = 8e-3;

/// Cosine schedule over times 0 to 1.
#[derive(Clone, Debug)]
pub struct Cascade {
    shift: f64,
    sigmas: Vec<f32>,
}

impl Cascade {
    /// `shift` 1 is the plain cosine; stage C is used with 2.
    pub fn new(shift: f64) -> Self {
        const STEPS: usize = 10_000;
        let sigmas = (1..=STEPS).map(|i| sigma_at(shift, i as f64 / STEPS as f64) as f32).collect();
        Self { shift, sigmas }
    }
}

fn first_alpha_bar() -> f64 {
    (OFFSET / (1.0 + OFFSET) * FRAC_PI_2).cos().powi(2)
}

fn sigma_at(shift: f64, time: f64) -> f64 {
    let mut alpha_bar = ((time + OFFSET) / (1.0 + OFFSET) * FRAC_PI_2).cos().powi(2) / first_alpha_bar();
    if shift != 1.0 {
        let log_snr = (alpha_bar / (1.0 - alpha_bar)).ln() + 2.0 * (1.0 / shift).ln();
        alpha_bar = 1.0 / (1.0 + (-log_snr).exp());
    }
    let alpha_bar = alpha_bar.clamp(0.0001, 0.9999);
    ((1.0 - alpha_bar) / alpha_bar).sqrt()
}

impl NoiseLevels for Cascade {
    fn sigmas(&self) -> &[f32] {
        &self.sigmas
    }

    fn timestep(&self, sigma: f64) -> f64 {
        let alpha_bar = (1.0 / (sigma * sigma + 1.0)).clamp(0.0, 1.0);
        (alpha_bar * first_alpha_bar()).sqrt().acos() / FRAC_PI_2 * (1.0 + OFFSET) - OFFSET
    }

    fn sigma(&self, timestep: f64) -> f64 {
        sigma_at(self.shift, timestep)
    }

    fn percent_to_sigma(&self, percent: f64) -> f64 {
        match percent {
            p if p <= 0.0 => BEYOND_ALL,
            p if p >= 1.0 => 0.0,
            p => self.sigma(1.0 - p),
        }
    }
}
