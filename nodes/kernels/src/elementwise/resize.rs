//! Images of other sizes.

use rayon::prelude::*;

use crate::error::{Result, expect, product, unsupported};
use crate::kernels::Kernels;

/// How pixels between pixels are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Filter {
    /// The pixel at `floor(i * in / out)`.
    Nearest,
    /// Between the four around, pixel centres at half coordinates (torch's `align_corners=False`).
    Bilinear,
}

/// Resizes NHWC images.
#[derive(Debug)]
pub struct Resize<'a> {
    /// `[batch, height, width, channels]`.
    pub x: &'a [f32],
    /// Images.
    pub batch: usize,
    /// Height and width of the input.
    pub from: [usize; 2],
    /// Height and width of the result.
    pub to: [usize; 2],
    /// Channels.
    pub channels: usize,
    /// How to sample.
    pub filter: Filter,
    /// `[batch, to height, to width, channels]`.
    pub out: &'a mut [f32],
}

const OP: &str = "resize";

impl Kernels {
    /// Resizes images.
    pub fn resize(&self, args: Resize<'_>) -> Result<()> {
        let Resize { x, batch, from: [h, w], to: [oh, ow], channels, filter, out } = args;
        expect(OP, "input length", product(OP, &[batch, h, w, channels])?, x.len())?;
        expect(OP, "output length", product(OP, &[batch, oh, ow, channels])?, out.len())?;
        if out.is_empty() {
            return Ok(());
        }
        if x.is_empty() {
            return unsupported(OP, format!("{h}x{w} pixels cannot become {oh}x{ow}"));
        }
        self.threads().run(|| {
            out.par_chunks_mut(ow * channels).enumerate().for_each(|(row, out)| {
                let (image, y) = (&x[row / oh * h * w * channels..][..h * w * channels], row % oh);
                let pixel = |y: usize, x: usize| &image[(y * w + x) * channels..][..channels];
                let (y0, y1, fy) = taps(filter, y, h, oh);
                for (i, out) in out.chunks_exact_mut(channels).enumerate() {
                    let (x0, x1, fx) = taps(filter, i, w, ow);
                    if filter == Filter::Nearest {
                        out.copy_from_slice(pixel(y0, x0));
                        continue;
                    }
                    let (a, b, c, d) = (pixel(y0, x0), pixel(y0, x1), pixel(y1, x0), pixel(y1, x1));
                    for (k, out) in out.iter_mut().enumerate() {
                        let top = a[k] + (b[k] - a[k]) * fx;
                        let bottom = c[k] + (d[k] - c[k]) * fx;
                        *out = top + (bottom - top) * fy;
                    }
                }
            });
        });
        Ok(())
    }
}

/// The two pixels output `i` lies between, and how far from the first.
fn taps(filter: Filter, i: usize, from: usize, to: usize) -> (usize, usize, f32) {
    match filter {
        Filter::Nearest => {
            let at = (i * from / to).min(from - 1);
            (at, at, 0.0)
        }
        Filter::Bilinear => {
            let at = ((i as f32 + 0.5) * (from as f32 / to as f32) - 0.5).max(0.0);
            let low = (at as usize).min(from - 1);
            (low, (low + 1).min(from - 1), at - low as f32)
        }
    }
}
