//! Rectified-flow models: sigma is time, from 1 (noise) to 0 (data), bent by a shift.

use super::NoiseLevels;

/// Time with the shift of SD3 (Esser et al. 2024, "Scaling Rectified Flow Transformers", eq. 23).
#[derive(Clone, Debug)]
pub struct Flow {
    shift: f64,
    multiplier: f64,
    sigmas: Vec<f32>,
}

impl Flow {
    /// `shift` above 1 spends more steps at high noise; the model reads `sigma * multiplier`.
    pub fn new(shift: f64, multiplier: f64) -> Self {
        const STEPS: usize = 1000;
        let sigmas = (1..=STEPS).map(|i| shifted(shift, i as f64 / STEPS as f64) as f32).collect();
        Self { shift, multiplier, sigmas }
    }
}

fn shifted(shift: f64, time: f64) -> f64 {
    shift * time / (1.0 + (shift - 1.0) * time)
}

impl NoiseLevels for Flow {
    fn sigmas(&self) -> &[f32] {
        &self.sigmas
    }

    fn timestep(&self, sigma: f64) -> f64 {
        sigma * self.multiplier
    }

    fn sigma(&self, timestep: f64) -> f64 {
        shifted(self.shift, timestep / self.multiplier)
    }

    fn percent_to_sigma(&self, percent: f64) -> f64 {
        percent_of_time(percent, |time| shifted(self.shift, time))
    }
}

/// Time with Flux's shift: σ = e^μ / (e^μ + 1/t − 1).
#[derive(Clone, Debug)]
pub struct FluxFlow {
    shift: f64,
    sigmas: Vec<f32>,
}

impl FluxFlow {
    /// `shift` is μ: 1.15 for Flux dev, or [`flux_shift_for_size`].
    pub fn new(shift: f64) -> Self {
        const STEPS: usize = 10_000;
        let sigmas = (1..=STEPS).map(|i| flux_shifted(shift, i as f64 / STEPS as f64) as f32).collect();
        Self { shift, sigmas }
    }
}

fn flux_shifted(shift: f64, time: f64) -> f64 {
    shift.exp() / (shift.exp() + (1.0 / time - 1.0))
}

impl NoiseLevels for FluxFlow {
    fn sigmas(&self) -> &[f32] {
        &self.sigmas
    }

    fn timestep(&self, sigma: f64) -> f64 {
        sigma
    }

    fn sigma(&self, timestep: f64) -> f64 {
        flux_shifted(self.shift, timestep)
    }

    fn percent_to_sigma(&self, percent: f64) -> f64 {
        percent_of_time(percent, |time| flux_shifted(self.shift, time))
    }
}

fn percent_of_time(percent: f64, shifted: impl Fn(f64) -> f64) -> f64 {
    match percent {
        p if p <= 0.0 => 1.0,
        p if p >= 1.0 => 0.0,
        p => shifted(1.0 - p),
    }
}

/// Flux's shift for a picture of `width` × `height` pixels: linear in the number of image tokens, from
/// `base_shift` at 256 tokens to `max_shift` at 4096.
pub fn flux_shift_for_size(width: usize, height: usize, base_shift: f64, max_shift: f64) -> f64 {
    const PIXELS_PER_TOKEN: f64 = 16.0 * 16.0;
    let slope = (max_shift - base_shift) / (4096.0 - 256.0);
    let tokens = (width as f64) * (height as f64) / PIXELS_PER_TOKEN;
    tokens * slope + (base_shift - slope * 256.0)
}
