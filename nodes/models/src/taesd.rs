//! TAESD: an autoencoder small enough to look at every step (Ollin Boer Bohan's `madebyollin/taesd`).
//!
//! Its layers are numbered in one sequence, in which only convolutions and blocks have tensors. Those without a
//! bias, within the sequence, are the ones that halve (encoder) or follow a doubling (decoder).

use std::sync::Arc;

use candle_core::Tensor;

use crate::{
    Error, LoadOptions, Params, Result,
    ops::{Act, Activation, Conv, ConvShape, Epilogue, Ops, Out},
    params::{Loader, load},
    source::Source,
};

/// The autoencoder, or the half of it that a file holds.
pub struct Taesd {
    ops: Ops,
    encoder: Option<Vec<Layer>>,
    decoder: Option<Vec<Layer>>,
    latent_channels: usize,
    scale: f64,
    shift: f64,
    params: Params,
}

enum Layer {
    Conv { conv: Arc<Conv>, resizes: bool },
    Block { convs: [Arc<Conv>; 3], skip: Option<Arc<Conv>> },
}

/// Relates the small autoencoder's latents to those of the family's own.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scaling {
    /// Factor from the family's latents to its own.
    pub scale: f64,
    /// Subtracted before the factor is applied.
    pub shift: f64,
}

impl Taesd {
    /// Loads `taesd_encoder.…` and `taesd_decoder.…`, or the `encoder` and `decoder` of files that hold one half
    /// each. `scaling` is the family's, used where the file doesn't hold its own (`vae_scale`, `vae_shift`).
    pub fn load<'a>(
        ops: &'a Ops,
        source: &'a dyn Source,
        scaling: Scaling,
        options: LoadOptions<'a>,
    ) -> Result<Self> {
        let (taesd, params) = load(ops, source, "TAESD", options, |w| {
            let half = |name: &str, first: &str| {
                let w = w.at(name);
                if w.has(first) { layers(&w).map(Some) } else { Ok(None) }
            };
            let number = |name: &str, or: f64| -> Result<f64> {
                let first = if w.has(name) { w.values(name)?.first().copied() } else { None };
                Ok(first.map_or(or, f64::from))
            };
            let (encoder, decoder) = (half("taesd_encoder", "0.weight")?, half("taesd_decoder", "1.weight")?);
            if encoder.is_none() && decoder.is_none() {
                return Err(Error::MissingTensor { what: "TAESD", name: "taesd_decoder.1.weight".into() });
            }
            let first = decoder.as_deref().and_then(<[Layer]>::first).map(|layer| layer.channels().0);
            let last = encoder.as_deref().and_then(<[Layer]>::last).map(|layer| layer.channels().1);
            Ok(Self {
                ops: ops.clone(),
                latent_channels: first.or(last).unwrap_or(0),
                encoder,
                decoder,
                scale: number("vae_scale", scaling.scale)?,
                shift: number("vae_shift", scaling.shift)?,
                params: Params::default(),
            })
        })?;
        Ok(Self { params, ..taesd })
    }

    /// Bytes of its weights.
    pub fn bytes(&self) -> usize {
        self.params.bytes()
    }

    /// Channels of its latents.
    pub fn latent_channels(&self) -> usize {
        self.latent_channels
    }

    /// Pixels along one side of a latent cell.
    pub fn scale(&self) -> usize {
        let halves = |layers: &Vec<Layer>| {
            layers.iter().filter(|l| matches!(l, Layer::Conv { resizes: true, .. })).count()
        };
        self.decoder.as_ref().or(self.encoder.as_ref()).map_or(1, |layers| 1 << halves(layers))
    }

    /// Decodes a raw latent to pixels in −1 to 1, not clamped.
    pub fn decode(&self, latent: &Tensor) -> Result<Tensor> {
        let layers = self.half(&self.decoder, "taesd_decoder")?;
        let x = self.ops.from_nchw(&((latent - self.shift)? * self.scale)?)?;
        let x = self.ops.activate(&x, Activation::SoftClamp3, Out::Stream)?;
        let y =
            run(&self.ops, layers, x, ConvShape { upsample: true, ..ConvShape::same(3) }, Activation::Relu)?;
        Ok(self.ops.to_nchw(&y)?.affine(2.0, -1.0)?)
    }

    /// Encodes pixels in −1 to 1 to a raw latent.
    pub fn encode(&self, pixels: &Tensor) -> Result<Tensor> {
        let layers = self.half(&self.encoder, "taesd_encoder")?;
        let x = self.ops.from_nchw(&pixels.affine(0.5, 0.5)?)?;
        let y = run(&self.ops, layers, x, ConvShape::half(), Activation::None)?;
        Ok(((self.ops.to_nchw(&y)? / self.scale)? + self.shift)?)
    }

    fn half<'a>(&self, half: &'a Option<Vec<Layer>>, name: &str) -> Result<&'a [Layer]> {
        half.as_deref()
            .ok_or_else(|| Error::MissingTensor { what: "TAESD", name: format!("{name}.….weight") })
    }
}

impl Layer {
    /// Channels in and out.
    fn channels(&self) -> (usize, usize) {
        match self {
            Self::Conv { conv, .. } => (conv.input, conv.output),
            Self::Block { convs: [first, _, last], .. } => (first.input, last.output),
        }
    }
}

/// Reads the sequence; a gap of one is a layer without tensors.
fn layers(w: &Loader<'_>) -> Result<Vec<Layer>> {
    let mut found = Vec::new();
    let mut gap = 0;
    for i in 0.. {
        let part = w.at(i);
        if part.has("conv.0.weight") {
            let skip = if part.has("skip.weight") { Some(part.conv("skip")?) } else { None };
            found.push(Layer::Block {
                convs: [part.conv("conv.0")?, part.conv("conv.2")?, part.conv("conv.4")?],
                skip,
            });
        } else if part.has("weight") {
            found.push(Layer::Conv { conv: part.conv("")?, resizes: !part.has("bias") });
        } else {
            gap += 1;
            if gap > 1 {
                break;
            }
            continue;
        }
        gap = 0;
    }
    Ok(found)
}

/// `resize` is what convolutions without a bias do; `first` follows the first convolution.
fn run(ops: &Ops, layers: &[Layer], mut x: Act, resize: ConvShape, first: Activation) -> Result<Act> {
    for (i, layer) in layers.iter().enumerate() {
        x = match layer {
            Layer::Conv { conv, resizes } => {
                let shape = if *resizes { resize } else { ConvShape::same(3) };
                let activation = if i == 0 { first } else { Activation::None };
                ops.conv(conv, &[&x], shape, Epilogue::activation(activation, Out::Stream))?
            }
            Layer::Block { convs: [a, b, c], skip } => {
                let relu = Epilogue::activation(Activation::Relu, Out::Operand);
                let h = ops.conv(a, &[&x], ConvShape::same(3), relu)?;
                let h = ops.conv(b, &[&h], ConvShape::same(3), relu)?;
                let skipped = skip
                    .as_ref()
                    .map(|s| ops.conv(s, &[&x], ConvShape::same(1), Epilogue::default()))
                    .transpose()?;
                let sum = ops.conv(
                    c,
                    &[&h],
                    ConvShape::same(3),
                    Epilogue::residual(skipped.as_ref().unwrap_or(&x)),
                )?;
                ops.activate(&sum, Activation::Relu, Out::Stream)?
            }
        };
    }
    Ok(x)
}
