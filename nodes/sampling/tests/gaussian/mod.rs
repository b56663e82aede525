//! A model whose every answer is known: data that is normally distributed with deviation [`DATA`].

use candle_core::{DType, Device, Tensor};
use ebb_sampling::guidance::{Conditioning, Guidance, Hooks, Model, ModelCall};
use ebb_sampling::model_sampling::Prediction;
use ebb_sampling::{Job, LatentFormat, ModelSampling, Observer, Result, SampledModel, Sampler, sample};

/// Deviation of the data.
pub(crate) const DATA: f64 = 0.7;

/// Predicts what [`Prediction::Eps`] or [`Prediction::Flow`] ask for, exactly.
pub(crate) struct Gaussian {
    pub(crate) flow: bool,
}

impl Model for Gaussian {
    fn predict(&mut self, call: &ModelCall<'_>) -> Result<Tensor> {
        let (sigma, signal) = (call.sigma, if self.flow { 1.0 - call.sigma } else { 1.0 });
        // E[x₀ | x] for x = signal·x₀ + σ·noise.
        let share = signal * DATA * DATA / (signal * signal * DATA * DATA + sigma * sigma);
        Ok((call.x_unscaled * ((1.0 - share) / sigma))?)
    }
}

/// The deviation of a latent at a noise level; the ODE's solutions are proportional to it.
pub(crate) fn deviation(flow: bool, sigma: f64) -> f64 {
    let signal = if flow { 1.0 - sigma } else { 1.0 };
    (signal * signal * DATA * DATA + sigma * sigma).sqrt()
}

pub(crate) fn model_sampling(flow: bool) -> ModelSampling {
    if flow { ModelSampling::flow(1.0, 1000.0) } else { ModelSampling::new(Prediction::EPS, continuous()) }
}

/// Timesteps that do not jump between sigmas, so that a solver's own error is all there is.
fn continuous() -> ebb_sampling::model_sampling::ContinuousEdm {
    ebb_sampling::model_sampling::ContinuousEdm::new(0.01, 10.0)
}

/// Samples with no prompt to speak of.
pub(crate) fn walk(
    sampler: &Sampler,
    flow: bool,
    sigmas: &[f64],
    noise: &Tensor,
    observer: &dyn Observer,
) -> Result<Tensor> {
    let prompt = Conditioning::prompt(Tensor::zeros((1, 1, 1), DType::F32, &Device::Cpu)?, None);
    let guidance = Guidance::Cfg { positive: vec![prompt.clone()], negative: vec![prompt], scale: 1.0 };
    let model = SampledModel {
        model: &mut Gaussian { flow },
        sampling: &model_sampling(flow),
        latent_format: &LatentFormat::scaled(1.0),
        hooks: &Hooks::default(),
    };
    let latent = noise.zeros_like()?;
    let job =
        Job { guidance: &guidance, sampler, sigmas, noise, latent: &latent, denoise_mask: None, seed: 5 };
    sample(model, &job, observer)
}
