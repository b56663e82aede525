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
        let place = |i: usize| f64::from(i as f32 / STEPS as f32 * multiplier as f32);
        let sigmas = (1..=STEPS).map(|i| sigma_in_f32(shift, multiplier, place(i))).collect();
        Self { shift, multiplier, sigmas }
    }
}

/// Rounded after each operation, as the reference computes schedules.
fn sigma_in_f32(shift: f64, multiplier: f64, timestep: f64) -> f32 {
    let time = timestep as f32 / multiplier as f32;
    if shift == 1.0 { time } else { shift as f32 * time / (1.0 + (shift - 1.0) as f32 * time) }
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
        f64::from(sigma_in_f32(self.shift, self.multiplier, timestep))
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
        let sigmas = (1..=STEPS).map(|i| flux_sigma_in_f32(shift, i as f32 / STEPS as f32)).collect();
        Self { shift, sigmas }
    }
}

/// Rounded after each operation, as the reference computes schedules.
fn flux_sigma_in_f32(shift: f64, time: f32) -> f32 {
    let bend = shift.exp() as f32;
    bend * (1.0 / (bend + (1.0 / time - 1.0)))
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
        f64::from(flux_sigma_in_f32(self.shift, timestep as f32))
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
