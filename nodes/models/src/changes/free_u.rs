//! FreeU (Si et al. 2023): the stream is made stronger, and low frequencies of the skip connection weaker.

use rayon::prelude::*;

use crate::Result;
use crate::ops::{Act, Dims, Ops};

/// How strongly the stream grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// Everywhere alike.
    First,
    /// By how strong the position's mean over channels is.
    Second,
}

/// Factors for output blocks of one width.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FreeU {
    /// Which of both formulas.
    pub version: Version,
    /// Blocks that read a stream of this many times the channels of the first block are changed.
    pub width: usize,
    /// Factor on the first half of the stream's channels.
    pub stream: f32,
    /// Factor on the lowest frequencies of the skip connection.
    pub skip: f32,
}

impl FreeU {
    /// The stream and the skip connection as an output block reads them.
    pub(crate) fn apply(&self, ops: &Ops, stream: &Act, skip: &Act) -> Result<(Act, Act)> {
        let (d, mut values) = (stream.dims(), ops.download(stream)?);
        let half = d.c / 2;
        for sample in values.chunks_exact_mut((d.positions() * d.c).max(1)) {
            let factors = self.factors(sample, d);
            sample.par_chunks_exact_mut(d.c).zip(factors).for_each(|(row, factor)| {
                row[..half].iter_mut().for_each(|v| *v *= factor);
            });
        }
        let stream = ops.upload(d, &values)?;
        let (d, mut values) = (skip.dims(), ops.download(skip)?);
        for sample in values.chunks_exact_mut((d.positions() * d.c).max(1)) {
            scale_lowest(sample, d, self.skip);
        }
        Ok((stream, ops.upload(d, &values)?))
    }

    /// A factor for each position of a sample.
    fn factors(&self, sample: &[f32], d: Dims) -> Vec<f32> {
        match self.version {
            Version::First => vec![self.stream; d.positions()],
            Version::Second => {
                let means: Vec<f32> =
                    sample.chunks_exact(d.c).map(|row| row.iter().sum::<f32>() / d.c as f32).collect();
                let low = means.iter().copied().fold(f32::INFINITY, f32::min);
                let high = means.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                // A stream that is the same everywhere has no strong positions; the reference divides by zero there.
                let span = if high > low { high - low } else { 1.0 };
                means.iter().map(|mean| (self.stream - 1.0) * (mean - low) / span + 1.0).collect()
            }
        }
    }
}

/// Scales the frequencies 0 and −1 of both directions, as the reference's square around the middle of a shifted
/// spectrum has them. What remains of the inverse transform is its real part.
fn scale_lowest(sample: &mut [f32], d: Dims, scale: f32) {
    let (h, w, c) = (d.h, d.w, d.c);
    // A direction of one position has the frequency 0 alone.
    let frequencies = |size: usize| if size > 1 { [0.0, -1.0].as_slice() } else { [0.0].as_slice() };
    let mut change = vec![0f32; sample.len()];
    for &u in frequencies(h) {
        for &v in frequencies(w) {
            let angle = |y: usize, x: usize| {
                std::f64::consts::TAU * (u * y as f64 / h as f64 + v * x as f64 / w as f64)
            };
            let turns: Vec<(f32, f32)> = (0..h * w)
                .map(|i| {
                    let (sine, cosine) = angle(i / w, i % w).sin_cos();
                    (cosine as f32, sine as f32)
                })
                .collect();
            let (mut real, mut imaginary) = (vec![0f64; c], vec![0f64; c]);
            for (row, (cosine, sine)) in sample.chunks_exact(c).zip(&turns) {
                for (k, value) in row.iter().enumerate() {
                    real[k] += f64::from(value * cosine);
                    imaginary[k] -= f64::from(value * sine);
                }
            }
            let by = f64::from(scale - 1.0) / (h * w) as f64;
            change.par_chunks_exact_mut(c).zip(&turns).for_each(|(row, (cosine, sine))| {
                for (k, value) in row.iter_mut().enumerate() {
                    *value += (by * (real[k] * f64::from(*cosine) - imaginary[k] * f64::from(*sine))) as f32;
                }
            });
        }
    }
    sample.iter_mut().zip(change).for_each(|(v, c)| *v += c);
}
