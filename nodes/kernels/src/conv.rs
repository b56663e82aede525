//! Convolutions over NHWC images.

use crate::error::{Result, at_least, expect, product as volume, unsupported};
use crate::gemm::{Epilogue, Finish, Product, Shape, compute_type, product, stage};
use crate::kernels::Kernels;
use crate::pack::PackedConv;
use crate::view::{Layout, View, ViewMut};
use crate::winograd::{self, Tiles};

/// A channel-last image whose channels are all or a part of an operator's input.
#[derive(Debug, Clone, Copy)]
pub struct Plane<'a> {
    /// `[batch, height, width, channels]`.
    pub data: View<'a>,
    /// Channels of this part.
    pub channels: usize,
}

/// Rows and columns of zeros around an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Padding {
    /// Above.
    pub top: usize,
    /// Below.
    pub bottom: usize,
    /// On the left.
    pub left: usize,
    /// On the right.
    pub right: usize,
}

impl Padding {
    /// The same on all sides.
    pub const fn all(n: usize) -> Self {
        Padding { top: n, bottom: n, left: n, right: n }
    }
}

/// A convolution of one image, or of two whose channels are taken together.
#[derive(Debug)]
pub struct Conv2d<'a> {
    /// One plane, or two to be concatenated along channels.
    pub x: &'a [Plane<'a>],
    /// Images.
    pub batch: usize,
    /// Height of the input.
    pub height: usize,
    /// Width of the input.
    pub width: usize,
    /// The packed weight and bias.
    pub w: &'a PackedConv,
    /// Steps between outputs, down and across.
    pub stride: [usize; 2],
    /// Zeros around the image (after upsampling).
    pub padding: Padding,
    /// Doubles the image by repeating pixels before the convolution.
    pub upsample: bool,
    /// What happens to the result; a sample is an image.
    pub epilogue: Epilogue<'a>,
    /// `[batch, out height, out width, out channels]`; see [`Conv2d::output_size`].
    pub out: ViewMut<'a>,
}

const OP: &str = "conv2d";

impl Conv2d<'_> {
    /// Height and width of the result.
    pub fn output_size(&self) -> Result<(usize, usize)> {
        let scale = if self.upsample { 2 } else { 1 };
        let along = |size: usize, before: usize, after: usize, kernel: usize, stride: usize| {
            let padded = volume(OP, &[size, scale])? + before + after;
            if stride == 0 || kernel == 0 || kernel > padded {
                return unsupported(OP, format!("kernel {kernel}, stride {stride} over {padded} pixels"));
            }
            Ok((padded - kernel) / stride + 1)
        };
        let (p, [kh, kw]) = (self.padding, self.w.kernel);
        let h = along(self.height, p.top, p.bottom, kh, self.stride[0])?;
        Ok((h, along(self.width, p.left, p.right, kw, self.stride[1])?))
    }
}

impl Kernels {
    /// Runs a convolution. An input of the other type than the layer's precision multiplies is converted first.
    pub fn conv2d(&self, args: Conv2d<'_>) -> Result<()> {
        let (oh, ow) = args.output_size()?;
        let Conv2d { x, batch, height, width, w, stride, padding, upsample, epilogue, mut out } = args;
        if x.is_empty() || x.len() > 2 {
            return unsupported(OP, format!("{} inputs, 1 or 2 are possible", x.len()));
        }
        expect(OP, "input channels", w.in_channels(), x.iter().map(|p| p.channels).sum())?;
        let pixels = volume(OP, &[batch, height, width])?;
        for p in x {
            at_least(OP, "input length", volume(OP, &[pixels, p.channels])?, p.data.len())?;
        }
        let rows = volume(OP, &[batch, oh, ow])?;
        let layout = Layout::dense(w.out_channels());
        let shape = Shape {
            op: OP,
            rows,
            samples: batch,
            outputs: w.out_channels(),
            layout,
            bias: w.packed.bias.as_deref(),
            glu: None,
        };
        let finish = Finish::new(&epilogue, &mut out, shape)?;
        let compute = compute_type(self.path(), w.packed.precision);
        let same = stride == [1, 1] && padding == Padding::all(1) && w.kernel == [3, 3];
        let (k, outputs) = (w.in_channels(), w.out_channels());
        if same && self.uses_winograd() && winograd::wins(w.packed.taps, k, outputs, rows, compute) {
            let w = &w.packed;
            return winograd::convolve(self, &Tiles { planes: x, batch, height, width, upsample, w, finish });
        }
        let planes: Vec<_> = x.iter().map(|p| (p.data, p.channels, Layout::dense(p.channels))).collect();
        let inputs = stage(self, compute, pixels, &planes)?;
        let shift = usize::from(upsample);
        let [_, kw] = w.kernel;
        let source = |m: usize, tap: usize| {
            let (n, r) = (m / (oh * ow), m % (oh * ow));
            // Zero-based in the padded image; below `top` or past the image wraps or fails the test.
            let y = ((r / ow) * stride[0] + tap / kw).wrapping_sub(padding.top);
            let x = ((r % ow) * stride[1] + tap % kw).wrapping_sub(padding.left);
            (y < height << shift && x < width << shift)
                .then(|| (n * height + (y >> shift)) * width + (x >> shift))
        };
        product(
            self,
            Product {
                w: &w.packed,
                rows,
                inputs: &inputs,
                compute,
                finish,
                out: layout,
                rows_per_sample: oh * ow,
                source,
            },
        )
    }
}
