//! The matrix-product tile: a few broadcast rows against the 32 lanes of a panel.

// Registers are named by row and column; an iterator over one side hides the shape of the tile.
#![allow(unsafe_code, clippy::needless_range_loop)]

use crate::simd::{LANES, Simd};

/// A run of the tile over `taps * units` steps.
///
/// A unit is 32 bits of a row (an f32, or a pair of bf16) against 32 lanes of 32 bits.
#[derive(Clone, Copy)]
pub(crate) struct Run {
    pub(crate) taps: usize,
    pub(crate) units: usize,
    /// `[tap][ROWS]` pointers to the rows.
    pub(crate) rows: *const *const u8,
    /// The first unit of a row to use.
    pub(crate) first: usize,
    /// The panel from that unit on.
    pub(crate) b: *const f32,
    /// From a tap to the next in `b`, in 32-bit elements.
    pub(crate) tap_stride: usize,
    /// `[ROWS][LANES]` sums.
    pub(crate) acc: *mut f32,
    /// Bytes from a row to one that the next tile reads, to ask for early; 0 when the rows are near already.
    pub(crate) ahead: usize,
    /// Whether to add to what `acc` holds.
    pub(crate) add: bool,
}

/// Runs the tile of the path.
///
/// # Safety
/// Row pointers must be readable for `first + units` 32-bit words, `b` for `units * LANES` at each tap, and `acc`
/// writable for `S::ROWS * LANES` f32.
#[inline(always)]
pub(crate) unsafe fn run<S: Simd, const BF16: bool>(s: S, r: Run) {
    // The shape of a tile is a constant of the path: all arms but one vanish.
    // SAFETY: handed on.
    unsafe {
        match (S::ROWS, S::VECS) {
            (8, 2) => tile::<S, 8, 2, BF16>(s, r),
            (6, 2) => tile::<S, 6, 2, BF16>(s, r),
            (6, 4) => tile::<S, 6, 4, BF16>(s, r),
            _ => tile::<S, 4, 2, BF16>(s, r),
        }
    }
}

/// # Safety
/// As [`run`].
#[inline(always)]
unsafe fn tile<S: Simd, const ROWS: usize, const VECS: usize, const BF16: bool>(s: S, r: Run) {
    let width = S::W * VECS;
    for pass in 0..LANES / width {
        let lane = pass * width;
        let mut c = [[s.splat(0.0); VECS]; ROWS];
        // SAFETY: offsets stay inside what the caller vouches for.
        unsafe {
            if r.add {
                for i in 0..ROWS {
                    for j in 0..VECS {
                        c[i][j] = s.load(r.acc.add(i * LANES + lane + j * S::W));
                    }
                }
            }
            for tap in 0..r.taps {
                let mut a = [std::ptr::null::<u32>(); ROWS];
                for i in 0..ROWS {
                    a[i] = (*r.rows.add(tap * ROWS + i)).cast::<u32>().add(r.first);
                }
                let mut b = r.b.add(tap * r.tap_stride + lane);
                if r.ahead == 0 || pass > 0 {
                    steps::<S, ROWS, VECS, BF16>(s, &a, b, 0, r.units, &mut c);
                    continue;
                }
                // A cache line of a row holds 16 units.
                let mut k = 0;
                while k < r.units {
                    for row in &a {
                        s.prefetch(row.add(k).cast::<u8>().wrapping_add(r.ahead));
                    }
                    let n = (r.units - k).min(16);
                    steps::<S, ROWS, VECS, BF16>(s, &a, b, k, n, &mut c);
                    b = b.add(n * LANES);
                    k += n;
                }
            }
            for i in 0..ROWS {
                for j in 0..VECS {
                    s.store(r.acc.add(i * LANES + lane + j * S::W), c[i][j]);
                }
            }
        }
    }
}

/// `n` steps from unit `k` on.
///
/// # Safety
/// As [`run`].
#[inline(always)]
unsafe fn steps<S: Simd, const ROWS: usize, const VECS: usize, const BF16: bool>(
    s: S,
    a: &[*const u32; ROWS],
    mut b: *const f32,
    k: usize,
    n: usize,
    c: &mut [[S::V; VECS]; ROWS],
) {
    // SAFETY: the caller's promise.
    unsafe {
        for k in k..k + n {
            if BF16 {
                for i in 0..ROWS {
                    let x = a[i].add(k).read_unaligned();
                    for j in 0..VECS {
                        c[i][j] = s.dot2(c[i][j], x, b.add(j * S::W).cast());
                    }
                }
            } else {
                let mut v = [s.splat(0.0); VECS];
                for j in 0..VECS {
                    v[j] = s.load(b.add(j * S::W));
                }
                for i in 0..ROWS {
                    let x = s.splat(a[i].add(k).cast::<f32>().read_unaligned());
                    for j in 0..VECS {
                        c[i][j] = s.fma(x, v[j], c[i][j]);
                    }
                }
            }
            b = b.add(LANES);
        }
    }
}
