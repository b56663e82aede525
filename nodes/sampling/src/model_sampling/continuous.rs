//! Models trained on continuous noise levels (Karras et al. 2022).

use std::f64::consts::PI;

use super::{BEYOND_ALL, NoiseLevels};

/// Sigmas of a continuous range, at 1000 places that are even in their logarithm.
fn log_spaced(sigma_min: f64, sigma_max: f64) -> Vec<f32> {
    const PLACES: usize = 1000;
    let (low, high) = (sigma_min.ln(), sigma_max.ln());
    let step = (high - low) / (PLACES - 1) as f64;
    (0..PLACES).map(|i| (low + step * i as f64).exp() as f32).collect()
}

fn percent_of_log_range(levels: &impl NoiseLevels, percent: f64) -> f64 {
    match percent {
        p if p <= 0.0 => BEYOND_ALL,
        p if p >= 1.0 => 0.0,
        p => {
            let (low, high) = (levels.sigma_min().ln(), levels.sigma_max().ln());
            ((high - low) * (1.0 - p) + low).exp()
        }
    }
}

/// The model reads ¼·ln σ (EDM; Stable Video, Playground v2.5, ModelSamplingContinuousEDM).
#[derive(Clone, Debug)]
pub struct ContinuousEdm {
    sigmas: Vec<f32>,
}

impl ContinuousEdm {
    /// Sigmas from `sigma_min` to `sigma_max`, both above zero.
    pub fn new(sigma_min: f64, sigma_max: f64) -> Self {
        Self { sigmas: log_spaced(sigma_min, sigma_max) }
    }
}

impl NoiseLevels for ContinuousEdm {
    fn sigmas(&self) -> &[f32] {
        &self.sigmas
    }

    fn timestep(&self, sigma: f64) -> f64 {
        0.25 * sigma.ln()
    }

    fn sigma(&self, timestep: f64) -> f64 {
        (timestep / 0.25).exp()
    }

    fn percent_to_sigma(&self, percent: f64) -> f64 {
        percent_of_log_range(self, percent)
    }
}

/// The model reads the angle 2/π·atan σ (continuous velocity prediction).
#[derive(Clone, Debug)]
pub struct ContinuousV {
    sigmas: Vec<f32>,
}

impl ContinuousV {
    /// Sigmas from `sigma_min` to `sigma_max`, both above zero.
    pub fn new(sigma_min: f64, sigma_max: f64) -> Self {
        Self { sigmas: log_spaced(sigma_min, sigma_max) }
    }
}

impl NoiseLevels for ContinuousV {
    fn sigmas(&self) -> &[f32] {
        &self.sigmas
    }

    fn timestep(&self, sigma: f64) -> f64 {
        sigma.atan() / PI * 2.0
    }

    fn sigma(&self, timestep: f64) -> f64 {
        (timestep * PI / 2.0).tan()
    }

    fn percent_to_sigma(&self, percent: f64) -> f64 {
        percent_of_log_range(self, percent)
    }
}
