//! The three transforms of F(4x4, 3x3) (Lavin and Gray 2015, interpolation points 0, 1, -1, 2, -2 and infinity).

// No closures here: one that is called more than once may be compiled as a function of its own, without the path's
// instructions.
// Registers are named by row and column; an iterator over one side hides the shape of the tile.
#![allow(unsafe_code, clippy::needless_range_loop)]

use crate::gemm::{Finish, read};
use crate::pack::Packed;
use crate::simd::{LANES, Simd};
use crate::view::DType;

/// Points of a transformed tile.
pub(super) const POINTS: usize = 36;

/// `B^T d` of a column of six.
#[inline(always)]
fn input<S: Simd>(s: S, d: [S::V; 6]) -> [S::V; 6] {
    let (four, five) = (s.splat(4.0), s.splat(5.0));
    // Pairs of rows share their even and odd halves.
    let even1 = s.sub(d[4], s.mul(four, d[2]));
    let odd1 = s.sub(d[3], s.mul(four, d[1]));
    let even2 = s.sub(d[4], d[2]);
    let odd2 = s.mul(s.splat(2.0), s.sub(d[3], d[1]));
    [
        s.fma(four, d[0], s.sub(d[4], s.mul(five, d[2]))),
        s.add(even1, odd1),
        s.sub(even1, odd1),
        s.add(even2, odd2),
        s.sub(even2, odd2),
        s.fma(four, d[1], s.sub(d[5], s.mul(five, d[3]))),
    ]
}

/// `A^T m` of a column of six.
#[inline(always)]
fn output<S: Simd>(s: S, m: [S::V; 6]) -> [S::V; 4] {
    let (sum1, difference1) = (s.add(m[1], m[2]), s.sub(m[1], m[2]));
    let (sum2, difference2) = (s.add(m[3], m[4]), s.sub(m[3], m[4]));
    [
        s.add(s.add(m[0], sum1), sum2),
        s.fma(s.splat(2.0), difference2, difference1),
        s.fma(s.splat(4.0), sum2, sum1),
        s.add(s.fma(s.splat(8.0), difference2, difference1), m[5]),
    ]
}

/// `G g` of a column of three.
#[inline(always)]
fn weight<S: Simd>(s: S, g: [S::V; 3]) -> [S::V; 6] {
    let ends = s.add(g[0], g[2]);
    let wide = s.fma(s.splat(4.0), g[2], g[0]);
    let twice = s.mul(s.splat(2.0), g[1]);
    let (sixth, part) = (s.splat(-1.0 / 6.0), s.splat(1.0 / 24.0));
    [
        s.mul(s.splat(0.25), g[0]),
        s.mul(sixth, s.add(ends, g[1])),
        s.mul(sixth, s.sub(ends, g[1])),
        s.mul(part, s.add(wide, twice)),
        s.mul(part, s.sub(wide, twice)),
        g[2],
    ]
}

/// Transforms one tile of one plane: `pixels` says where its 6x6 pixels are, null outside the image.
/// Channel `c` of point `p` goes to `to[p * stride + c]`.
///
/// # Safety
/// Pixels are readable for `channels` elements; `to` is writable as said.
#[inline(always)]
pub(super) unsafe fn input_tile<S: Simd>(
    s: S,
    pixels: &[*const u8; POINTS],
    dtype: DType,
    channels: usize,
    to: *mut f32,
    stride: usize,
) {
    let mut c = 0;
    while c < channels {
        let n = (channels - c).min(S::W);
        // SAFETY: the caller's promise.
        unsafe {
            let t = [
                input_column(s, pixels, 0, dtype, c, n),
                input_column(s, pixels, 1, dtype, c, n),
                input_column(s, pixels, 2, dtype, c, n),
                input_column(s, pixels, 3, dtype, c, n),
                input_column(s, pixels, 4, dtype, c, n),
                input_column(s, pixels, 5, dtype, c, n),
            ];
            for y in 0..6 {
                let row = input(s, [t[0][y], t[1][y], t[2][y], t[3][y], t[4][y], t[5][y]]);
                for x in 0..6 {
                    let to = to.add((y * 6 + x) * stride + c);
                    if n == S::W { s.store(to, row[x]) } else { s.store_n(to, n, row[x]) }
                }
            }
        }
        c += S::W;
    }
}

/// The first transform of column `x` of a tile. # Safety: as [`input_tile`].
#[inline(always)]
unsafe fn input_column<S: Simd>(
    s: S,
    pixels: &[*const u8; POINTS],
    x: usize,
    dtype: DType,
    c: usize,
    n: usize,
) -> [S::V; 6] {
    // SAFETY: the caller's promise.
    unsafe {
        let d = [
            pixel(s, pixels[x], dtype, c, n),
            pixel(s, pixels[6 + x], dtype, c, n),
            pixel(s, pixels[12 + x], dtype, c, n),
            pixel(s, pixels[18 + x], dtype, c, n),
            pixel(s, pixels[24 + x], dtype, c, n),
            pixel(s, pixels[30 + x], dtype, c, n),
        ];
        input(s, d)
    }
}

/// Channels of a pixel, zeros outside the image. # Safety: as [`input_tile`].
#[inline(always)]
unsafe fn pixel<S: Simd>(s: S, p: *const u8, dtype: DType, c: usize, n: usize) -> S::V {
    // SAFETY: the caller's promise.
    if p.is_null() { s.splat(0.0) } else { unsafe { read(s, p, dtype, c, n) } }
}

/// Transforms channels `first..first + count` of a panel: `to[p * stride + k * LANES + lane]`.
///
/// # Safety
/// The channels are within the weights; `to` is writable as said.
#[inline(always)]
pub(super) unsafe fn weight_panel<S: Simd>(
    s: S,
    w: &Packed,
    panel: usize,
    first: usize,
    count: usize,
    to: *mut f32,
    stride: usize,
) {
    for k in 0..count {
        let channel = first + k;
        for lane in (0..LANES).step_by(S::W) {
            let mut g = [[s.splat(0.0); 3]; 3];
            for tap in 0..9 {
                // SAFETY: the caller's promise.
                g[tap / 3][tap % 3] = unsafe { w.load(s, panel, tap, channel, lane) };
            }
            let t = [
                weight(s, [g[0][0], g[1][0], g[2][0]]),
                weight(s, [g[0][1], g[1][1], g[2][1]]),
                weight(s, [g[0][2], g[1][2], g[2][2]]),
            ];
            for y in 0..6 {
                let row = weight(s, [t[0][y], t[1][y], t[2][y]]);
                for x in 0..6 {
                    // SAFETY: the caller's promise.
                    unsafe { s.store(to.add((y * 6 + x) * stride + k * LANES + lane), row[x]) };
                }
            }
        }
    }
}

/// Where a tile's results go.
pub(super) struct Place {
    /// Rows of the output the 4x4 pixels are, `usize::MAX` past the image.
    pub(super) rows: [usize; 16],
    /// The image.
    pub(super) sample: usize,
}

/// Transforms one tile of products back and finishes it: product of point `p` at `from[p * stride + lane]`.
///
/// # Safety
/// `from` is readable as said; rows are those `finish` was made for.
#[inline(always)]
pub(super) unsafe fn output_tile<S: Simd>(
    s: S,
    from: *const f32,
    stride: usize,
    panel: usize,
    outputs: usize,
    place: &Place,
    finish: &Finish,
) {
    let lanes = LANES.min(outputs - panel * LANES);
    let mut lane = 0;
    while lane < lanes {
        let n = (lanes - lane).min(S::W);
        let c = panel * LANES + lane;
        // SAFETY: the caller's promise.
        unsafe {
            let from = from.add(lane);
            let t = [
                output_column(s, from, stride),
                output_column(s, from.add(stride), stride),
                output_column(s, from.add(2 * stride), stride),
                output_column(s, from.add(3 * stride), stride),
                output_column(s, from.add(4 * stride), stride),
                output_column(s, from.add(5 * stride), stride),
            ];
            for y in 0..4 {
                let row = output(s, [t[0][y], t[1][y], t[2][y], t[3][y], t[4][y], t[5][y]]);
                for x in 0..4 {
                    let r = place.rows[y * 4 + x];
                    if r != usize::MAX {
                        finish.vector(s, row[x], c, n, r * outputs, place.sample);
                    }
                }
            }
        }
        lane += S::W;
    }
}

/// The first transform of a column of products. # Safety: as [`output_tile`].
#[inline(always)]
unsafe fn output_column<S: Simd>(s: S, from: *const f32, stride: usize) -> [S::V; 4] {
    let row = 6 * stride;
    // SAFETY: the caller's promise.
    unsafe {
        let m = [
            s.load(from),
            s.load(from.add(row)),
            s.load(from.add(2 * row)),
            s.load(from.add(3 * row)),
            s.load(from.add(4 * row)),
            s.load(from.add(5 * row)),
        ];
        output(s, m)
    }
}
