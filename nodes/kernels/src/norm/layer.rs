//! LayerNorm and RMSNorm over rows.

#![allow(unsafe_code)]

use crate::error::{Result, at_least, expect, product};
use crate::gemm::{SendPtr, part, read, write};
use crate::kernels::Kernels;
use crate::simd::{Simd, Task, dispatch};
use crate::view::{DType, Layout, View, ViewMut};

/// `y * (1 + scale) + shift`, one row of each for each sample (adaLN).
#[derive(Debug, Clone, Copy)]
pub struct Modulation<'a> {
    /// `[samples, channels]`.
    pub scale: &'a [f32],
    /// `[samples, channels]`.
    pub shift: &'a [f32],
    /// Rows of one sample.
    pub rows_per_sample: usize,
}

/// Layer normalisation of each row (Ba et al. 2016).
#[derive(Debug)]
pub struct LayerNorm<'a> {
    /// Rows of `channels` values, dense.
    pub x: View<'a>,
    /// Number of rows.
    pub rows: usize,
    /// Values of a row.
    pub channels: usize,
    /// Added to the variance.
    pub eps: f32,
    /// One factor a channel.
    pub weight: Option<&'a [f32]>,
    /// One addend a channel.
    pub bias: Option<&'a [f32]>,
    /// Applied after weight and bias.
    pub modulation: Option<Modulation<'a>>,
    /// Rows of `channels` values, dense.
    pub out: ViewMut<'a>,
}

/// Division of each row by its root mean square (Zhang and Sennrich 2019).
#[derive(Debug)]
pub struct RmsNorm<'a> {
    /// Rows of `channels` values.
    pub x: View<'a>,
    /// Where the rows of `x` lie; `None` when they are dense.
    pub x_layout: Option<Layout>,
    /// Number of rows.
    pub rows: usize,
    /// Values of a row.
    pub channels: usize,
    /// Added to the mean square.
    pub eps: f32,
    /// One factor a channel.
    pub weight: Option<&'a [f32]>,
    /// Applied after the weight.
    pub modulation: Option<Modulation<'a>>,
    /// Rows of `channels` values, dense.
    pub out: ViewMut<'a>,
}

impl Kernels {
    /// Runs a layer normalisation.
    pub fn layer_norm(&self, args: LayerNorm<'_>) -> Result<()> {
        let LayerNorm { x, rows, channels, eps, weight, bias, modulation, out } = args;
        let x_layout = Layout::dense(channels);
        let rows = Rows {
            op: "layer_norm",
            x,
            x_layout,
            rows,
            channels,
            eps,
            weight,
            bias,
            modulation,
            centre: true,
        };
        rows.run(self, out)
    }

    /// Runs a root-mean-square normalisation.
    pub fn rms_norm(&self, args: RmsNorm<'_>) -> Result<()> {
        let RmsNorm { x, x_layout, rows, channels, eps, weight, modulation, out } = args;
        let x_layout = x_layout.unwrap_or(Layout::dense(channels));
        let (op, bias) = ("rms_norm", None);
        Rows { op, x, x_layout, rows, channels, eps, weight, bias, modulation, centre: false }.run(self, out)
    }
}

struct Rows<'a> {
    op: &'static str,
    x: View<'a>,
    x_layout: Layout,
    rows: usize,
    channels: usize,
    eps: f32,
    weight: Option<&'a [f32]>,
    bias: Option<&'a [f32]>,
    modulation: Option<Modulation<'a>>,
    /// Whether the mean is taken away.
    centre: bool,
}

impl Rows<'_> {
    fn run(self, kernels: &Kernels, mut out: ViewMut<'_>) -> Result<()> {
        let (op, rows, channels) = (self.op, self.rows, self.channels);
        at_least(
            op,
            "input length",
            self.x_layout.extent(rows, channels).unwrap_or(usize::MAX),
            self.x.len(),
        )?;
        at_least(op, "output length", product(op, &[rows, channels])?, out.len())?;
        for (what, s) in [("weight length", self.weight), ("bias length", self.bias)] {
            if let Some(s) = s {
                expect(op, what, channels, s.len())?;
            }
        }
        if let Some(m) = &self.modulation {
            let samples = rows.div_ceil(m.rows_per_sample.max(1));
            at_least(op, "modulation scale length", product(op, &[samples, channels])?, m.scale.len())?;
            at_least(op, "modulation shift length", product(op, &[samples, channels])?, m.shift.len())?;
        }
        const BLOCK: usize = 64;
        let (to, out_type) = (SendPtr(out.as_mut_ptr()), out.dtype());
        kernels.threads().each(rows.div_ceil(BLOCK), |t| {
            let range = t * BLOCK..((t + 1) * BLOCK).min(rows);
            // SAFETY: lengths were checked above; tasks write disjoint rows.
            unsafe { dispatch(kernels.path(), RowJob { rows: &self, range, to: to.get(), out_type }) };
        });
        Ok(())
    }
}

struct RowJob<'a> {
    rows: &'a Rows<'a>,
    range: std::ops::Range<usize>,
    to: *mut u8,
    out_type: DType,
}

impl Task for RowJob<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self, s: S) {
        let a = self.rows;
        let (ptr, dtype, n) = (a.x.as_ptr(), a.x.dtype(), a.channels);
        for r in self.range {
            let start = a.x_layout.start(r);
            // SAFETY: `Rows::run` checked every length.
            unsafe {
                let mean = if a.centre { mean(s, ptr, dtype, start, n) } else { 0.0 };
                let square = mean_square(s, ptr, dtype, start, n, mean);
                let scale = s.splat(1.0 / (square + a.eps).sqrt());
                let mean = s.splat(mean);
                let sample = a.modulation.map_or(0, |m| r / m.rows_per_sample.max(1) * n);
                let mut c = 0;
                while c < n {
                    let few = (n - c).min(S::W);
                    let mut v = s.mul(s.sub(read(s, ptr, dtype, start + c, few), mean), scale);
                    if let Some(w) = a.weight {
                        v = s.mul(v, part(s, w.as_ptr().add(c), few));
                    }
                    if let Some(b) = a.bias {
                        v = s.add(v, part(s, b.as_ptr().add(c), few));
                    }
                    if let Some(m) = &a.modulation {
                        let scale = s.add(s.splat(1.0), part(s, m.scale.as_ptr().add(sample + c), few));
                        v = s.fma(v, scale, part(s, m.shift.as_ptr().add(sample + c), few));
                    }
                    write(s, self.to, self.out_type, r * n + c, few, v);
                    c += S::W;
                }
            }
        }
    }
}

/// # Safety
/// `n` elements from `start` are readable.
#[inline(always)]
unsafe fn mean<S: Simd>(s: S, p: *const u8, dtype: DType, start: usize, n: usize) -> f32 {
    let mut sums = [s.splat(0.0); 2];
    let mut c = 0;
    while c < n {
        // SAFETY: the caller's promise; lanes past the end read as 0.
        let v = unsafe { read(s, p, dtype, start + c, (n - c).min(S::W)) };
        sums[0] = s.add(sums[0], v);
        sums.swap(0, 1);
        c += S::W;
    }
    s.sum(s.add(sums[0], sums[1])) / n as f32
}

/// # Safety
/// `n` elements from `start` are readable.
#[inline(always)]
pub(super) unsafe fn mean_square<S: Simd>(
    s: S,
    p: *const u8,
    dtype: DType,
    start: usize,
    n: usize,
    mean: f32,
) -> f32 {
    let (mut sums, centre) = ([s.splat(0.0); 2], s.splat(mean));
    let mut c = 0;
    while c + S::W <= n {
        // SAFETY: the caller's promise.
        let d = s.sub(unsafe { read(s, p, dtype, start + c, S::W) }, centre);
        sums[0] = s.fma(d, d, sums[0]);
        sums.swap(0, 1);
        c += S::W;
    }
    let mut total = s.sum(s.add(sums[0], sums[1]));
    // One by one: lanes past the end would count as (0 - mean)^2.
    for i in c..n {
        // SAFETY: the caller's promise.
        let x = unsafe {
            match dtype {
                DType::F32 => *p.cast::<f32>().add(start + i),
                DType::Bf16 => (*p.cast::<half::bf16>().add(start + i)).to_f32(),
            }
        };
        total += (x - mean) * (x - mean);
    }
    total / n as f32
}
