//! Upscale models: ESRGAN in its old and new layouts, RealESRGAN's compact network, and SwinIR.

mod compact;
mod esrgan;
mod swin;
mod windows;

use candle_core::Tensor;

use crate::{Error, LoadOptions, Params, Result, ops::Ops, params::load, source::Source};
use compact::Compact;
use esrgan::Esrgan;
use swin::SwinIr;

/// A network that enlarges pictures by a whole factor.
pub struct Upscaler {
    ops: Ops,
    network: Network,
    params: Params,
}

enum Network {
    Esrgan(Esrgan),
    Compact(Compact),
    SwinIr(Box<SwinIr>),
}

impl Upscaler {
    /// Loads a network, recognised by its tensors.
    pub fn load<'a>(ops: &'a Ops, source: &'a dyn Source, options: LoadOptions<'a>) -> Result<Self> {
        let (network, params) = load(ops, source, "upscale model", options, |w| {
            if w.has("body.0.weight") && w.has("body.1.weight") {
                return Ok(Network::Compact(Compact::load(w)?));
            }
            if let Some(esrgan) = Esrgan::load(w)? {
                return Ok(Network::Esrgan(esrgan));
            }
            match SwinIr::load(w)? {
                Some(swin) => Ok(Network::SwinIr(Box::new(swin))),
                None => Err(Error::MissingTensor { what: "upscale model", name: "model.0.weight".into() }),
            }
        })?;
        Ok(Self { ops: ops.clone(), network, params })
    }

    /// How many times larger its results are.
    pub fn scale(&self) -> usize {
        match &self.network {
            Network::Esrgan(n) => n.scale(),
            Network::Compact(n) => n.scale(),
            Network::SwinIr(n) => n.scale(),
        }
    }

    /// Bytes of its weights.
    pub fn bytes(&self) -> usize {
        self.params.bytes()
    }

    /// Enlarges pixels in 0 to 1, `[n, 3, h, w]`; the result is not clamped.
    pub fn upscale(&self, pixels: &Tensor) -> Result<Tensor> {
        let (_, _, h, w) = pixels.dims4()?;
        let y = match &self.network {
            Network::Esrgan(n) => self.ops.to_nchw(&n.forward(&self.ops, pixels)?)?,
            Network::Compact(n) => self.ops.to_nchw(&n.forward(&self.ops, pixels)?)?,
            Network::SwinIr(n) => n.forward(&self.ops, pixels)?,
        };
        // A network that folds pixels into channels first was given a multiple of its fold.
        Ok(y.narrow(2, 0, h * self.scale())?.narrow(3, 0, w * self.scale())?.contiguous()?)
    }
}
