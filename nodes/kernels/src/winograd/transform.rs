//! The three transforms of F(4x4, 3x3) (Lavin and Gray 2015, interpolation points 0, 1, -1, 2, -2 and infinity).

#![allow(unsafe_code)]

use crate::gemm::{Finish, read};
use crate::pack::{Packed, Storage};
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
        let mut t = [[s.splat(0.0); 6]; 6];
        for x in 0..6 {
            let mut d = [s.splat(0.0); 6];
            for y in 0..6 {
                let p = pixels[y * 6 + x];
                if !p.is_null() {
                    // SAFETY: the caller's promise.
                    d[y] = unsafe { read(s, p, dtype, c, n) };
                }
            }
            let column = input(s, d);
            for y in 0..6 {
                t[y][x] = column[y];
            }
        }
        for (y, row) in t.iter().enumerate() {
            let row = input(s, *row);
            for (x, v) in row.iter().enumerate() {
                // SAFETY: the caller's promise.
                unsafe {
                    let to = to.add((y * 6 + x) * stride + c);
                    if n == S::W { s.store(to, *v) } else { s.store_n(to, n, *v) }
                }
            }
        }
        c += S::W;
    }
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
    let units = w.units();
    for k in 0..count {
        let channel = first + k;
        for lane in (0..LANES).step_by(S::W) {
            let mut g = [[s.splat(0.0); 3]; 3];
            for tap in 0..9 {
                let base = (panel * 9 + tap) * units;
                // SAFETY: the caller's promise.
                g[tap / 3][tap % 3] = unsafe {
                    match w.storage {
                        Storage::F32 => s.load(w.ptr().cast::<f32>().add((base + channel) * LANES + lane)),
                        Storage::F16 => {
                            s.load_f16(w.ptr().cast::<u16>().add((base + channel) * LANES + lane))
                        }
                        Storage::Bf16 => {
                            let p = w.ptr().cast::<u32>().add((base + channel / 2) * LANES + lane);
                            let (lo, hi) = s.load_pairs(p);
                            if channel % 2 == 0 { lo } else { hi }
                        }
                    }
                };
            }
            let mut t = [[s.splat(0.0); 3]; 6];
            for x in 0..3 {
                let column = weight(s, [g[0][x], g[1][x], g[2][x]]);
                for y in 0..6 {
                    t[y][x] = column[y];
                }
            }
            for (y, row) in t.iter().enumerate() {
                let row = weight(s, *row);
                for (x, v) in row.iter().enumerate() {
                    // SAFETY: the caller's promise.
                    unsafe { s.store(to.add((y * 6 + x) * stride + k * LANES + lane), *v) };
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
        let mut t = [[s.splat(0.0); 6]; 4];
        for x in 0..6 {
            let mut m = [s.splat(0.0); 6];
            for y in 0..6 {
                // SAFETY: the caller's promise.
                m[y] = unsafe { s.load(from.add((y * 6 + x) * stride + lane)) };
            }
            let column = output(s, m);
            for y in 0..4 {
                t[y][x] = column[y];
            }
        }
        for (y, row) in t.iter().enumerate() {
            let row = output(s, *row);
            for (x, v) in row.iter().enumerate() {
                let r = place.rows[y * 4 + x];
                if r != usize::MAX {
                    // SAFETY: the caller's promise.
                    unsafe { finish.vector(s, *v, c, n, r * outputs, place.sample) };
                }
            }
        }
        lane += S::W;
    }
}
