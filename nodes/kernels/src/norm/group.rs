//! GroupNorm over NHWC images, with an activation, over one input or two taken together.

#![allow(unsafe_code)]

use crate::activation::Activation;
use crate::conv::Plane;
use crate::error::{Result, at_least, expect, product, unsupported};
use crate::gemm::{SendPtr, part, read, write};
use crate::kernels::Kernels;
use crate::simd::{Simd, Task, dispatch};
use crate::view::{DType, ViewMut};

/// Normalises groups of channels of each image (Wu and He 2018), then applies an activation.
#[derive(Debug)]
pub struct GroupNorm<'a> {
    /// One plane, or two whose channels are taken together.
    pub x: &'a [Plane<'a>],
    /// Images.
    pub batch: usize,
    /// Pixels of an image.
    pub pixels: usize,
    /// Groups the channels are split into.
    pub groups: usize,
    /// Added to the variance.
    pub eps: f32,
    /// One factor a channel.
    pub weight: &'a [f32],
    /// One addend a channel.
    pub bias: &'a [f32],
    /// Applied last; SiLU in residual blocks.
    pub activation: Activation,
    /// `[batch, pixels, channels of all planes]`.
    pub out: ViewMut<'a>,
}

const OP: &str = "group_norm";
/// Pixels whose sums are taken in f32 before they are combined in f64.
const BLOCK: usize = 128;

impl Kernels {
    /// Runs a group normalisation: one pass for the moments, one to write.
    pub fn group_norm(&self, args: GroupNorm<'_>) -> Result<()> {
        let GroupNorm { x, batch, pixels, groups, eps, weight, bias, activation, mut out } = args;
        let channels: usize = x.iter().map(|p| p.channels).sum();
        if groups == 0 || !channels.is_multiple_of(groups.max(1)) {
            return unsupported(OP, format!("{channels} channels do not split into {groups} groups"));
        }
        expect(OP, "weight length", channels, weight.len())?;
        expect(OP, "bias length", channels, bias.len())?;
        let rows = product(OP, &[batch, pixels])?;
        for p in x {
            at_least(OP, "input length", product(OP, &[rows, p.channels])?, p.data.len())?;
        }
        at_least(OP, "output length", product(OP, &[rows, channels])?, out.len())?;
        if rows == 0 || channels == 0 {
            return Ok(());
        }

        let blocks = pixels.div_ceil(BLOCK);
        // For each block: the pivot, the sum and the sum of squares of the distances to it, a row of channels each.
        let partials = self.pool().f32(batch * blocks * 3 * channels)?;
        let moments = SendPtr(partials.ptr());
        let planes: Vec<Side> = x
            .iter()
            .map(|p| Side { ptr: p.data.as_ptr(), dtype: p.data.dtype(), channels: p.channels })
            .collect();
        let path = self.path();
        self.threads().each(batch * blocks, |t| {
            let (first, count) = block_rows(t, blocks, pixels);
            // SAFETY: lengths were checked above; tasks write disjoint thirds of rows.
            unsafe {
                let mut to = moments.get().cast::<f32>().add(t * 3 * channels);
                for side in &planes {
                    dispatch(path, Sums { side, first, count, to, row: channels });
                    to = to.add(side.channels);
                }
            }
        });

        let mut affine = self.pool().f32(batch * 2 * channels)?;
        fold(
            partials.as_f32(),
            affine.as_f32_mut(),
            Fold { batch, blocks, pixels, channels, groups, eps, weight, bias },
        );

        let affine = affine.as_f32();
        let (to, out_type) = (SendPtr(out.as_mut_ptr()), out.dtype());
        self.threads().each(batch * blocks, |t| {
            let (first, count) = block_rows(t, blocks, pixels);
            let affine = &affine[t / blocks * 2 * channels..][..2 * channels];
            let mut column = 0;
            for side in &planes {
                let job = Apply {
                    side,
                    first,
                    count,
                    affine,
                    column,
                    activation,
                    to: to.get(),
                    out_type,
                    channels,
                };
                // SAFETY: lengths were checked above; tasks write disjoint rows.
                unsafe { dispatch(path, job) };
                column += side.channels;
            }
        });
        Ok(())
    }
}

/// Bytes that a normalisation takes while it runs: sums of its blocks, and an affine map a channel.
pub(crate) fn workspace(batch: usize, pixels: usize, channels: usize) -> [usize; 2] {
    [batch * pixels.div_ceil(BLOCK) * 3 * channels * 4, batch * 2 * channels * 4]
}

/// First row and number of rows of task `t`.
fn block_rows(t: usize, blocks: usize, pixels: usize) -> (usize, usize) {
    let start = t % blocks * BLOCK;
    (t / blocks * pixels + start, BLOCK.min(pixels - start))
}

struct Side {
    ptr: *const u8,
    dtype: DType,
    channels: usize,
}

// SAFETY: a side only reads memory borrowed for the whole call.
unsafe impl Sync for Side {}
// SAFETY: as above.
unsafe impl Send for Side {}

struct Sums<'a> {
    side: &'a Side,
    first: usize,
    count: usize,
    to: *mut f32,
    /// Channels of all sides: the distance between the three rows of `to`.
    row: usize,
}

impl Task for Sums<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self, s: S) {
        let Side { ptr, dtype, channels } = *self.side;
        let mut c = 0;
        // The first pixel is the pivot: channels whose mean is far from zero lose nothing to cancellation.
        while c < channels {
            let n = (channels - c).min(S::W);
            // SAFETY: the caller checked both sides.
            unsafe {
                let pivot = read(s, ptr, dtype, self.first * channels + c, n);
                store(s, self.to.add(c), n, pivot);
                store(s, self.to.add(self.row + c), n, s.splat(0.0));
                store(s, self.to.add(2 * self.row + c), n, s.splat(0.0));
            }
            c += S::W;
        }
        // A few pixels at a time, so that sums are loaded once for them while memory is walked in order.
        let mut r = 0;
        while r < self.count {
            let few = (self.count - r).min(4);
            let mut c = 0;
            while c < channels {
                let n = (channels - c).min(S::W);
                // SAFETY: the caller checked both sides.
                unsafe {
                    let pivot = part(s, self.to.add(c), n);
                    let mut sum = part(s, self.to.add(self.row + c), n);
                    let mut square = part(s, self.to.add(2 * self.row + c), n);
                    for i in 0..few {
                        let d = s.sub(read(s, ptr, dtype, (self.first + r + i) * channels + c, n), pivot);
                        sum = s.add(sum, d);
                        square = s.fma(d, d, square);
                    }
                    store(s, self.to.add(self.row + c), n, sum);
                    store(s, self.to.add(2 * self.row + c), n, square);
                }
                c += S::W;
            }
            r += few;
        }
    }
}

/// Stores `n <= W` lanes. # Safety: `p` is writable for `n` elements.
#[inline(always)]
unsafe fn store<S: Simd>(s: S, p: *mut f32, n: usize, v: S::V) {
    // SAFETY: handed on.
    unsafe { write(s, p.cast(), DType::F32, 0, n, v) }
}

struct Fold<'a> {
    batch: usize,
    blocks: usize,
    pixels: usize,
    channels: usize,
    groups: usize,
    eps: f32,
    weight: &'a [f32],
    bias: &'a [f32],
}

/// Turns the blocks' moments into a factor and an addend for each channel of each image, in f64.
fn fold(partials: &[f32], affine: &mut [f32], f: Fold<'_>) {
    let (channels, per_group) = (f.channels, f.channels / f.groups);
    let mut sums = vec![0f64; f.groups * 2];
    for image in 0..f.batch {
        sums.fill(0.0);
        // About zero first for the mean; then the blocks' own squares about the mean, by Chan's update.
        let block = |b: usize| &partials[(image * f.blocks + b) * 3 * channels..][..3 * channels];
        let size = |b: usize| BLOCK.min(f.pixels - b * BLOCK) as f64;
        for b in 0..f.blocks {
            let (p, n) = (block(b), size(b));
            for c in 0..channels {
                sums[c / per_group] += f64::from(p[c]) * n + f64::from(p[channels + c]);
            }
        }
        let count = (per_group * f.pixels) as f64;
        for b in 0..f.blocks {
            let (p, n) = (block(b), size(b));
            for c in 0..channels {
                let away = f64::from(p[c]) - sums[c / per_group] / count;
                let (sum, square) = (f64::from(p[channels + c]), f64::from(p[2 * channels + c]));
                sums[f.groups + c / per_group] += square + away * (2.0 * sum + n * away);
            }
        }
        let (factor, addend) = affine[image * 2 * channels..][..2 * channels].split_at_mut(channels);
        for c in 0..channels {
            let g = c / per_group;
            let mean = sums[g] / count;
            let scale = f64::from(f.weight[c]) / (sums[f.groups + g] / count + f64::from(f.eps)).sqrt();
            factor[c] = scale as f32;
            addend[c] = (f64::from(f.bias[c]) - mean * scale) as f32;
        }
    }
}

struct Apply<'a> {
    side: &'a Side,
    first: usize,
    count: usize,
    affine: &'a [f32],
    column: usize,
    activation: Activation,
    to: *mut u8,
    out_type: DType,
    channels: usize,
}

impl Task for Apply<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self, s: S) {
        // The activation is chosen outside of the loops; only the common two are worth their own.
        // SAFETY: handed on.
        unsafe {
            match self.activation {
                Activation::None => self.rows(s, |s, v| Activation::None.apply::<S>(s, v)),
                Activation::Silu => self.rows(s, |s, v| Activation::Silu.apply::<S>(s, v)),
                other => self.rows(s, move |s, v| other.apply::<S>(s, v)),
            }
        }
    }
}

impl Apply<'_> {
    /// # Safety
    /// The input and output hold the rows, as `group_norm` checked.
    #[inline(always)]
    unsafe fn rows<S: Simd>(&self, s: S, act: impl Fn(S, S::V) -> S::V) {
        let Side { ptr, dtype, channels } = *self.side;
        let (factor, addend) = (self.affine.as_ptr(), self.affine[self.channels..].as_ptr());
        for r in self.first..self.first + self.count {
            let mut c = 0;
            while c < channels {
                let n = (channels - c).min(S::W);
                // SAFETY: the caller's promise; `affine` holds a factor and an addend for each channel.
                unsafe {
                    let x = read(s, ptr, dtype, r * channels + c, n);
                    let (f, a) =
                        (part(s, factor.add(self.column + c), n), part(s, addend.add(self.column + c), n));
                    write(
                        s,
                        self.to,
                        self.out_type,
                        r * self.channels + self.column + c,
                        n,
                        act(s, s.fma(x, f, a)),
                    );
                }
                c += S::W;
            }
        }
    }
}
