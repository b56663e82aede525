//! T2I adapters (Mou et al. 2023): a small network that reads a hint once, and what it adds to a UNet's input blocks.

use std::sync::Arc;

use candle_core::Tensor;

use crate::{
    Error, LoadOptions, Params, Result,
    denoiser::Residuals,
    ops::{Act, Activation, Conv, ConvShape, Dims, Epilogue, Ops, Out},
    params::{Loader, load},
    source::Source,
};

/// An adapter ready to run.
pub struct Adapter {
    ops: Ops,
    /// The first convolution, of the large kind.
    first: Option<Arc<Conv>>,
    levels: Vec<Level>,
    /// Pixels along a side of what becomes one position.
    unshuffle: usize,
    channels: usize,
    params: Params,
}

/// What makes one of the features.
struct Level {
    blocks: Vec<Block>,
    /// Convolutions around the blocks, of the light kind.
    around: Option<(Arc<Conv>, Arc<Conv>)>,
    /// Whether the light kind halves before.
    halves: bool,
}

struct Block {
    down: Down,
    input: Option<Arc<Conv>>,
    first: Arc<Conv>,
    second: Arc<Conv>,
    skip: Option<Arc<Conv>>,
}

enum Down {
    No,
    Mean,
    Conv(Arc<Conv>),
}

/// Levels of an adapter: one for each resolution.
const LEVELS: usize = 4;

impl Adapter {
    /// Loads tensors in the original naming, `body.…` and `conv_in`, without an `adapter.` before them.
    pub fn load<'a>(ops: &'a Ops, source: &'a dyn Source, options: LoadOptions<'a>) -> Result<Self> {
        let (net, params) = load(ops, source, "T2I adapter", options, |w| {
            let body = w.at("body");
            let is_light = w.has("body.0.in_conv.weight") && !w.has("conv_in.weight");
            let (first, input) = if is_light {
                (None, w.shape("body.0.in_conv.weight")?[1])
            } else {
                (Some(w.conv("conv_in")?), w.shape("conv_in.weight")?[1])
            };
            let is_xl = !is_light && matches!(input, 256 | 768);
            let unshuffle = if is_xl { 16 } else { 8 };
            let levels = if is_light {
                (0..LEVELS).map(|i| Level::light(&body.at(i), i > 0)).collect::<Result<Vec<_>>>()?
            } else {
                let blocks = body.count(|i| format!("{i}.block1.weight"));
                let each = (blocks / LEVELS).max(1);
                // The large kind halves at one level only.
                let halves = |level: usize| if is_xl { level == 2 } else { level > 0 };
                (0..LEVELS)
                    .map(|level| {
                        let blocks = (0..each)
                            .map(|i| Block::load(&body.at(level * each + i), i == 0 && halves(level)))
                            .collect::<Result<_>>()?;
                        Ok(Level { blocks, around: None, halves: false })
                    })
                    .collect::<Result<Vec<_>>>()?
            };
            let channels = input / (unshuffle * unshuffle);
            Ok(Self { ops: ops.clone(), first, levels, unshuffle, channels, params: Params::default() })
        })?;
        Ok(Self { params, ..net })
    }

    /// Bytes of its weights.
    pub fn bytes(&self) -> usize {
        self.params.bytes()
    }

    /// A hint's sides must be multiples of this.
    pub fn multiple(&self) -> usize {
        self.unshuffle
    }

    /// What it adds to the UNet for a hint, `[n, 3, 8h, 8w]` in 0 to 1 for latents of `h × w`, times `strength`.
    pub fn residuals(&self, pixels: &Tensor, strength: f32) -> Result<Residuals> {
        let ops = &self.ops;
        let pixels = if self.channels == 1 { pixels.mean_keepdim(1)? } else { pixels.clone() };
        let (n, c, height, width) = pixels.dims4()?;
        let by = self.unshuffle;
        if c != self.channels || height % by != 0 || width % by != 0 {
            let expected = format!("{} channels and sides that are multiples of {by}", self.channels);
            let found = format!("{c} × {height} × {width}");
            return Err(Error::Input { model: "T2I adapter", input: "hint", found, expected });
        }
        let (h, w) = (height / by, width / by);
        let x = pixels.reshape(vec![n, c, h, by, w, by])?.permute(vec![0, 1, 3, 5, 2, 4])?;
        let mut x = ops.from_nchw(&x.contiguous()?.reshape((n, c * by * by, h, w))?)?;
        if let Some(first) = &self.first {
            x = ops.conv(first, &[&x], ConvShape::same(3), Epilogue::default())?;
        }
        let mut features = Vec::with_capacity(LEVELS);
        for level in &self.levels {
            x = level.forward(ops, x)?;
            let scaled = ops.upload(x.dims(), &scaled(ops.download(&x)?, strength))?;
            features.push(Some(Arc::new(scaled)));
        }
        Ok(self.placed(features))
    }

    /// Features at the blocks that they are added after.
    fn placed(&self, features: Vec<Option<Arc<Act>>>) -> Residuals {
        let mut residuals = Residuals::default();
        let is_xl = self.unshuffle == 16;
        let places: [usize; LEVELS] = if is_xl { [3, 5, 8, usize::MAX] } else { [2, 5, 8, 11] };
        for (feature, place) in features.into_iter().zip(places) {
            if place == usize::MAX {
                residuals.middle = feature;
            } else {
                residuals.input.resize(place, None);
                residuals.input.push(feature);
            }
        }
        residuals
    }
}

fn scaled(mut values: Vec<f32>, by: f32) -> Vec<f32> {
    values.iter_mut().for_each(|v| *v *= by);
    values
}

impl Level {
    fn light(w: &Loader<'_>, halves: bool) -> Result<Self> {
        let body = w.at("body");
        let count = body.count(|i| format!("{i}.block1.weight"));
        let blocks = (0..count).map(|i| Block::load(&body.at(i), false)).collect::<Result<_>>()?;
        Ok(Self { blocks, around: Some((w.conv("in_conv")?, w.conv("out_conv")?)), halves })
    }

    fn forward(&self, ops: &Ops, x: Act) -> Result<Act> {
        let mut x = if self.halves { halved(ops, &x)? } else { x };
        let point = |conv: &Conv, x: &Act| ops.conv(conv, &[x], ConvShape::same(1), Epilogue::default());
        if let Some((before, _)) = &self.around {
            x = point(before, &x)?;
        }
        for block in &self.blocks {
            x = block.forward(ops, x)?;
        }
        match &self.around {
            Some((_, after)) => point(after, &x),
            None => Ok(x),
        }
    }
}

impl Block {
    fn load(w: &Loader<'_>, halves: bool) -> Result<Self> {
        let optional =
            |name: &str| if w.has(&format!("{name}.weight")) { w.conv(name).map(Some) } else { Ok(None) };
        let down = match optional("down_opt.op")? {
            Some(conv) => Down::Conv(conv),
            None if halves => Down::Mean,
            None => Down::No,
        };
        Ok(Self {
            down,
            input: optional("in_conv")?,
            first: w.conv("block1")?,
            second: w.conv("block2")?,
            skip: optional("skep")?,
        })
    }

    fn forward(&self, ops: &Ops, x: Act) -> Result<Act> {
        let same = |conv: &Conv| ConvShape::same(conv.kernel[0]);
        let mut x = match &self.down {
            Down::No => x,
            Down::Mean => halved(ops, &x)?,
            Down::Conv(conv) => ops.conv(conv, &[&x], ConvShape::half(), Epilogue::default())?,
        };
        if let Some(conv) = &self.input {
            x = ops.conv(conv, &[&x], same(conv), Epilogue::default())?;
        }
        let relu = Epilogue::activation(Activation::Relu, Out::Operand);
        let h = ops.conv(&self.first, &[&x], ConvShape::same(3), relu)?;
        let skip = match &self.skip {
            Some(conv) => Some(ops.conv(conv, &[&x], same(conv), Epilogue::default())?),
            None => None,
        };
        ops.conv(&self.second, &[&h], same(&self.second), Epilogue::residual(skip.as_ref().unwrap_or(&x)))
    }
}

/// Means of squares of four; a side of an odd length gets a row of zeros at both ends first, as in the reference.
fn halved(ops: &Ops, x: &Act) -> Result<Act> {
    let (d, values) = (x.dims(), ops.download(x)?);
    let (top, left) = (d.h % 2, d.w % 2);
    let (h, w) = ((d.h + 2 * top) / 2, (d.w + 2 * left) / 2);
    let mut out = vec![0f32; d.n * h * w * d.c];
    for n in 0..d.n {
        for y in 0..d.h {
            for x in 0..d.w {
                let (to_y, to_x) = ((y + top) / 2, (x + left) / 2);
                if to_y < h && to_x < w {
                    let from = &values[((n * d.h + y) * d.w + x) * d.c..][..d.c];
                    let to = &mut out[((n * h + to_y) * w + to_x) * d.c..][..d.c];
                    to.iter_mut().zip(from).for_each(|(t, f)| *t += 0.25 * f);
                }
            }
        }
    }
    ops.upload(Dims { h, w, ..d }, &out)
}
