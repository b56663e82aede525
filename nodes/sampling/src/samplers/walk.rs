//! What every sampler is given: a denoiser to ask, a schedule to walk down, and its options.

use candle_core::Tensor;

use super::options::SamplerOptions;
use crate::guidance::{Guided, Prediction};
use crate::model_sampling::ModelSampling;
use crate::noise::{Brownian, Independent};
use crate::observer::{Observer, Step};
use crate::tensor::round_to_f32;
use crate::{Error, Result};

/// A function of a noisy latent and its noise level that answers the clean latent.
pub trait Denoiser {
    /// The clean latent that `x` at noise level `sigma` stands for. With `needs_negative`, the negative
    /// side's view has to be evaluated even where guidance does not need it.
    fn denoise(&mut self, x: &Tensor, sigma: f64, needs_negative: bool) -> Result<Prediction>;
}

impl Denoiser for Guided<'_> {
    fn denoise(&mut self, x: &Tensor, sigma: f64, needs_negative: bool) -> Result<Prediction> {
        self.predict(x, sigma, needs_negative)
    }
}

/// One walk down a schedule.
pub(crate) struct Walk<'a> {
    pub(crate) denoiser: &'a mut dyn Denoiser,
    /// Falling, usually to zero; one more than there are steps.
    pub(crate) sigmas: &'a [f64],
    pub(crate) sampling: &'a ModelSampling,
    pub(crate) options: &'a SamplerOptions,
    pub(crate) seed: u64,
    pub(crate) observer: &'a dyn Observer,
}

impl<'a> Walk<'a> {
    /// How many steps the schedule has.
    pub(crate) fn steps(&self) -> usize {
        self.sigmas.len().saturating_sub(1)
    }

    /// The steps: their number, their noise level, and the next one's.
    pub(crate) fn each(&self) -> impl Iterator<Item = (usize, f64, f64)> + use<'a> {
        self.sigmas.windows(2).enumerate().map(|(i, pair)| (i, pair[0], pair[1]))
    }

    /// The clean latent at any noise level: an evaluation within a step.
    pub(crate) fn denoise(&mut self, x: &Tensor, sigma: f64) -> Result<Tensor> {
        Ok(self.predict(x, sigma, false)?.denoised)
    }

    /// As [`Walk::denoise`], with the negative side's view beside it.
    pub(crate) fn denoise_both(&mut self, x: &Tensor, sigma: f64) -> Result<Prediction> {
        self.predict(x, sigma, true)
    }

    /// The clean latent at the start of step `i`, which the observer gets to see.
    pub(crate) fn begin(&mut self, i: usize, x: &Tensor, sigma: f64) -> Result<Tensor> {
        let denoised = self.denoise(x, sigma)?;
        self.report(i, sigma, x, &denoised)?;
        Ok(denoised)
    }

    /// As [`Walk::begin`], with the negative side's view beside it.
    pub(crate) fn begin_both(&mut self, i: usize, x: &Tensor, sigma: f64) -> Result<Prediction> {
        let prediction = self.denoise_both(x, sigma)?;
        self.report(i, sigma, x, &prediction.denoised)?;
        Ok(prediction)
    }

    fn predict(&mut self, x: &Tensor, sigma: f64, needs_negative: bool) -> Result<Prediction> {
        if self.observer.cancelled() {
            return Err(Error::Cancelled);
        }
        self.denoiser.denoise(x, sigma, needs_negative)
    }

    /// Tells the observer of a step.
    pub(crate) fn report(&self, index: usize, sigma: f64, x: &Tensor, denoised: &Tensor) -> Result<()> {
        let step = Step { index, total: self.steps(), sigma, denoised, x };
        if self.observer.step(&step).is_break() { Err(Error::Cancelled) } else { Ok(()) }
    }

    /// Fresh noise for every step.
    pub(crate) fn independent_noise(&self, x: &Tensor) -> Independent {
        Independent::new(x, self.seed)
    }

    /// Noise of one Brownian path.
    pub(crate) fn brownian_noise(&self, x: &Tensor) -> Brownian {
        Brownian::new(x, self.sigmas, self.seed)
    }

    /// The schedule with a first sigma at which a flow model still holds some signal, since samplers that
    /// count in log signal-to-noise ratios cannot start at none.
    pub(crate) fn sigmas_with_finite_snr(&self) -> Vec<f64> {
        const SHARE: f64 = 1e-4;
        let mut sigmas = self.sigmas.to_vec();
        match sigmas.as_mut_slice() {
            [first, _, ..] if self.sampling.is_flow() && *first >= 1.0 => {
                *first = round_to_f32(self.sampling.percent_to_sigma(SHARE));
            }
            _ => {}
        }
        sigmas
    }

    /// Half the logarithm of the signal-to-noise ratio: ln(α/σ).
    pub(crate) fn half_log_snr(&self, sigma: f64) -> f64 {
        if self.sampling.is_flow() { ((1.0 - sigma) / sigma).ln() } else { -sigma.ln() }
    }

    /// The inverse of [`Walk::half_log_snr`].
    pub(crate) fn sigma_of_half_log_snr(&self, lambda: f64) -> f64 {
        if self.sampling.is_flow() { 1.0 / (1.0 + lambda.exp()) } else { (-lambda).exp() }
    }
}
