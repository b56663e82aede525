//! Schedules: the falling sigmas that sampling walks down, one more than there are steps.
//!
//! [`Scheduler`] names those that fit any model by its own sigmas; the functions beside it are the ones
//! with parameters of their own, and the operations on schedules.

mod beta;
mod by_range;
mod by_timestep;
mod edit;
mod incomplete_beta;
mod linear_quadratic;
mod tables;

use std::fmt;
use std::str::FromStr;

pub use beta::beta;
pub use by_range::{exponential, karras, kl_optimal, laplace, polyexponential, vp};
pub use by_timestep::{ddim_uniform, normal, sd_turbo, sgm_uniform, simple};
pub use edit::{Spacing, extend_intermediate, flip, manual, set_first, split, split_denoise};
pub use linear_quadratic::linear_quadratic;
pub use tables::{FlowFamily, TimestepFamily, align_your_steps, optimal_steps};

use crate::model_sampling::ModelSampling;
use crate::tensor::round_to_f32;
use crate::{Error, Result};

/// A schedule for any model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheduler {
    /// Evenly chosen entries of the model's table.
    Simple,
    /// Even timesteps that leave out the last, as Stability's generative-models does.
    SgmUniform,
    /// Karras et al. 2022 with ρ = 7.
    Karras,
    /// Even in ln σ.
    Exponential,
    /// Even timesteps from the first, as DDIM does.
    DdimUniform,
    /// Quantiles of a beta distribution.
    Beta,
    /// Even timesteps, first and last included.
    Normal,
    /// Linear, then quadratic (Mochi).
    LinearQuadratic,
    /// Even in arctan σ.
    KlOptimal,
}

impl Scheduler {
    /// Every scheduler, in the order in which a menu shows them.
    pub const ALL: [Self; 9] = [
        Self::Simple,
        Self::SgmUniform,
        Self::Karras,
        Self::Exponential,
        Self::DdimUniform,
        Self::Beta,
        Self::Normal,
        Self::LinearQuadratic,
        Self::KlOptimal,
    ];

    /// The name in workflows.
    pub fn name(self) -> &'static str {
        match self {
            Self::Simple => "simple",
            Self::SgmUniform => "sgm_uniform",
            Self::Karras => "karras",
            Self::Exponential => "exponential",
            Self::DdimUniform => "ddim_uniform",
            Self::Beta => "beta",
            Self::Normal => "normal",
            Self::LinearQuadratic => "linear_quadratic",
            Self::KlOptimal => "kl_optimal",
        }
    }

    /// The sigmas of `steps` steps. Some schedulers give a step more or less; none gives an empty list.
    pub fn sigmas(self, sampling: &ModelSampling, steps: usize) -> Result<Vec<f64>> {
        let (low, high) = (sampling.sigma_min(), sampling.sigma_max());
        match self {
            Self::Simple => simple(sampling, steps),
            Self::SgmUniform => sgm_uniform(sampling, steps),
            Self::Karras => karras(steps, low, high, 7.0),
            Self::Exponential => exponential(steps, low, high),
            Self::DdimUniform => ddim_uniform(sampling, steps),
            Self::Beta => beta(sampling, steps, 0.6, 0.6),
            Self::Normal => normal(sampling, steps),
            Self::LinearQuadratic => linear_quadratic(sampling, steps, 0.025, None),
            Self::KlOptimal => kl_optimal(steps, low, high),
        }
    }

    /// What the BasicScheduler node gives: the last `steps` steps of a schedule that is `1/denoise` times as
    /// long. Empty where `denoise` is 0.
    pub fn basic_sigmas(self, sampling: &ModelSampling, steps: usize, denoise: f64) -> Result<Vec<f64>> {
        if denoise.is_nan() || denoise <= 0.0 {
            return Ok(Vec::new());
        }
        let total = if denoise < 1.0 { (steps as f64 / denoise) as usize } else { steps };
        // Cut even at full denoise: ddim_uniform may have a step too many, and the node drops its first.
        Ok(last(self.sigmas(sampling, total)?, steps + 1))
    }

    /// What the KSampler node walks: as [`Scheduler::basic_sigmas`], but a whole schedule stays whole.
    /// `discard_penultimate` is for samplers that would divide by the smallest sigma.
    pub fn ksampler_sigmas(
        self,
        sampling: &ModelSampling,
        steps: usize,
        denoise: f64,
        discard_penultimate: bool,
    ) -> Result<Vec<f64>> {
        let whole = |steps: usize| {
            if !discard_penultimate {
                return self.sigmas(sampling, steps);
            }
            let mut sigmas = self.sigmas(sampling, steps + 1)?;
            if sigmas.len() >= 2 {
                sigmas.remove(sigmas.len() - 2);
            }
            Ok(sigmas)
        };
        // A slider at 1.0 may arrive as 0.99999.
        if denoise > 0.9999 {
            return whole(steps);
        }
        if denoise.is_nan() || denoise <= 0.0 {
            return Ok(Vec::new());
        }
        Ok(last(whole((steps as f64 / denoise) as usize)?, steps + 1))
    }
}

fn last(mut sigmas: Vec<f64>, count: usize) -> Vec<f64> {
    sigmas.split_off(sigmas.len().saturating_sub(count))
}

impl fmt::Display for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Scheduler {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|scheduler| scheduler.name() == name).ok_or_else(|| {
            Error::UnknownScheduler { name: name.to_owned(), known: Self::ALL.map(Self::name).join(", ") }
        })
    }
}

/// Refuses a schedule without steps.
fn at_least_one(what: &'static str, steps: usize) -> Result<()> {
    if steps > 0 {
        return Ok(());
    }
    Err(Error::Option { what, option: "steps", found: "0".into(), expected: "at least 1" })
}

/// `count` even places from `start` to `end`, both included; one place is `start`.
///
/// In f32 and from both ends to the middle, as `torch.linspace` counts: schedules agree to the last bit or
/// two, which samplers with Brownian noise can tell.
fn even(start: f64, end: f64, count: usize) -> impl Iterator<Item = f64> {
    let (start, end) = (start as f32, end as f32);
    let step = if count > 1 { (end - start) / (count - 1) as f32 } else { 0.0 };
    (0..count).map(move |i| {
        let first_half = i < count / 2 || count == 1;
        let place = if first_half {
            step.mul_add(i as f32, start)
        } else {
            (-step).mul_add((count - 1 - i) as f32, end)
        };
        f64::from(place)
    })
}

/// Rounds to f32, as schedules are kept, and ends at zero.
fn ending_at_zero(sigmas: impl IntoIterator<Item = f64>) -> Vec<f64> {
    sigmas.into_iter().map(round_to_f32).chain([0.0]).collect()
}
