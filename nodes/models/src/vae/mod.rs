//! The KL autoencoder of the latent diffusion models, with 4 or 16 latent channels (Rombach et al. 2022; Esser et
//! al. 2021), from tensors in the single-file naming.

mod blocks;

use std::sync::Arc;

use candle_core::Tensor;

use crate::{
    Error, LoadOptions, Params, Result,
    ops::{Act, Conv, ConvShape, Epilogue, GroupNorm, Linear, Norm, Ops, Out},
    params::{Loader, load},
    source::Source,
};
use blocks::{EPS, GROUPS, Level, Middle, Stop};

/// An autoencoder, or the half of it that a file holds.
pub struct Vae {
    ops: Ops,
    encoder: Option<Encoder>,
    decoder: Option<Decoder>,
    latent_channels: usize,
    params: Params,
}

struct Encoder {
    input: Arc<Conv>,
    levels: Vec<Level>,
    middle: Middle,
    norm: Arc<Norm>,
    output: Arc<Conv>,
    quant: Option<Arc<Linear>>,
}

struct Decoder {
    post_quant: Option<Arc<Linear>>,
    input: Arc<Conv>,
    middle: Middle,
    levels: Vec<Level>,
    norm: Arc<Norm>,
    output: Arc<Conv>,
}

impl Vae {
    /// Loads the halves that the source holds; tensors are named without a `first_stage_model.` before them.
    pub fn load<'a>(ops: &'a Ops, source: &'a dyn Source, options: LoadOptions<'a>) -> Result<Self> {
        let (vae, params) = load(ops, source, "VAE", options, |w| {
            let encoder = if w.has("encoder.conv_in.weight") { Some(Encoder::load(w)?) } else { None };
            let decoder = if w.has("decoder.conv_in.weight") { Some(Decoder::load(w)?) } else { None };
            let latent_channels = match (&encoder, &decoder) {
                (_, Some(d)) => d.input.input,
                (Some(e), None) => e.output.output / 2,
                (None, None) => {
                    return Err(Error::MissingTensor { what: "VAE", name: w.name("decoder.conv_in.weight") });
                }
            };
            Ok(Self { ops: ops.clone(), encoder, decoder, latent_channels, params: Params::default() })
        })?;
        Ok(Self { params, ..vae })
    }

    /// Channels of its latents.
    pub fn latent_channels(&self) -> usize {
        self.latent_channels
    }

    /// Pixels along one side of a latent cell.
    pub fn scale(&self) -> usize {
        let levels = self.decoder.as_ref().map(|d| &d.levels).or(self.encoder.as_ref().map(|e| &e.levels));
        levels.map_or(1, |l| 1 << l.iter().filter(|l| l.resize.is_some()).count())
    }

    /// Bytes of its weights.
    pub fn bytes(&self) -> usize {
        self.params.bytes()
    }

    /// Its prepared weights.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Decodes a raw latent (`[n, channels, h, w]`, already divided by the family's scale) to pixels in −1 to 1,
    /// not clamped.
    pub fn decode(&self, latent: &Tensor) -> Result<Tensor> {
        self.decode_unless(latent, &|| false)
    }

    /// As [`Vae::decode`], until `stop` says so: it then ends with [`Error::Cancelled`].
    pub fn decode_unless(&self, latent: &Tensor, stop: &dyn Fn() -> bool) -> Result<Tensor> {
        let decoder = self.decoder.as_ref().ok_or_else(|| self.lacks("decoder"))?;
        self.check("latent", latent, self.latent_channels)?;
        let x = self.ops.from_nchw(latent)?;
        self.ops.to_nchw(&decoder.forward(&self.ops, x, stop)?)
    }

    /// Encodes pixels in −1 to 1 (`[n, 3, h, w]`) to the mean of the latent's distribution, not scaled.
    pub fn encode(&self, pixels: &Tensor) -> Result<Tensor> {
        self.encode_unless(pixels, &|| false)
    }

    /// As [`Vae::encode`], until `stop` says so: it then ends with [`Error::Cancelled`].
    pub fn encode_unless(&self, pixels: &Tensor, stop: &dyn Fn() -> bool) -> Result<Tensor> {
        let encoder = self.encoder.as_ref().ok_or_else(|| self.lacks("encoder"))?;
        self.check("pixels", pixels, encoder.input.input)?;
        let x = self.ops.from_nchw(pixels)?;
        let moments = self.ops.to_nchw(&encoder.forward(&self.ops, x, stop)?)?;
        Ok(moments.narrow(1, 0, self.latent_channels)?.contiguous()?)
    }

    fn lacks(&self, half: &'static str) -> Error {
        Error::MissingTensor { what: "VAE", name: format!("{half}.conv_in.weight") }
    }

    fn check(&self, input: &'static str, x: &Tensor, channels: usize) -> Result<()> {
        let (_, c, _, _) = x.dims4()?;
        if c == channels {
            return Ok(());
        }
        Err(Error::Input {
            model: "VAE",
            input,
            found: format!("{c} channels"),
            expected: channels.to_string(),
        })
    }
}

fn last_norm() -> GroupNorm {
    GroupNorm { groups: GROUPS, eps: EPS, silu: true, out: Out::Operand }
}

fn optional(w: &Loader<'_>, name: &str) -> Result<Option<Arc<Linear>>> {
    if w.has(&format!("{name}.weight")) { Ok(Some(w.linear(name)?)) } else { Ok(None) }
}

impl Encoder {
    fn load(root: &Loader<'_>) -> Result<Self> {
        let w = root.at("encoder");
        let levels = w.count(|i| format!("down.{i}.block.0.norm1.weight"));
        Ok(Self {
            input: w.conv("conv_in")?,
            levels: (0..levels)
                .map(|i| Level::load(&w.at(format!("down.{i}")), "downsample"))
                .collect::<Result<_>>()?,
            middle: Middle::load(&w.at("mid"))?,
            norm: w.norm("norm_out")?,
            output: w.conv("conv_out")?,
            quant: optional(root, "quant_conv")?,
        })
    }

    fn forward(&self, ops: &Ops, x: Act, stop: Stop<'_>) -> Result<Act> {
        let mut h = ops.conv(&self.input, &[&x], ConvShape::same(3), Epilogue::default())?;
        // Halving pads below and to the right only.
        let half = ConvShape { stride: 2, pad: [0, 1, 0, 1], upsample: false };
        for level in &self.levels {
            h = level.forward(ops, h, half, stop)?;
        }
        h = self.middle.forward(ops, h)?;
        let a = ops.group_norm(&[&h], &self.norm, last_norm())?;
        let y = ops.conv(&self.output, &[&a], ConvShape::same(3), Epilogue::default())?;
        match &self.quant {
            Some(quant) => ops.linear(quant, &y, Epilogue::default()),
            None => Ok(y),
        }
    }
}

impl Decoder {
    fn load(root: &Loader<'_>) -> Result<Self> {
        let w = root.at("decoder");
        let levels = w.count(|i| format!("up.{i}.block.0.norm1.weight"));
        Ok(Self {
            post_quant: optional(root, "post_quant_conv")?,
            input: w.conv("conv_in")?,
            middle: Middle::load(&w.at("mid"))?,
            // The coarsest level has the highest number and comes first.
            levels: (0..levels)
                .rev()
                .map(|i| Level::load(&w.at(format!("up.{i}")), "upsample"))
                .collect::<Result<_>>()?,
            norm: w.norm("norm_out")?,
            output: w.conv("conv_out")?,
        })
    }

    fn forward(&self, ops: &Ops, x: Act, stop: Stop<'_>) -> Result<Act> {
        let x = match &self.post_quant {
            Some(linear) => ops.linear(linear, &x, Epilogue::default())?,
            None => x,
        };
        let mut h = ops.conv(&self.input, &[&x], ConvShape::same(3), Epilogue::default())?;
        h = self.middle.forward(ops, h)?;
        let double = ConvShape { upsample: true, ..ConvShape::same(3) };
        for level in &self.levels {
            h = level.forward(ops, h, double, stop)?;
        }
        let a = ops.group_norm(&[&h], &self.norm, last_norm())?;
        drop(h);
        ops.conv(&self.output, &[&a], ConvShape::same(3), Epilogue::default())
    }
}
