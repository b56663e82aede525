//! What a model's output means, and how a latent is scaled before the model sees it.

use candle_core::Tensor;

use super::ModelSampling;
use crate::Result;

/// What a model predicts. Formulas with σ_d = `sigma_data` are those of Karras et al. 2022, "Elucidating
/// the Design Space of Diffusion-Based Generative Models", table 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Prediction {
    /// The noise: x₀ = x − σ·out.
    Eps {
        /// Deviation of the data, 1 for latents.
        sigma_data: f64,
    },
    /// The velocity (Salimans and Ho 2022): x₀ = x·σ_d²/(σ²+σ_d²) − out·σ·σ_d/√(σ²+σ_d²).
    V {
        /// Deviation of the data, 1 for latents.
        sigma_data: f64,
    },
    /// As [`variant@Prediction::V`] with the other sign, as EDM trains.
    Edm {
        /// Deviation of the data, 0.5 in EDM.
        sigma_data: f64,
    },
    /// The clean latent itself.
    X0,
    /// The clean latent itself, from a latent that is not scaled for the model (image-to-image models).
    ImageToImage,
    /// Rectified flow (Liu et al. 2022): the latent is (1−σ)·x₀ + σ·noise and out = noise − x₀.
    Flow,
    /// Noise, with the boundary conditions of consistency models (Luo et al. 2023, "Latent Consistency
    /// Models", eq. 9): x₀ = c_out·(x − σ·out) + c_skip·x.
    Lcm,
}

impl Prediction {
    /// Noise prediction on latents.
    pub const EPS: Self = Self::Eps { sigma_data: 1.0 };
    /// Velocity prediction on latents.
    pub const V: Self = Self::V { sigma_data: 1.0 };

    fn sigma_data(self) -> f64 {
        match self {
            Self::Eps { sigma_data } | Self::V { sigma_data } | Self::Edm { sigma_data } => sigma_data,
            Self::X0 | Self::ImageToImage | Self::Flow | Self::Lcm => 1.0,
        }
    }
}

/// LCM's σ_d and the factor on its timesteps (Luo et al. 2023).
const LCM_SIGMA_DATA: f64 = 0.5;
const LCM_TIMESTEP_SCALE: f64 = 10.0;

impl ModelSampling {
    /// The latent as the model wants to see it.
    pub fn model_input(&self, sigma: f64, x: &Tensor) -> Result<Tensor> {
        if matches!(self.prediction, Prediction::Flow | Prediction::ImageToImage) {
            return Ok(x.clone());
        }
        let sigma_data = self.prediction.sigma_data();
        Ok((x / (sigma * sigma + sigma_data * sigma_data).sqrt())?)
    }

    /// The clean latent that the model's `output` at `x` stands for.
    pub fn denoised(&self, sigma: f64, output: &Tensor, x: &Tensor) -> Result<Tensor> {
        let sigma_data = self.prediction.sigma_data();
        let total = sigma * sigma + sigma_data * sigma_data;
        let (from_x, from_output) = match self.prediction {
            Prediction::Eps { .. } | Prediction::Flow => (1.0, -sigma),
            Prediction::V { .. } => (sigma_data * sigma_data / total, -sigma * sigma_data / total.sqrt()),
            Prediction::Edm { .. } => (sigma_data * sigma_data / total, sigma * sigma_data / total.sqrt()),
            Prediction::X0 | Prediction::ImageToImage => return Ok(output.clone()),
            Prediction::Lcm => {
                let timestep = self.timestep(sigma) * LCM_TIMESTEP_SCALE;
                let total = timestep * timestep + LCM_SIGMA_DATA * LCM_SIGMA_DATA;
                let (skip, out) = (LCM_SIGMA_DATA * LCM_SIGMA_DATA / total, timestep / total.sqrt());
                (out + skip, -out * sigma)
            }
        };
        crate::tensor::mix(&[(from_x, x), (from_output, output)])
    }

    /// A latent with noise of level `sigma` on it. `max_denoise` tells that sampling starts from noise
    /// alone; models trained on deviations then expect the variance of signal and noise together.
    pub fn add_noise(
        &self,
        sigma: f64,
        noise: &Tensor,
        latent: &Tensor,
        max_denoise: bool,
    ) -> Result<Tensor> {
        let (of_noise, of_latent) = match self.prediction {
            Prediction::Flow => (sigma, 1.0 - sigma),
            _ if max_denoise => ((1.0 + sigma * sigma).sqrt(), 1.0),
            _ => (sigma, 1.0),
        };
        crate::tensor::mix(&[(of_noise, noise), (of_latent, latent)])
    }

    /// Undoes the scale that [`ModelSampling::add_noise`] gave the latent, after the last sigma.
    pub fn remove_noise_scale(&self, sigma: f64, latent: &Tensor) -> Result<Tensor> {
        match self.prediction {
            Prediction::Flow => Ok((latent / (1.0 - sigma))?),
            _ => Ok(latent.clone()),
        }
    }
}
