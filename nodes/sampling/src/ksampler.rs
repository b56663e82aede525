//! The settings of the KSampler and KSamplerAdvanced nodes, as a job.

use candle_core::Tensor;

use crate::guidance::Guidance;
use crate::observer::Observer;
use crate::sample::{Job, SampledModel, sample};
use crate::samplers::{Sampler, discards_penultimate_sigma};
use crate::schedule::Scheduler;
use crate::{ModelSampling, Result};

/// What the nodes let users choose.
#[derive(Clone, Debug)]
pub struct KSampler {
    /// How to walk.
    pub sampler: Sampler,
    /// Where.
    pub scheduler: Scheduler,
    /// In how many steps.
    pub steps: usize,
    /// How much of the latent is replaced, 0 to 1: the end of a longer schedule is walked.
    pub denoise: f64,
    /// The first step to take, of those of the whole schedule.
    pub start_step: Option<usize>,
    /// The step to stop before.
    pub last_step: Option<usize>,
    /// Whether stopping early still removes all noise.
    pub force_full_denoise: bool,
    /// For noise that is added on the way.
    pub seed: u64,
}

impl KSampler {
    /// All steps at full denoise.
    pub fn new(sampler: Sampler, scheduler: Scheduler, steps: usize, seed: u64) -> Self {
        Self {
            sampler,
            scheduler,
            steps,
            denoise: 1.0,
            start_step: None,
            last_step: None,
            force_full_denoise: false,
            seed,
        }
    }

    /// The sigmas that are walked. Empty where there is nothing to do.
    pub fn sigmas(&self, sampling: &ModelSampling) -> Result<Vec<f64>> {
        let discard = discards_penultimate_sigma(self.sampler.name());
        let mut sigmas = self.scheduler.ksampler_sigmas(sampling, self.steps, self.denoise, discard)?;
        if let Some(steps) = self.last_step.filter(|last| last + 1 < sigmas.len()) {
            sigmas.truncate(steps + 1);
            if let Some(last) = sigmas.last_mut().filter(|_| self.force_full_denoise) {
                *last = 0.0;
            }
        }
        if let Some(start) = self.start_step {
            if start + 1 >= sigmas.len() {
                return Ok(Vec::new());
            }
            sigmas.drain(..start);
        }
        Ok(sigmas)
    }

    /// Samples a latent. `noise` is what the node made of its seed, zeros if it adds none.
    pub fn sample(
        &self,
        model: SampledModel<'_>,
        guidance: &Guidance,
        noise: &Tensor,
        latent: &Tensor,
        denoise_mask: Option<&Tensor>,
        observer: &dyn Observer,
    ) -> Result<Tensor> {
        let sigmas = self.sigmas(model.sampling)?;
        let (sampler, seed) = (&self.sampler, self.seed);
        let job = Job { guidance, sampler, sigmas: &sigmas, noise, latent, denoise_mask, seed };
        sample(model, &job, observer)
    }
}
