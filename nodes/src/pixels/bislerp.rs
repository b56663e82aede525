//! Spherical interpolation of latents: directions turn at constant speed while lengths change
//! linearly (Shoemake 1985), first along rows, then along columns.

use super::resample::bilinear;

/// For each output cell: the lower and the upper source cell, and how far between them.
fn cells(from: usize, to: usize) -> Vec<(usize, usize, f32)> {
    // Both cells follow from interpolating the index itself, so that the last one saturates.
    let index = bilinear(from, to);
    let position = |shift: usize| {
        index
            .iter()
            .map(|t| t.taps.iter().map(|&(s, w)| w * (s + shift).min(from - 1) as f32).sum::<f32>())
            .collect::<Vec<_>>()
    };
    let lower = position(0);
    let upper = position(1);
    lower.iter().zip(&upper).map(|(l, u)| (l.floor() as usize, *u as usize, l - l.floor())).collect()
}

/// Turns from `a` to `b` by `t`, channel vectors of one pixel.
fn slerp(a: &[f32], b: &[f32], t: f32, out: &mut [f32]) {
    let norm = |v: &[f32]| v.iter().map(|x| x * x).sum::<f32>().sqrt();
    let (na, nb) = (norm(a), norm(b));
    let unit = |x: f32, n: f32| if n == 0.0 { 0.0 } else { x / n };
    let dot: f32 = a.iter().zip(b).map(|(x, y)| unit(*x, na) * unit(*y, nb)).sum();
    if dot > 1.0 - 1e-5 {
        out.copy_from_slice(a);
        return;
    }
    if dot < 1e-5 - 1.0 {
        for ((o, x), y) in out.iter_mut().zip(a).zip(b) {
            *o = x * (1.0 - t) + y * t;
        }
        return;
    }
    let omega = dot.acos();
    let so = omega.sin();
    let (wa, wb) = (((1.0 - t) * omega).sin() / so, (t * omega).sin() / so);
    let length = na * (1.0 - t) + nb * t;
    for ((o, x), y) in out.iter_mut().zip(a).zip(b) {
        *o = (wa * unit(*x, na) + wb * unit(*y, nb)) * length;
    }
}

/// Scales one item of `[channels, height, width]`.
pub(super) fn scale(
    item: &[f32],
    channels: usize,
    (height, width): (usize, usize),
    (to_height, to_width): (usize, usize),
) -> Vec<f32> {
    let wide = along(item, channels, (height, width), to_width, |c, y, x| (c * height + y) * width + x);
    // `wide` is [height, to_width, channels]; the second pass reads it down the columns.
    let columns = cells(height, to_height);
    let mut out = vec![0f32; channels * to_height * to_width];
    let mut pixel = vec![0f32; channels];
    for (y, &(low, high, t)) in columns.iter().enumerate() {
        for x in 0..to_width {
            let at = |row: usize| &wide[(row * to_width + x) * channels..][..channels];
            slerp(at(low), at(high), t, &mut pixel);
            for (c, value) in pixel.iter().enumerate() {
                out[(c * to_height + y) * to_width + x] = *value;
            }
        }
    }
    out
}

/// The first pass: every row stretched to `to_width`, as `[height, to_width, channels]`.
fn along(
    item: &[f32],
    channels: usize,
    (height, width): (usize, usize),
    to_width: usize,
    index: impl Fn(usize, usize, usize) -> usize,
) -> Vec<f32> {
    let rows = cells(width, to_width);
    let mut out = vec![0f32; height * to_width * channels];
    let (mut a, mut b) = (vec![0f32; channels], vec![0f32; channels]);
    for y in 0..height {
        for (x, &(low, high, t)) in rows.iter().enumerate() {
            for c in 0..channels {
                a[c] = item[index(c, y, low)];
                b[c] = item[index(c, y, high)];
            }
            slerp(&a, &b, t, &mut out[(y * to_width + x) * channels..][..channels]);
        }
    }
    out
}
