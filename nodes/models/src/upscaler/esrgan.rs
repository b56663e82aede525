//! Residual-in-residual dense blocks (Wang et al. 2018), under the names of the three codes that trained them.

use std::sync::Arc;

use candle_core::Tensor;

use crate::{
    Result,
    ops::{Act, Activation, Conv, ConvShape, Epilogue, Ops, Out},
    params::Loader,
};

/// What residual branches are scaled by.
const BRANCH: f32 = 0.2;
const LRELU: Activation = Activation::LeakyRelu(0.2);

pub(super) struct Esrgan {
    first: Arc<Conv>,
    blocks: Vec<[Dense; 3]>,
    body: Arc<Conv>,
    /// Each after a doubling.
    up: Vec<Arc<Conv>>,
    high: Arc<Conv>,
    last: Arc<Conv>,
    /// Squares of so many pixels become channels before anything else.
    fold: usize,
}

/// Five convolutions, each of which sees what all before it made.
struct Dense([Arc<Conv>; 5]);

impl Dense {
    fn load(w: &Loader<'_>) -> Result<Self> {
        // The old code wrapped each convolution in a sequence of its own.
        let conv = |i: usize| {
            w.conv(&if w.has("conv1.0.weight") { format!("conv{i}.0") } else { format!("conv{i}") })
        };
        Ok(Self([conv(1)?, conv(2)?, conv(3)?, conv(4)?, conv(5)?]))
    }

    fn forward(&self, ops: &Ops, x: &Act, residual: Option<&Act>) -> Result<Act> {
        let [c1, c2, c3, c4, c5] = &self.0;
        let same = ConvShape::same(3);
        let lrelu = Epilogue::activation(LRELU, Out::Stream);
        let mut grown = ops.conv(c1, &[x], same, lrelu)?;
        let mut seen = ops.concat_channels(&[x, &grown])?;
        for conv in [c2, c3] {
            grown = ops.conv(conv, &[&seen], same, lrelu)?;
            seen = ops.concat_channels(&[&seen, &grown])?;
        }
        grown = ops.conv(c4, &[&seen], same, lrelu)?;
        let scaled = Epilogue { scale: Some(BRANCH), ..Epilogue::residual(x) };
        let y = ops.conv(c5, &[&seen, &grown], same, scaled)?;
        match residual {
            Some(residual) => ops.add(residual, &y, BRANCH),
            None => Ok(y),
        }
    }
}

impl Esrgan {
    /// `None` where the tensors are of no layout known here.
    pub(super) fn load(w: &Loader<'_>) -> Result<Option<Self>> {
        if w.has("model.1.sub.0.RDB1.conv1.0.weight") {
            return Self::load_sequence(&w.at("model")).map(Some);
        }
        let new = w.has("body.0.rdb1.conv1.weight");
        if !new && !w.has("RRDB_trunk.0.RDB1.conv1.weight") {
            return Ok(None);
        }
        let (blocks, part, body, up, high) = if new {
            ("body", "rdb", "conv_body", "conv_up", "conv_hr")
        } else {
            ("RRDB_trunk", "RDB", "trunk_conv", "upconv", "HRconv")
        };
        let first = w.conv("conv_first")?;
        let ups = (1..).take_while(|i| w.has(&format!("{up}{i}.weight"))).count();
        let fold = match first.input {
            12 => 2,
            48 => 4,
            _ => 1,
        };
        Ok(Some(Self {
            blocks: load_blocks(&w.at(blocks), part)?,
            body: w.conv(body)?,
            up: (1..=ups).map(|i| w.conv(&format!("{up}{i}"))).collect::<Result<_>>()?,
            high: w.conv(high)?,
            last: w.conv("conv_last")?,
            first,
            fold,
        }))
    }

    /// The old layout: one sequence, in which doublings and activations have no tensors.
    fn load_sequence(w: &Loader<'_>) -> Result<Self> {
        let blocks = load_blocks(&w.at("1.sub"), "RDB")?;
        let body = w.conv(&format!("1.sub.{}", blocks.len()))?;
        let numbered: Vec<usize> = (2..64).filter(|i| w.has(&format!("{i}.weight"))).collect();
        let mut convs = numbered.iter().map(|i| w.conv(&i.to_string())).collect::<Result<Vec<_>>>()?;
        let missing = || crate::Error::MissingTensor { what: "upscale model", name: w.name("10.weight") };
        let last = convs.pop().ok_or_else(missing)?;
        let high = convs.pop().ok_or_else(missing)?;
        Ok(Self { first: w.conv("0")?, blocks, body, up: convs, high, last, fold: 1 })
    }

    pub(super) fn scale(&self) -> usize {
        (1 << self.up.len()) / self.fold
    }

    pub(super) fn forward(&self, ops: &Ops, pixels: &Tensor) -> Result<Act> {
        let same = ConvShape::same(3);
        let x = ops.from_nchw(&fold(pixels, self.fold)?)?;
        let first = ops.conv(&self.first, &[&x], same, Epilogue::default())?;
        let mut h: Option<Act> = None;
        for [a, b, c] in &self.blocks {
            let x = h.as_ref().unwrap_or(&first);
            let y = a.forward(ops, x, None)?;
            let y = b.forward(ops, &y, None)?;
            h = Some(c.forward(ops, &y, Some(x))?);
        }
        let mut h =
            ops.conv(&self.body, &[h.as_ref().unwrap_or(&first)], same, Epilogue::residual(&first))?;
        let lrelu = Epilogue::activation(LRELU, Out::Stream);
        for up in &self.up {
            h = ops.conv(up, &[&h], ConvShape { upsample: true, ..same }, lrelu)?;
        }
        let h = ops.conv(&self.high, &[&h], same, lrelu)?;
        ops.conv(&self.last, &[&h], same, Epilogue::default())
    }
}

fn load_blocks(w: &Loader<'_>, part: &str) -> Result<Vec<[Dense; 3]>> {
    let count = w.count(|i| {
        let old = format!("{i}.{part}1.conv1.0.weight");
        if w.has(&old) { old } else { format!("{i}.{part}1.conv1.weight") }
    });
    let dense = |i: usize, j: usize| Dense::load(&w.at(format!("{i}.{part}{j}")));
    (0..count).map(|i| Ok([dense(i, 1)?, dense(i, 2)?, dense(i, 3)?])).collect()
}

/// Squares of `f × f` pixels to channels, edges repeated to a whole square.
pub(super) fn fold(x: &Tensor, f: usize) -> Result<Tensor> {
    if f == 1 {
        return Ok(x.clone());
    }
    let (n, c, h, w) = x.dims4()?;
    let (down, right) = (h.next_multiple_of(f) - h, w.next_multiple_of(f) - w);
    let x = x.pad_with_same(2, 0, down)?.pad_with_same(3, 0, right)?;
    let (h, w) = ((h + down) / f, (w + right) / f);
    let x = x.reshape(vec![n, c, h, f, w, f])?.permute(vec![0, 1, 3, 5, 2, 4])?;
    Ok(x.reshape((n, c * f * f, h, w))?)
}
