//! How a model was trained to see noise: which sigmas there are, which timestep it reads at a sigma, and
//! what its output means.

mod cascade;
mod continuous;
mod discrete;
mod flow;
mod prediction;

use std::fmt;
use std::sync::Arc;

pub use cascade::Cascade;
pub use continuous::{ContinuousEdm, ContinuousV};
pub use discrete::{BetaSchedule, Discrete, Distilled};
pub use flow::{Flow, FluxFlow, flux_shift_for_size};
pub use prediction::Prediction;

/// The map between sigmas and a model's timesteps.
///
/// Sigma is the standard deviation of the noise on a latent; for flow models it is the share of noise in
/// the mix, from 0 to 1.
pub trait NoiseLevels: fmt::Debug + Send + Sync {
    /// Sigmas of the training timesteps, ascending. Never empty.
    fn sigmas(&self) -> &[f32];

    /// The timestep that the model reads at `sigma`.
    fn timestep(&self, sigma: f64) -> f64;

    /// The sigma of a timestep, which may lie between two training steps.
    fn sigma(&self, timestep: f64) -> f64;

    /// The sigma at which `percent` (0 to 1) of sampling is done; what timestep ranges compare with.
    ///
    /// 0 and below answer a sigma that no schedule exceeds, 1 and above answer 0.
    fn percent_to_sigma(&self, percent: f64) -> f64;

    /// The lowest training sigma.
    fn sigma_min(&self) -> f64 {
        self.sigmas().first().copied().map_or(0.0, f64::from)
    }

    /// The highest training sigma.
    fn sigma_max(&self) -> f64 {
        self.sigmas().last().copied().map_or(0.0, f64::from)
    }
}

/// Larger than every sigma: the answer to "0 percent" for models whose sigmas have no natural end.
const BEYOND_ALL: f64 = 999_999_999.9;

/// Everything about a model's relation to noise. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ModelSampling {
    /// What the model's output means.
    pub prediction: Prediction,
    /// Which sigmas there are.
    pub levels: Arc<dyn NoiseLevels>,
}

impl ModelSampling {
    /// Combines a meaning of the output with sigmas.
    pub fn new(prediction: Prediction, levels: impl NoiseLevels + 'static) -> Self {
        Self { prediction, levels: Arc::new(levels) }
    }

    /// SD 1.x, SDXL: noise prediction on the usual 1000 steps.
    pub fn eps() -> Self {
        Self::new(Prediction::EPS, Discrete::default())
    }

    /// SD 2.x 768: velocity prediction; `zsnr` for models trained down to a signal of zero.
    pub fn v(zsnr: bool) -> Self {
        let levels = if zsnr { Discrete::default().zero_terminal_snr() } else { Discrete::default() };
        Self::new(Prediction::V, levels)
    }

    /// SD3 (`shift` 3, `multiplier` 1000), AuraFlow (1.73, 1), Flux schnell (1, 1) and their kin.
    pub fn flow(shift: f64, multiplier: f64) -> Self {
        Self::new(Prediction::Flow, Flow::new(shift, multiplier))
    }

    /// Flux dev (`shift` 1.15).
    pub fn flux(shift: f64) -> Self {
        Self::new(Prediction::Flow, FluxFlow::new(shift))
    }

    /// Latent consistency models distilled from SD 1.x or SDXL.
    pub fn lcm() -> Self {
        Self::new(Prediction::Lcm, Distilled::new(&Discrete::default()))
    }

    /// Whether sigma is a share of noise (rectified flow) and not its deviation.
    pub fn is_flow(&self) -> bool {
        self.prediction == Prediction::Flow
    }
}

impl std::ops::Deref for ModelSampling {
    type Target = dyn NoiseLevels;

    fn deref(&self) -> &Self::Target {
        &*self.levels
    }
}
