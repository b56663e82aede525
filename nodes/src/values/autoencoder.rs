//! The networks that a `VAE` may be: what pictures and latents pass through, whatever is inside.

use candle_core::Tensor;
use ebb_models::ops::Ops;
use ebb_models::source::Source;
use ebb_models::taesd::{Scaling, Taesd};
use ebb_models::{LoadOptions, Result, vae};

/// Which network some tensors are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// A KL autoencoder.
    Kl,
    /// TAESD of a family, whose latents are scaled so.
    Taesd(Scaling),
    /// None: latents are pixels.
    Pixels,
}

/// An autoencoder that computes.
pub enum Autoencoder {
    /// A KL autoencoder.
    Kl(Box<vae::Vae>),
    /// TAESD.
    Taesd(Taesd),
    /// Pixels, as they are.
    Pixels,
}

impl Autoencoder {
    /// Loads the network that some tensors are.
    pub(crate) fn load<'a>(
        kind: Kind,
        ops: &'a Ops,
        source: &'a dyn Source,
        options: LoadOptions<'a>,
    ) -> Result<Self> {
        Ok(match kind {
            Kind::Kl => Self::Kl(Box::new(vae::Vae::load(ops, source, options)?)),
            Kind::Taesd(scaling) => Self::Taesd(Taesd::load(ops, source, scaling, options)?),
            Kind::Pixels => Self::Pixels,
        })
    }

    /// Bytes of its weights.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Kl(vae) => vae.bytes(),
            Self::Taesd(taesd) => taesd.bytes(),
            Self::Pixels => 0,
        }
    }

    /// Channels of its latents.
    pub fn latent_channels(&self) -> usize {
        match self {
            Self::Kl(vae) => vae.latent_channels(),
            Self::Taesd(taesd) => taesd.latent_channels(),
            Self::Pixels => 3,
        }
    }

    /// Pixels along one side of a latent cell.
    pub fn scale(&self) -> usize {
        match self {
            Self::Kl(vae) => vae.scale(),
            Self::Taesd(taesd) => taesd.scale(),
            Self::Pixels => 1,
        }
    }

    /// Decodes a raw latent to pixels in −1 to 1, not clamped.
    ///
    /// # Errors
    /// Where the latent's shape does not fit, or the file holds no decoder.
    pub fn decode(&self, latent: &Tensor) -> Result<Tensor> {
        self.decode_unless(latent, &|| false)
    }

    /// As [`decode`](Self::decode); `stop` is asked between blocks where there are many.
    ///
    /// # Errors
    /// As `decode`, or where it was stopped.
    pub fn decode_unless(&self, latent: &Tensor, stop: &dyn Fn() -> bool) -> Result<Tensor> {
        match self {
            Self::Kl(vae) => vae.decode_unless(latent, stop),
            Self::Taesd(taesd) => taesd.decode(latent),
            Self::Pixels => Ok(latent.clone()),
        }
    }

    /// Encodes pixels in −1 to 1 to a raw latent.
    ///
    /// # Errors
    /// Where the shape does not fit, or the file holds no encoder.
    pub fn encode(&self, pixels: &Tensor) -> Result<Tensor> {
        self.encode_unless(pixels, &|| false)
    }

    /// As [`encode`](Self::encode); `stop` is asked between blocks where there are many.
    ///
    /// # Errors
    /// As `encode`, or where it was stopped.
    pub fn encode_unless(&self, pixels: &Tensor, stop: &dyn Fn() -> bool) -> Result<Tensor> {
        match self {
            Self::Kl(vae) => vae.encode_unless(pixels, stop),
            Self::Taesd(taesd) => taesd.encode(pixels),
            Self::Pixels => Ok(pixels.clone()),
        }
    }
}
