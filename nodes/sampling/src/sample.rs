//! Sampling itself: from noise and a latent to a latent, for every family, sampler and node.

use candle_core::Tensor;

use crate::guidance::{DenoiseMaskArgs, Guidance, Guided, Hooks, InputContext, Model, Prediction};
use crate::latent_format::LatentFormat;
use crate::mask::denoise_mask_for;
use crate::model_sampling::ModelSampling;
use crate::observer::Observer;
use crate::rng::Generator;
use crate::samplers::{Denoiser, Sampler, Walk};
use crate::tensor::mix;
use crate::{Error, Result};

/// The model that samples, and what belongs to it.
pub struct SampledModel<'a> {
    /// The denoiser.
    pub model: &'a mut dyn Model,
    /// Its relation to noise.
    pub sampling: &'a ModelSampling,
    /// Its latents' scale.
    pub latent_format: &'a LatentFormat,
    /// What nodes changed about guidance.
    pub hooks: &'a Hooks,
}

/// What to sample.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    /// The prompts, and how they are weighed.
    pub guidance: &'a Guidance,
    /// How to walk.
    pub sampler: &'a Sampler,
    /// Where to walk: falling sigmas, one more than there are steps.
    pub sigmas: &'a [f64],
    /// Noise of the latent's shape; zeros to continue with the noise that the latent already has.
    pub noise: &'a Tensor,
    /// What to start from, in the autoencoder's scale. All zeros for nothing.
    pub latent: &'a Tensor,
    /// Where the latent may change (1) and where it stays (0), in any size.
    pub denoise_mask: Option<&'a Tensor>,
    /// For samplers that add noise on their way.
    pub seed: u64,
}

/// Samples a latent, in the autoencoder's scale.
pub fn sample(sampled: SampledModel<'_>, job: &Job<'_>, observer: &dyn Observer) -> Result<Tensor> {
    let Job { guidance, sampler, sigmas, noise, latent, denoise_mask, seed } = *job;
    let (Some(&first), Some(&last)) = (sigmas.first(), sigmas.last()) else { return Ok(latent.clone()) };
    if noise.dims() != latent.dims() {
        let expected = format!("the latent's, {:?}", latent.dims());
        return Err(Error::Shape { what: "noise", found: noise.dims().to_vec(), expected });
    }
    let SampledModel { model, sampling, latent_format, hooks } = sampled;
    // Nothing stays nothing: a shift would turn an empty latent into a grey picture.
    let latent = if is_zero(latent)? { latent.clone() } else { latent_format.process_in(latent)? };
    let mask = denoise_mask.map(|mask| denoise_mask_for(mask, &latent)).transpose()?;
    let context = InputContext {
        side: crate::guidance::Side::Positive,
        noise,
        latent: &latent,
        denoise_mask: mask.as_ref(),
        seed,
    };
    let mut denoiser = Masked {
        inner: Guided::new(guidance, model, sampling, hooks, observer, context)?,
        sampling,
        hooks,
        sigmas,
        latent: &latent,
        noise: inpaint_noise(sampler, noise, seed)?,
        mask: mask.as_ref(),
    };
    let x = sampling.add_noise(first, noise, &latent, starts_from_noise(sampling, first))?;
    let mut walk =
        Walk { denoiser: &mut denoiser, sigmas, sampling, options: &sampler.options, seed, observer };
    let x = sampler.sample(&mut walk, x)?;
    latent_format.process_out(&sampling.remove_noise_scale(last, &x)?)
}

/// Whether the first sigma is the model's highest, so that nothing of the latent is left in the noise.
fn starts_from_noise(sampling: &ModelSampling, first: f64) -> bool {
    let highest = sampling.sigma_max();
    first > highest || (first - highest).abs() <= 1e-5 * first.abs().max(highest.abs())
}

fn is_zero(latent: &Tensor) -> Result<bool> {
    let largest = latent.abs()?.flatten_all()?.max(0)?.to_dtype(candle_core::DType::F32)?;
    Ok(largest.to_scalar::<f32>()? == 0.0)
}

/// The noise on the parts that a mask keeps.
fn inpaint_noise(sampler: &Sampler, noise: &Tensor, seed: u64) -> Result<Tensor> {
    if sampler.fresh_inpaint_noise() {
        return Generator::new(seed.wrapping_add(1)).randn(noise.dims(), noise.device());
    }
    Ok(noise.clone())
}

/// Keeps what a mask keeps: the model sees it with noise of the current level, and never changes it.
struct Masked<'a> {
    inner: Guided<'a>,
    sampling: &'a ModelSampling,
    hooks: &'a Hooks,
    sigmas: &'a [f64],
    latent: &'a Tensor,
    noise: Tensor,
    mask: Option<&'a Tensor>,
}

impl Denoiser for Masked<'_> {
    fn denoise(&mut self, x: &Tensor, sigma: f64, needs_negative: bool) -> Result<Prediction> {
        let Some(mask) = self.mask else { return self.inner.predict(x, sigma, needs_negative) };
        let mask = match &self.hooks.denoise_mask {
            Some(hook) => {
                hook(&DenoiseMaskArgs { mask, sigma, sigmas: self.sigmas, sampling: self.sampling })?
            }
            None => mask.clone(),
        };
        let kept = self.sampling.add_noise(sigma, &self.noise, self.latent, false)?;
        let mut prediction = self.inner.predict(&blend(x, &kept, &mask)?, sigma, needs_negative)?;
        prediction.denoised = blend(&prediction.denoised, self.latent, &mask)?;
        Ok(prediction)
    }
}

/// `new` where the mask is 1, `old` where it is 0.
fn blend(new: &Tensor, old: &Tensor, mask: &Tensor) -> Result<Tensor> {
    let kept = mask.affine(-1.0, 1.0)?;
    mix(&[(1.0, &new.broadcast_mul(mask)?), (1.0, &old.broadcast_mul(&kept)?)])
}
