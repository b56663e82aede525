//! Between channel-first images, which files, latents and torch hold, and channel-last ones, which operators read.

use rayon::prelude::*;

use crate::error::{Result, expect, product};
use crate::kernels::Kernels;

/// Size of a batch of images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Image {
    /// Images.
    pub batch: usize,
    /// Channels.
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl Image {
    fn len(&self, op: &'static str) -> Result<usize> {
        product(op, &[self.batch, self.channels, self.height, self.width])
    }
}

impl Kernels {
    /// `[batch, channels, height, width]` to `[batch, height, width, channels]`.
    pub fn nchw_to_nhwc(&self, x: &[f32], size: Image, out: &mut [f32]) -> Result<()> {
        transpose(self, "nchw_to_nhwc", x, size, out, size.channels, size.height * size.width)
    }

    /// `[batch, height, width, channels]` to `[batch, channels, height, width]`.
    pub fn nhwc_to_nchw(&self, x: &[f32], size: Image, out: &mut [f32]) -> Result<()> {
        transpose(self, "nhwc_to_nchw", x, size, out, size.height * size.width, size.channels)
    }
}

/// Each image of `x` is `rows` by `cols`; each of `out` is the transpose.
fn transpose(
    kernels: &Kernels,
    op: &'static str,
    x: &[f32],
    size: Image,
    out: &mut [f32],
    rows: usize,
    cols: usize,
) -> Result<()> {
    let len = size.len(op)?;
    expect(op, "input length", len, x.len())?;
    expect(op, "output length", len, out.len())?;
    if len == 0 {
        return Ok(());
    }
    // Strips of output rows of about 16 KiB, so that a strip stays cached while the input is walked.
    let strip = (4096 / rows).max(1);
    kernels.threads().run(|| {
        for (x, out) in x.chunks_exact(rows * cols).zip(out.chunks_exact_mut(rows * cols)) {
            out.par_chunks_mut(strip * rows).enumerate().for_each(|(i, out)| {
                let first = i * strip;
                let n = out.len() / rows;
                for r in 0..rows {
                    for (c, v) in x[r * cols + first..][..n].iter().enumerate() {
                        out[c * rows + r] = *v;
                    }
                }
            });
        }
    });
    Ok(())
}
