//! Timesteps at quantiles of a beta distribution (Lee et al. 2024, "Beta Sampling is All You Need").

use super::incomplete_beta::quantile;
use super::{at_least_one, ending_at_zero};
use crate::model_sampling::ModelSampling;
use crate::{Error, Result};

/// Entries of the model's table at the quantiles 1, 1−1/n, … of Beta(`alpha`, `beta`). Both below 1 crowd
/// the steps at the two ends. Quantiles that fall on one entry give one step.
pub fn beta(sampling: &ModelSampling, steps: usize, alpha: f64, beta: f64) -> Result<Vec<f64>> {
    const WHAT: &str = "beta scheduler";
    at_least_one(WHAT, steps)?;
    for (option, value) in [("alpha", alpha), ("beta", beta)] {
        if !(value > 0.0 && value.is_finite()) {
            return Err(Error::Option { what: WHAT, option, found: value.to_string(), expected: "above 0" });
        }
    }
    let table = sampling.sigmas();
    let last = (table.len() - 1) as f64;
    let mut places: Vec<usize> = (0..steps)
        .map(|i| 1.0 - i as f64 / steps as f64)
        .map(|share| (quantile(share, alpha, beta) * last).round_ties_even() as usize)
        .collect();
    places.dedup();
    Ok(ending_at_zero(places.into_iter().map(|place| f64::from(table[place]))))
}
