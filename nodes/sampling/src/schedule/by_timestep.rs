//! Schedules that choose among the model's own timesteps.

use super::{at_least_one, ending_at_zero, even};
use crate::model_sampling::ModelSampling;
use crate::tensor::round_to_f32;
use crate::{Error, Result};

/// Entries of the model's table at even distances, from the highest sigma down.
pub fn simple(sampling: &ModelSampling, steps: usize) -> Result<Vec<f64>> {
    at_least_one("simple scheduler", steps)?;
    let table = sampling.sigmas();
    let stride = table.len() as f64 / steps as f64;
    let from_the_end = (0..steps).map(|i| ((i as f64 * stride) as usize).min(table.len() - 1));
    Ok(ending_at_zero(from_the_end.map(|i| f64::from(table[table.len() - 1 - i]))))
}

/// Even timesteps from the highest to the lowest, both included.
pub fn normal(sampling: &ModelSampling, steps: usize) -> Result<Vec<f64>> {
    at_least_one("normal scheduler", steps)?;
    let (start, end) = timestep_range(sampling);
    // A model whose lowest sigma is zero ends there by itself; a second zero would be a wasted step.
    if is_zero(sampling.sigma(end)) {
        return Ok(even(start, end, steps + 1).map(|t| round_to_f32(sampling.sigma(t))).collect());
    }
    Ok(ending_at_zero(even(start, end, steps).map(|t| sampling.sigma(t))))
}

/// Even timesteps from the highest towards the lowest, which is left out.
pub fn sgm_uniform(sampling: &ModelSampling, steps: usize) -> Result<Vec<f64>> {
    at_least_one("sgm_uniform scheduler", steps)?;
    let (start, end) = timestep_range(sampling);
    Ok(ending_at_zero(even(start, end, steps + 1).take(steps).map(|t| sampling.sigma(t))))
}

/// Every n-th entry of the model's table from the second on (Song et al. 2020, "Denoising Diffusion Implicit
/// Models"). May hold a step more than was asked for.
pub fn ddim_uniform(sampling: &ModelSampling, steps: usize) -> Result<Vec<f64>> {
    at_least_one("ddim_uniform scheduler", steps)?;
    let table = sampling.sigmas();
    let ends_at_zero = table.get(1).is_some_and(|sigma| is_zero(f64::from(*sigma)));
    let steps = if ends_at_zero { steps + 1 } else { steps };
    let stride = (table.len() / steps).max(1);
    let mut sigmas: Vec<f64> = table.iter().skip(1).step_by(stride).map(|sigma| f64::from(*sigma)).collect();
    sigmas.reverse();
    if !ends_at_zero {
        sigmas.push(0.0);
    }
    Ok(sigmas)
}

/// The ten timesteps 999, 899, … 99 that SD Turbo was distilled for, `steps` of them after the share that
/// `denoise` leaves out.
pub fn sd_turbo(sampling: &ModelSampling, steps: usize, denoise: f64) -> Result<Vec<f64>> {
    const TRAINED: usize = 10;
    if !(0.0..=1.0).contains(&denoise) {
        let found = denoise.to_string();
        let (option, expected) = ("denoise", "a number from 0 to 1");
        return Err(Error::Option { what: "SDTurboScheduler", option, found, expected });
    }
    let skipped = TRAINED - (TRAINED as f64 * denoise) as usize;
    let timesteps = (1..=TRAINED).rev().map(|i| (i * 100 - 1) as f64).skip(skipped).take(steps);
    Ok(ending_at_zero(timesteps.map(|t| sampling.sigma(t))))
}

fn timestep_range(sampling: &ModelSampling) -> (f64, f64) {
    (sampling.timestep(sampling.sigma_max()), sampling.timestep(sampling.sigma_min()))
}

fn is_zero(sigma: f64) -> bool {
    sigma.abs() <= 1e-5
}
