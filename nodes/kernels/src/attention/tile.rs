//! One tile of 32 queries against all keys.

// Registers are named by row and column; an iterator over one side hides the shape of the tile.
#![allow(unsafe_code, clippy::needless_range_loop)]

use super::{Heads, Mask};
use crate::error::Result;
use crate::gemm::{Operand, Run, SendPtr, part, read, run, write};
use crate::kernels::Kernels;
use crate::pool::Buf;
use crate::simd::{LANES, MAX_ROWS, Simd, Task, dispatch, math};
use crate::view::{DType, Layout};

/// Keys of a block.
pub(super) const KEYS: usize = 128;
/// Scores below this are as good as hidden; finite, so that differences of two are never undefined.
const LOWEST: f32 = -1e30;

/// Queries as they lie.
#[derive(Clone, Copy)]
pub(super) struct Side {
    pub(super) ptr: *const u8,
    pub(super) dtype: DType,
    pub(super) layout: Layout,
}

// SAFETY: only reads memory borrowed for the whole call.
unsafe impl Sync for Side {}
// SAFETY: as above.
unsafe impl Send for Side {}

/// Where the values are.
pub(super) enum Values<'a> {
    /// f32 rows, as keys.
    Rows(&'a Operand),
    /// `[sample, head, pair of keys, depth]` pairs of bf16.
    Pairs {
        /// The first pair.
        ptr: *const u32,
        /// Head dimension, padded to whole tiles.
        depth: usize,
    },
}

// SAFETY: only reads memory that outlives the call's tasks.
unsafe impl Sync for Values<'_> {}

/// Puts the values of neighbouring keys side by side, as bf16 products want them.
pub(super) fn pair_values(
    kernels: &Kernels,
    v: Heads<'_>,
    batch: usize,
    heads: usize,
    head_dim: usize,
    k_len: usize,
    depth: usize,
) -> Result<Buf> {
    let pairs = k_len.div_ceil(2);
    let buf = kernels.pool().f32(batch * heads * pairs * depth)?;
    let to = SendPtr(buf.ptr());
    let from = Side { ptr: v.data.as_ptr(), dtype: v.data.dtype(), layout: v.layout };
    kernels.threads().each(batch * heads, |t| {
        let (sample, head) = (t / heads, t % heads);
        let job = PairJob { from: &from, sample, head, head_dim, k_len, depth, to: to.get() };
        // SAFETY: the caller checked the values; each task writes its own head.
        let job = PairJob { to: unsafe { job.to.add(t * pairs * depth * 4) }, ..job };
        // SAFETY: as above.
        unsafe { dispatch(kernels.path(), job) };
    });
    Ok(buf)
}

struct PairJob<'a> {
    from: &'a Side,
    sample: usize,
    head: usize,
    head_dim: usize,
    k_len: usize,
    depth: usize,
    to: *mut u8,
}

impl Task for PairJob<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self, s: S) {
        for pair in 0..self.k_len.div_ceil(2) {
            let row = |key: usize| {
                self.from.layout.start(self.sample * self.k_len + key) + self.head * self.head_dim
            };
            let (even, odd) = (row(2 * pair), row((2 * pair + 1).min(self.k_len - 1)));
            let single = 2 * pair + 1 == self.k_len;
            // SAFETY: the caller vouches for the values and for room of `pairs * depth` words at `to`.
            unsafe {
                let to = self.to.cast::<u32>().add(pair * self.depth);
                let mut d = 0;
                while d + S::W <= self.head_dim {
                    let lo = read(s, self.from.ptr, self.from.dtype, even + d, S::W);
                    let hi = read(s, self.from.ptr, self.from.dtype, odd + d, S::W);
                    s.store_pairs(to.add(d), lo, if single { s.splat(0.0) } else { hi });
                    d += S::W;
                }
                let values: *const u16 = self.from.ptr.cast();
                for d in d..self.depth {
                    let (mut lo, mut hi) = (0, 0);
                    if d < self.head_dim {
                        lo = u32::from(*values.add(even + d));
                        hi = if single { 0 } else { u32::from(*values.add(odd + d)) };
                    }
                    *to.add(d) = lo | hi << 16;
                }
            }
        }
    }
}

/// Some tiles of one head.
pub(super) struct TileJob<'a> {
    pub(super) q: Side,
    pub(super) k: &'a Operand,
    pub(super) v: &'a Values<'a>,
    pub(super) sample: usize,
    pub(super) head: usize,
    pub(super) kv_head: usize,
    pub(super) kv_heads: usize,
    pub(super) head_dim: usize,
    pub(super) depth: usize,
    pub(super) q_len: usize,
    pub(super) k_len: usize,
    pub(super) scale: f32,
    pub(super) mask: Mask<'a>,
    pub(super) bf16: bool,
    pub(super) tiles: std::ops::Range<usize>,
    pub(super) room: *mut f32,
    pub(super) out: *mut u8,
    pub(super) out_type: DType,
    pub(super) out_layout: Layout,
}

/// Parts of a worker's scratch.
#[derive(Clone, Copy)]
struct Room {
    q: *mut f32,
    scores: *mut f32,
    pairs: *mut u32,
    sums: *mut f32,
    most: *mut f32,
    total: *mut f32,
    fix: *mut f32,
}

impl Task for TileJob<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self, s: S) {
        // SAFETY: handed on.
        unsafe { if self.bf16 { self.all::<S, true>(s) } else { self.all::<S, false>(s) } }
    }
}

impl TileJob<'_> {
    /// # Safety
    /// `attention` checked all lengths and sized `room`.
    #[inline(always)]
    unsafe fn all<S: Simd, const BF16: bool>(&self, s: S) {
        let units = if BF16 { self.head_dim / 2 } else { self.head_dim };
        // SAFETY: offsets are those `attention` summed up for `room`.
        let room = unsafe {
            let scores = self.room.add(units * LANES);
            let pairs = scores.add((KEYS + S::ROWS) * LANES);
            let sums = pairs.add(KEYS / 2 * LANES);
            let most = sums.add(self.depth * LANES);
            Room {
                q: self.room,
                scores,
                pairs: pairs.cast(),
                sums,
                most,
                total: most.add(LANES),
                fix: most.add(2 * LANES),
            }
        };
        for tile in self.tiles.clone() {
            let first = tile * LANES;
            let queries = LANES.min(self.q_len - first);
            // SAFETY: the caller's promise.
            unsafe {
                self.load_queries::<BF16>(first, queries, units, room.q);
                for i in 0..self.depth * LANES {
                    *room.sums.add(i) = 0.0;
                }
                for i in 0..LANES {
                    *room.most.add(i) = LOWEST;
                    *room.total.add(i) = 0.0;
                }
                // A causal tile's last query sees no key beyond its own position.
                let end = if matches!(self.mask, Mask::Causal) { first + queries } else { self.k_len };
                let mut key = 0;
                while key < end {
                    let n = KEYS.min(end - key);
                    self.score::<S, BF16>(s, room, key, n, units);
                    let scale = if matches!(self.mask, Mask::None) {
                        self.scale * std::f32::consts::LOG2_E
                    } else {
                        self.apply_mask(room.scores, first, queries, key, n);
                        1.0
                    };
                    if softmax::<S, BF16>(s, room, n, scale) && key > 0 {
                        rescale(s, room.sums, self.head_dim, room.fix);
                    }
                    self.accumulate::<S, BF16>(s, room, key, n);
                    key += n;
                }
                self.store(s, first, queries, room);
            }
        }
    }

    /// Queries as columns: `to[unit][lane]`; lanes past the last query repeat it. # Safety: as `all`.
    #[inline(always)]
    unsafe fn load_queries<const BF16: bool>(
        &self,
        first: usize,
        queries: usize,
        units: usize,
        to: *mut f32,
    ) {
        for lane in 0..LANES {
            let token = self.sample * self.q_len + first + lane.min(queries - 1);
            let at = self.q.layout.start(token) + self.head * self.head_dim;
            // SAFETY: the caller's promise.
            unsafe {
                match (BF16, self.q.dtype) {
                    (true, _) => {
                        let from = self.q.ptr.cast::<u16>().add(at).cast::<u32>();
                        for u in 0..units {
                            *to.cast::<u32>().add(u * LANES + lane) = from.add(u).read_unaligned();
                        }
                    }
                    (false, DType::F32) => {
                        for u in 0..units {
                            *to.add(u * LANES + lane) = *self.q.ptr.cast::<f32>().add(at + u);
                        }
                    }
                    (false, DType::Bf16) => {
                        for u in 0..units {
                            let bits = u32::from(*self.q.ptr.cast::<u16>().add(at + u));
                            *to.add(u * LANES + lane) = f32::from_bits(bits << 16);
                        }
                    }
                }
            }
        }
    }

    /// `scores[key][query]`, not scaled. # Safety: as `all`.
    #[inline(always)]
    unsafe fn score<S: Simd, const BF16: bool>(&self, s: S, room: Room, key: usize, n: usize, units: usize) {
        let column = self.kv_head * self.head_dim * if BF16 { 2 } else { 4 };
        // All keys of a block belong to one sample: they lie evenly.
        let token = self.sample * self.k_len + key;
        let base = self.k.row(token).wrapping_add(column);
        let stride = if n > 1 { self.k.row(token + 1) as usize - self.k.row(token) as usize } else { 0 };
        let mut k = 0;
        while k < n {
            let mut rows = [std::ptr::null::<u8>(); MAX_ROWS];
            for (i, row) in rows.iter_mut().enumerate().take(S::ROWS) {
                // Past the last key the tile repeats it; what it gives is never read.
                *row = base.wrapping_add((k + i).min(n - 1) * stride);
            }
            // SAFETY: the caller's promise; scores has room for a tile past the last key.
            unsafe {
                run::<S, BF16>(
                    s,
                    Run {
                        taps: 1,
                        units,
                        rows: rows.as_ptr(),
                        first: 0,
                        b: room.q,
                        tap_stride: 0,
                        acc: room.scores.add(k * LANES),
                        ahead: 0,
                        add: false,
                    },
                );
            }
            k += S::ROWS;
        }
    }

    /// Scales scores to base 2 and adds the mask. # Safety: as `all`.
    #[inline(always)]
    unsafe fn apply_mask(&self, scores: *mut f32, first: usize, queries: usize, key: usize, n: usize) {
        const LOG2_E: f32 = std::f32::consts::LOG2_E;
        for k in 0..n {
            for lane in 0..LANES {
                let query = first + lane.min(queries - 1);
                // SAFETY: the caller's promise.
                let at = unsafe { &mut *scores.add(k * LANES + lane) };
                *at *= self.scale * LOG2_E;
                match self.mask {
                    Mask::None => {}
                    Mask::Causal => {
                        if key + k > query {
                            *at = LOWEST;
                        }
                    }
                    Mask::Additive { values, batch, head, query: stride } => {
                        let i = self.sample * batch + self.head * head + query * stride + key + k;
                        // Infinities would meet each other in a difference; LOWEST hides a key as well.
                        *at = (*at + values[i] * LOG2_E).max(LOWEST);
                    }
                }
            }
        }
    }

    /// `sums[d][query] += sum over keys of value[key][d] * weight[key][query]`. # Safety: as `all`.
    #[inline(always)]
    unsafe fn accumulate<S: Simd, const BF16: bool>(&self, s: S, room: Room, key: usize, n: usize) {
        let mut d = 0;
        while d < self.head_dim {
            // SAFETY: the caller's promise.
            unsafe {
                let sums = room.sums.add(d * LANES);
                match self.v {
                    Values::Pairs { ptr, depth } => {
                        let head = self.sample * self.kv_heads + self.kv_head;
                        let pair = head * self.k_len.div_ceil(2) + key / 2;
                        let v = ptr.add(pair * depth + d);
                        weigh::<S, true>(s, n.div_ceil(2), v, *depth, S::ROWS, room.pairs.cast(), sums);
                    }
                    Values::Rows(rows) => {
                        let token = self.sample * self.k_len + key;
                        let v = rows.row(token).cast::<u32>().wrapping_add(self.kv_head * self.head_dim + d);
                        let stride = if n > 1 {
                            (rows.row(token + 1) as usize - rows.row(token) as usize) / 4
                        } else {
                            0
                        };
                        let valid = S::ROWS.min(self.head_dim - d);
                        weigh::<S, false>(s, n, v, stride, valid, room.scores, sums);
                    }
                }
            }
            d += S::ROWS;
        }
    }

    /// Divides by the sum of weights and writes. # Safety: as `all`.
    #[inline(always)]
    unsafe fn store<S: Simd>(&self, s: S, first: usize, queries: usize, room: Room) {
        // SAFETY: the caller's promise; the scores are not needed any more.
        unsafe {
            for lane in (0..LANES).step_by(S::W) {
                let scale = s.div(s.splat(1.0), s.load(room.total.add(lane)));
                for d in 0..self.head_dim {
                    let p = room.sums.add(d * LANES + lane);
                    s.store(p, s.mul(s.load(p), scale));
                }
            }
            let row = room.scores;
            for lane in 0..queries {
                let token = self.sample * self.q_len + first + lane;
                let at = self.out_layout.start(token) + self.head * self.head_dim;
                let mut d = 0;
                while d < self.head_dim {
                    let n = (self.head_dim - d).min(S::W);
                    for i in 0..n {
                        *row.add(i) = *room.sums.add((d + i) * LANES + lane);
                    }
                    write(s, self.out, self.out_type, at + d, n, part(s, row, n));
                    d += S::W;
                }
            }
        }
    }
}

/// One block of the running softmax, in base 2. Turns scores into weights (in place, or as bf16 pairs of keys),
/// updates maximum and sum, leaves in `fix` what earlier sums are to be multiplied by; whether that is not 1.
///
/// # Safety
/// As `TileJob::all`.
#[inline(always)]
unsafe fn softmax<S: Simd, const BF16: bool>(s: S, room: Room, n: usize, scale: f32) -> bool {
    let factor = s.splat(scale);
    let mut changed = false;
    for lane in (0..LANES).step_by(S::W) {
        // SAFETY: the caller's promise.
        unsafe {
            let scores = room.scores.add(lane);
            let old = s.load(room.most.add(lane));
            let mut best = [s.load(scores), s.load(scores)];
            let mut k = 1;
            while k + 1 < n {
                best[0] = s.max(best[0], s.load(scores.add(k * LANES)));
                best[1] = s.max(best[1], s.load(scores.add((k + 1) * LANES)));
                k += 2;
            }
            if k < n {
                best[0] = s.max(best[0], s.load(scores.add(k * LANES)));
            }
            let new = s.max(old, s.mul(s.max(best[0], best[1]), factor));
            changed |= s.any_gt(new, old);
            let fix = math::exp2_low(s, s.sub(old, new));
            s.store(room.fix.add(lane), fix);
            s.store(room.most.add(lane), new);
            let minus = s.sub(s.splat(0.0), new);
            let mut sums = [s.splat(0.0); 2];
            let mut k = 0;
            while k < n {
                let p0 = weight::<S, BF16>(s, s.fma(s.load(scores.add(k * LANES)), factor, minus));
                let mut p1 = s.splat(0.0);
                if k + 1 < n {
                    p1 = weight::<S, BF16>(s, s.fma(s.load(scores.add((k + 1) * LANES)), factor, minus));
                }
                sums[0] = s.add(sums[0], p0);
                sums[1] = s.add(sums[1], p1);
                if BF16 {
                    s.store_pairs(room.pairs.add(k / 2 * LANES + lane), p0, p1);
                } else {
                    s.store(scores.add(k * LANES), p0);
                    if k + 1 < n {
                        s.store(scores.add((k + 1) * LANES), p1);
                    }
                }
                k += 2;
            }
            let total = s.load(room.total.add(lane));
            s.store(room.total.add(lane), s.fma(total, fix, s.add(sums[0], sums[1])));
        }
    }
    changed
}

/// 2^x for x up to 0, as exactly as what stores it.
#[inline(always)]
fn weight<S: Simd, const BF16: bool>(s: S, x: S::V) -> S::V {
    if BF16 { math::exp2_rough(s, x) } else { math::exp2_low(s, x) }
}

/// # Safety
/// `sums` holds `rows * LANES` f32, `fix` holds `LANES`.
#[inline(always)]
unsafe fn rescale<S: Simd>(s: S, sums: *mut f32, rows: usize, fix: *const f32) {
    for lane in (0..LANES).step_by(S::W) {
        // SAFETY: the caller's promise.
        unsafe {
            let f = s.load(fix.add(lane));
            for i in 0..rows {
                let p = sums.add(i * LANES + lane);
                s.store(p, s.mul(s.load(p), f));
            }
        }
    }
}

/// `sums[i][lane] += sum over n of v[n * stride + i] * weights[n][lane]` for a tile's rows; rows from `valid` on
/// repeat the last one.
///
/// # Safety
/// `v` is readable at `(n - 1) * stride + valid - 1`, `weights` holds `n * LANES` words, `sums` a tile.
#[inline(always)]
unsafe fn weigh<S: Simd, const BF16: bool>(
    s: S,
    n: usize,
    v: *const u32,
    stride: usize,
    valid: usize,
    weights: *const f32,
    sums: *mut f32,
) {
    // SAFETY: handed on.
    unsafe {
        match (S::ROWS, S::VECS, valid == S::ROWS) {
            (8, 2, true) => weigh_tile::<S, 8, 2, BF16, false>(s, n, v, stride, valid, weights, sums),
            (8, 2, false) => weigh_tile::<S, 8, 2, BF16, true>(s, n, v, stride, valid, weights, sums),
            (6, 2, _) => weigh_tile::<S, 6, 2, BF16, true>(s, n, v, stride, valid, weights, sums),
            (6, 4, _) => weigh_tile::<S, 6, 4, BF16, true>(s, n, v, stride, valid, weights, sums),
            _ => weigh_tile::<S, 4, 2, BF16, true>(s, n, v, stride, valid, weights, sums),
        }
    }
}

/// # Safety
/// As [`weigh`].
#[inline(always)]
unsafe fn weigh_tile<S: Simd, const ROWS: usize, const VECS: usize, const BF16: bool, const PART: bool>(
    s: S,
    n: usize,
    v: *const u32,
    stride: usize,
    valid: usize,
    weights: *const f32,
    sums: *mut f32,
) {
    let width = S::W * VECS;
    for pass in 0..LANES / width {
        let lane = pass * width;
        let mut c = [[s.splat(0.0); VECS]; ROWS];
        // SAFETY: the caller's promise; `at` keeps rows below `valid`.
        unsafe {
            let mut at = [0usize; ROWS];
            for i in 0..ROWS {
                at[i] = if PART { i.min(valid - 1) } else { i };
                for j in 0..VECS {
                    c[i][j] = s.load(sums.add(i * LANES + lane + j * S::W));
                }
            }
            let (mut v, mut w) = (v, weights.add(lane));
            for _ in 0..n {
                if BF16 {
                    for i in 0..ROWS {
                        let x = *v.add(at[i]);
                        for j in 0..VECS {
                            c[i][j] = s.dot2(c[i][j], x, w.add(j * S::W).cast());
                        }
                    }
                } else {
                    let mut b = [s.splat(0.0); VECS];
                    for j in 0..VECS {
                        b[j] = s.load(w.add(j * S::W));
                    }
                    for i in 0..ROWS {
                        let x = s.splat(f32::from_bits(*v.add(at[i])));
                        for j in 0..VECS {
                            c[i][j] = s.fma(x, b[j], c[i][j]);
                        }
                    }
                }
                v = v.wrapping_add(stride);
                w = w.add(LANES);
            }
            for i in 0..ROWS {
                for j in 0..VECS {
                    s.store(sums.add(i * LANES + lane + j * S::W), c[i][j]);
                }
            }
        }
    }
}
