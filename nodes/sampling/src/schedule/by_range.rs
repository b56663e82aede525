//! Schedules that are curves between two sigmas.

use super::{at_least_one, ending_at_zero, even};
use crate::tensor::round_to_f32;
use crate::{Error, Result};

/// Even in σ^(1/ρ) (Karras et al. 2022, eq. 5).
pub fn karras(steps: usize, sigma_min: f64, sigma_max: f64, rho: f64) -> Result<Vec<f64>> {
    at_least_one("karras scheduler", steps)?;
    let (low, high) = (sigma_min.powf(1.0 / rho), sigma_max.powf(1.0 / rho));
    let curve = |ramp: f64| f64::from(high as f32 + ramp as f32 * (low - high) as f32).powf(rho);
    Ok(ending_at_zero(even(0.0, 1.0, steps).map(curve)))
}

/// Even in ln σ.
pub fn exponential(steps: usize, sigma_min: f64, sigma_max: f64) -> Result<Vec<f64>> {
    let (low, high) = log_range(steps, sigma_min, sigma_max)?;
    Ok(ending_at_zero(even(high, low, steps).map(f64::exp)))
}

/// A polynomial of degree ρ in ln σ.
pub fn polyexponential(steps: usize, sigma_min: f64, sigma_max: f64, rho: f64) -> Result<Vec<f64>> {
    let (low, high) = log_range(steps, sigma_min, sigma_max)?;
    let curve = |ramp: f64| f64::from(ramp.powf(rho) as f32 * (high - low) as f32 + low as f32).exp();
    Ok(ending_at_zero(even(1.0, 0.0, steps).map(curve)))
}

fn log_range(steps: usize, sigma_min: f64, sigma_max: f64) -> Result<(f64, f64)> {
    const WHAT: &str = "exponential scheduler";
    at_least_one(WHAT, steps)?;
    above_zero(WHAT, "sigma_min", sigma_min)?;
    above_zero(WHAT, "sigma_max", sigma_max)?;
    Ok((sigma_min.ln(), sigma_max.ln()))
}

/// Even in arctan σ (Sabour et al. 2024, "Align Your Steps", eq. 42). A single step starts at `sigma_max`.
///
/// The angle is rounded to f32 before the tangent is taken: near π/2 (zero terminal SNR) the tangent is so
/// steep that these roundings are part of the schedule that models are used with.
pub fn kl_optimal(steps: usize, sigma_min: f64, sigma_max: f64) -> Result<Vec<f64>> {
    at_least_one("kl_optimal scheduler", steps)?;
    if steps == 1 {
        return Ok(ending_at_zero([sigma_max]));
    }
    let (low, high) = (sigma_min.atan() as f32, sigma_max.atan() as f32);
    let share = |i: usize| i as f32 / (steps - 1) as f32;
    let angle = |share: f32| share * low + (1.0 - share) * high;
    Ok(ending_at_zero((0..steps).map(|i| f64::from(angle(share(i))).tan())))
}

/// The continuous variance-preserving schedule of Song et al. 2020, "Score-Based Generative Modeling
/// through Stochastic Differential Equations", from time 1 to `eps_s`.
pub fn vp(steps: usize, beta_d: f64, beta_min: f64, eps_s: f64) -> Result<Vec<f64>> {
    at_least_one("VPScheduler", steps)?;
    Ok(ending_at_zero(even(1.0, eps_s, steps).map(|t| (beta_d * t * t / 2.0 + beta_min * t).exp_m1().sqrt())))
}

/// Quantiles of a Laplace distribution over ln σ (Hang et al. 2024, "Improved Noise Schedule for Diffusion
/// Training"). Ends at `sigma_min`, not at zero.
pub fn laplace(steps: usize, sigma_min: f64, sigma_max: f64, mu: f64, beta: f64) -> Result<Vec<f64>> {
    const WHAT: &str = "LaplaceScheduler";
    const KEEPS_THE_LOGARITHM_FINITE: f64 = 1e-5;
    at_least_one(WHAT, steps)?;
    if sigma_min.is_nan() || sigma_max.is_nan() || sigma_min > sigma_max {
        let (option, found) = ("sigma_min", sigma_min.to_string());
        return Err(Error::Option { what: WHAT, option, found, expected: "at most sigma_max" });
    }
    let curve = |x: f64| {
        let side = 0.5 - x;
        let sign = if side == 0.0 { 0.0 } else { side.signum() };
        let log_sigma = mu - beta * sign * (1.0 - 2.0 * side.abs() + KEEPS_THE_LOGARITHM_FINITE).ln();
        round_to_f32(log_sigma.exp().clamp(sigma_min, sigma_max))
    };
    Ok(even(0.0, 1.0, steps).map(curve).collect())
}

fn above_zero(what: &'static str, option: &'static str, value: f64) -> Result<()> {
    if value > 0.0 {
        return Ok(());
    }
    Err(Error::Option { what, option, found: value.to_string(), expected: "above 0" })
}
