//! Arguments of the operators, as structs with named fields.

use std::sync::Arc;

use super::{Act, Cols, Norm};

/// A function applied to every value.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Activation {
    /// `x`.
    #[default]
    None,
    /// `x · sigmoid(x)`.
    Silu,
    /// The exact GELU, with erf.
    Gelu,
    /// GELU's tanh approximation.
    GeluTanh,
    /// `x · sigmoid(1.702 x)`, as OpenAI's CLIP has it.
    QuickGelu,
    /// `max(x, 0)`.
    Relu,
    /// `x` where positive, else `slope · x`.
    LeakyRelu(f32),
    /// `3 · tanh(x / 3)`, TAESD's soft clamp.
    SoftClamp3,
}

/// Which precision a result is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Out {
    /// Part of the residual stream: f32.
    #[default]
    Stream,
    /// Only read by matrix products: the precision they compute in.
    Operand,
}

/// What happens to a product before it is stored: `residual + scale · gate · activation(product + add)`.
#[derive(Clone, Copy, Default)]
pub struct Epilogue<'a> {
    /// One row a sample, added to every position of it.
    pub add: Option<Cols<'a>>,
    /// Applied to every value.
    pub activation: Activation,
    /// One row a sample, multiplied into every position of it.
    pub gate: Option<Cols<'a>>,
    /// A constant factor.
    pub scale: Option<f32>,
    /// Added last.
    pub residual: Option<&'a Act>,
    /// Which precision the result is for.
    pub out: Out,
}

impl<'a> Epilogue<'a> {
    /// Nothing but the store, for matrix products to read.
    pub fn operand() -> Self {
        Self { out: Out::Operand, ..Self::default() }
    }

    /// Adds to the residual stream.
    pub fn residual(residual: &'a Act) -> Self {
        Self { residual: Some(residual), ..Self::default() }
    }

    /// An activation, then the store.
    pub fn activation(activation: Activation, out: Out) -> Self {
        Self { activation, out, ..Self::default() }
    }
}

/// How a convolution walks its input.
#[derive(Debug, Clone, Copy)]
pub struct ConvShape {
    /// Step in both directions.
    pub stride: usize,
    /// Zeros around the input: top, bottom, left, right.
    pub pad: [usize; 4],
    /// Whether the input is doubled in both directions first (nearest neighbour).
    pub upsample: bool,
}

impl ConvShape {
    /// Stride 1, the same size out as in, for an odd kernel.
    pub fn same(kernel: usize) -> Self {
        Self { stride: 1, pad: [kernel / 2; 4], upsample: false }
    }

    /// Stride 2 with a 3×3 kernel and one zero all around.
    pub fn half() -> Self {
        Self { stride: 2, pad: [1; 4], upsample: false }
    }

    /// Size of the output for an input of `h` × `w`.
    pub fn output(&self, h: usize, w: usize, kernel: [usize; 2]) -> (usize, usize) {
        let up = if self.upsample { 2 } else { 1 };
        let [top, bottom, left, right] = self.pad;
        let axis = |len: usize, before: usize, after: usize, k: usize| {
            (len * up + before + after).saturating_sub(k) / self.stride + 1
        };
        (axis(h, top, bottom, kernel[0]), axis(w, left, right, kernel[1]))
    }
}

/// An additive mask of attention scores: `[n, heads, queries, keys]`, where each of the first three may be 1.
#[derive(Debug, Clone)]
pub struct Mask {
    /// Row-major values; `-inf` hides a key.
    pub values: Arc<Vec<f32>>,
    /// Its four dimensions.
    pub dims: [usize; 4],
}

/// Arguments of attention.
#[derive(Clone, Copy)]
pub struct Attention<'a> {
    /// Queries: `heads` groups of columns.
    pub q: Cols<'a>,
    /// Keys.
    pub k: Cols<'a>,
    /// Values.
    pub v: Cols<'a>,
    /// How many heads the columns hold.
    pub heads: usize,
    /// Factor of the scores; `None` is one over the root of the head's size.
    pub scale: Option<f32>,
    /// Added to the scores.
    pub mask: Option<&'a Mask>,
    /// Whether a query sees only keys up to its own position.
    pub causal: bool,
}

impl<'a> Attention<'a> {
    /// Unmasked attention with the usual scale.
    pub fn new(heads: usize, q: Cols<'a>, k: Cols<'a>, v: Cols<'a>) -> Self {
        Self { q, k, v, heads, scale: None, mask: None, causal: false }
    }
}

/// Arguments of group normalisation.
#[derive(Debug, Clone, Copy)]
pub struct GroupNorm {
    /// How many groups the channels form.
    pub groups: usize,
    /// Added to the variance.
    pub eps: f32,
    /// Whether SiLU follows.
    pub silu: bool,
    /// Which precision the result is for.
    pub out: Out,
}

/// Arguments of layer normalisation.
#[derive(Clone, Copy)]
pub struct LayerNorm<'a> {
    /// Gain and bias, where the layer has them.
    pub norm: Option<&'a Norm>,
    /// Added to the variance.
    pub eps: f32,
    /// `(shift, scale)`, one row a sample: `y · (1 + scale) + shift`.
    pub modulation: Option<(Cols<'a>, Cols<'a>)>,
    /// Which precision the result is for.
    pub out: Out,
}

/// Rotation of pairs of channels by an angle that depends on the position.
#[derive(Debug, Clone)]
pub struct Rope {
    /// Cosines, `[positions, head / 2]`.
    pub cos: Vec<f32>,
    /// Sines, `[positions, head / 2]`.
    pub sin: Vec<f32>,
}

/// Arguments of the in-place treatment of queries and keys.
#[derive(Clone, Copy)]
pub struct HeadNorm<'a> {
    /// The first column.
    pub start: usize,
    /// How many heads follow.
    pub heads: usize,
    /// Channels a head.
    pub size: usize,
    /// RMS normalisation of each head, with its gain and epsilon.
    pub norm: Option<(&'a Norm, f32)>,
    /// Rotation of channels `(2i, 2i + 1)`.
    pub rope: Option<&'a Rope>,
}
