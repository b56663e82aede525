//! The scale of a family's latents: what its autoencoder makes is not what its denoiser was trained on.

use candle_core::Tensor;

use crate::Result;

/// Maps latents between the autoencoder's scale and the denoiser's.
#[derive(Clone, Debug, PartialEq)]
pub struct LatentFormat {
    /// Factor.
    pub scale: f64,
    /// Subtracted before the factor is applied.
    pub shift: f64,
    /// Means and deviations of the channels, for families that normalise each on its own; as many as the
    /// latent has channels.
    pub channels: Option<Vec<(f64, f64)>>,
}

impl LatentFormat {
    /// One factor for all.
    pub const fn scaled(scale: f64) -> Self {
        Self { scale, shift: 0.0, channels: None }
    }

    /// A shift, then a factor.
    pub const fn shifted(scale: f64, shift: f64) -> Self {
        Self { scale, shift, channels: None }
    }

    /// SD 1.x and 2.x.
    pub const SD1: Self = Self::scaled(0.18215);
    /// SDXL.
    pub const SDXL: Self = Self::scaled(0.13025);
    /// SD3 and 3.5.
    pub const SD3: Self = Self::shifted(1.5305, 0.0609);
    /// Flux and its kin.
    pub const FLUX: Self = Self::shifted(0.3611, 0.1159);

    /// From the autoencoder's scale to the denoiser's.
    pub fn process_in(&self, latent: &Tensor) -> Result<Tensor> {
        match self.channel_statistics(latent)? {
            Some((means, deviations)) => {
                Ok((latent.broadcast_sub(&means)?.broadcast_div(&deviations)? * self.scale)?)
            }
            None => Ok(((latent - self.shift)? * self.scale)?),
        }
    }

    /// From the denoiser's scale to the autoencoder's.
    pub fn process_out(&self, latent: &Tensor) -> Result<Tensor> {
        match self.channel_statistics(latent)? {
            Some((means, deviations)) => {
                Ok((latent / self.scale)?.broadcast_mul(&deviations)?.broadcast_add(&means)?)
            }
            None => Ok(((latent / self.scale)? + self.shift)?),
        }
    }

    /// Means and deviations as tensors that broadcast over the latent.
    fn channel_statistics(&self, latent: &Tensor) -> Result<Option<(Tensor, Tensor)>> {
        let Some(channels) = &self.channels else { return Ok(None) };
        let mut shape = vec![1; latent.rank()];
        if let Some(axis) = shape.get_mut(1) {
            *axis = channels.len();
        }
        let tensor = |pick: fn(&(f64, f64)) -> f64| -> Result<Tensor> {
            let values: Vec<f32> = channels.iter().map(|channel| pick(channel) as f32).collect();
            Ok(Tensor::from_vec(values, shape.as_slice(), latent.device())?.to_dtype(latent.dtype())?)
        };
        Ok(Some((tensor(|channel| channel.0)?, tensor(|channel| channel.1)?)))
    }
}
