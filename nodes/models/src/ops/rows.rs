//! Moving rows between pooled buffers, and the rare functions that no kernel fuses.

use ebb_kernels::{Buf, View, ViewMut};
use half::bf16;
use rayon::prelude::*;

use super::{Activation, Cols, Dims, cpu};
use crate::Result;

/// Where copied rows go.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// Values of a row of the target.
    pub(super) row: usize,
    /// The first column.
    pub(super) column: usize,
    /// The first row of every sample.
    pub(super) first: usize,
    /// Rows of a sample of the target.
    pub(super) per_sample: usize,
}

/// Copies positions `start..start + len` of every sample, some columns of them.
pub(super) fn copy(x: Cols<'_>, start: usize, len: usize, out: &mut Buf, to: Place) -> Result<()> {
    let from = cpu::buf(x.act)?.view();
    match (from, out.view_mut()) {
        (View::F32(a), ViewMut::F32(b)) => each(x, start, len, to, a, b, |v| v),
        (View::Bf16(a), ViewMut::Bf16(b)) => each(x, start, len, to, a, b, |v| v),
        (View::F32(a), ViewMut::Bf16(b)) => each(x, start, len, to, a, b, bf16::from_f32),
        (View::Bf16(a), ViewMut::F32(b)) => each(x, start, len, to, a, b, bf16::to_f32),
    }
    Ok(())
}

fn each<A: Copy + Sync, B: Send>(
    x: Cols<'_>,
    start: usize,
    len: usize,
    to: Place,
    from: &[A],
    out: &mut [B],
    convert: impl Fn(A) -> B + Sync,
) {
    let d = x.act.dims;
    for n in 0..d.n {
        let out = &mut out[(n * to.per_sample + to.first) * to.row..][..len * to.row];
        let from = &from[(n * d.positions() + start) * d.c..][..len * d.c];
        out.par_chunks_mut(to.row).zip(from.par_chunks(d.c)).with_min_len(64).for_each(|(out, from)| {
            let (out, from) = (&mut out[to.column..][..x.len], &from[x.start..][..x.len]);
            out.iter_mut().zip(from).for_each(|(o, v)| *o = convert(*v));
        });
    }
}

/// Rows of every sample in another order.
pub(super) fn gather(x: &[f32], d: Dims, index: &[u32], out: &mut [f32]) {
    let sample = d.positions() * d.c;
    for (out, x) in out.chunks_exact_mut((index.len() * d.c).max(1)).zip(x.chunks_exact(sample.max(1))) {
        out.par_chunks_mut(d.c).zip(index).with_min_len(64).for_each(|(out, at)| {
            out.copy_from_slice(&x[*at as usize * d.c..][..d.c]);
        });
    }
}

/// Applies a function in place, value by value.
pub(super) fn apply(out: &mut Buf, f: Activation) {
    let scalar = |x: f32| match f {
        Activation::SoftClamp3 => 3.0 * (x / 3.0).tanh(),
        Activation::LeakyRelu(slope) if x < 0.0 => slope * x,
        _ => x,
    };
    match out.view_mut() {
        ViewMut::F32(v) => v.par_iter_mut().with_min_len(4096).for_each(|x| *x = scalar(*x)),
        ViewMut::Bf16(v) => {
            v.par_iter_mut().with_min_len(4096).for_each(|x| *x = bf16::from_f32(scalar(x.to_f32())));
        }
    }
}

/// Scales what is negative by its channel's slope.
pub(super) fn prelu(values: &mut [f32], slopes: &[f32]) {
    values.par_chunks_exact_mut(slopes.len()).with_min_len(256).for_each(|row| {
        row.iter_mut().zip(slopes).filter(|(v, _)| **v < 0.0).for_each(|(v, s)| *v *= s);
    });
}

/// `[n, h, w, out · f · f]` to `[n, h · f, w · f, out]`.
pub(super) fn shuffle(x: &[f32], d: Dims, f: usize, out: &mut [f32]) {
    let c = d.c / (f * f);
    let width = d.w * f * c;
    out.par_chunks_mut(width).enumerate().for_each(|(row, out)| {
        let (n, y) = (row / (d.h * f), row % (d.h * f));
        for (i, pixel) in out.chunks_exact_mut(c).enumerate() {
            let from = &x[((n * d.h + y / f) * d.w + i / f) * d.c..][..d.c];
            let part = (y % f) * f + i % f;
            pixel.iter_mut().enumerate().for_each(|(k, p)| *p = from[k * f * f + part]);
        }
    });
}
