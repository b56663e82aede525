//! One vocabulary of vector operations, implemented once for each path.
//!
//! Kernels are written once, generic over [`Simd`], and everything they call is `#[inline(always)]`; [`dispatch`]
//! instantiates them inside a function that has the path's instructions enabled. A [`Simd`] value is the proof that
//! the instructions exist, which is why arithmetic on it is safe: only memory access is not.

#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;
pub(crate) mod math;
#[cfg(target_arch = "aarch64")]
pub(crate) mod neon;
pub(crate) mod portable;

use crate::path::Path;

/// Output lanes of a packed weight panel, and queries of an attention tile, on every path.
pub(crate) const LANES: usize = 32;
/// The most rows a tile has on any path.
pub(crate) const MAX_ROWS: usize = 12;

/// Vector operations of one path.
pub(crate) trait Simd: Copy + Send + Sync + 'static {
    /// `W` f32 lanes.
    type V: Copy;
    /// Lanes of a vector.
    const W: usize;
    /// Rows of a matrix-product tile.
    const ROWS: usize;
    /// Vectors across a tile: `LANES / (W * VECS)` passes cover a panel.
    const VECS: usize;

    fn splat(self, x: f32) -> Self::V;
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a * b + c`.
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// The nearest integer.
    fn round(self, x: Self::V) -> Self::V;
    /// `x * 2^n` for integral `n` in -127..=127.
    fn scale2(self, x: Self::V, n: Self::V) -> Self::V;
    /// `x` where `a < b`, else `y`.
    fn select_lt(self, a: Self::V, b: Self::V, x: Self::V, y: Self::V) -> Self::V;
    /// Whether `a > b` in any lane.
    fn any_gt(self, a: Self::V, b: Self::V) -> bool;
    /// The sum of the lanes.
    fn sum(self, v: Self::V) -> f32;
    /// The largest lane.
    fn largest(self, v: Self::V) -> f32;

    /// Asks for the cache line of `p`, which need not be valid.
    #[inline(always)]
    fn prefetch(self, _p: *const u8) {}

    /// # Safety
    /// `p` must be valid for reads of `W` f32; any alignment.
    unsafe fn load(self, p: *const f32) -> Self::V;
    /// # Safety
    /// `p` must be valid for writes of `W` f32; any alignment.
    unsafe fn store(self, p: *mut f32, v: Self::V);
    /// bf16 to f32. # Safety: `p` must be valid for reads of `W` u16.
    unsafe fn load_bf16(self, p: *const u16) -> Self::V;
    /// f32 to bf16, to nearest even. # Safety: `p` must be valid for writes of `W` u16.
    unsafe fn store_bf16(self, p: *mut u16, v: Self::V);
    /// f16 to f32. # Safety: `p` must be valid for reads of `W` u16.
    unsafe fn load_f16(self, p: *const u16) -> Self::V;
    /// The low and high bf16 of `W` pairs, widened. # Safety: `p` must be valid for reads of `W` u32.
    unsafe fn load_pairs(self, p: *const u32) -> (Self::V, Self::V);
    /// Writes pairs of bf16, `lo` in the low halves. # Safety: `p` must be valid for writes of `W` u32.
    unsafe fn store_pairs(self, p: *mut u32, lo: Self::V, hi: Self::V);

    /// Signed bytes to f32. # Safety: `p` must be valid for reads of `W` bytes.
    #[inline(always)]
    unsafe fn load_i8(self, p: *const i8) -> Self::V {
        let mut t = [0f32; 16];
        for (i, t) in t.iter_mut().enumerate().take(Self::W) {
            // SAFETY: the caller's promise.
            *t = f32::from(unsafe { *p.add(i) });
        }
        // SAFETY: `t` holds 16 >= W elements.
        unsafe { self.load(t.as_ptr()) }
    }
    /// The four bits from bit `shift` (0 or 4) of each byte, to f32. # Safety: `p` must be valid for `W` bytes.
    #[inline(always)]
    unsafe fn load_u4(self, p: *const u8, shift: usize) -> Self::V {
        let mut t = [0f32; 16];
        for (i, t) in t.iter_mut().enumerate().take(Self::W) {
            // SAFETY: the caller's promise.
            *t = f32::from(unsafe { *p.add(i) } >> shift & 15);
        }
        // SAFETY: `t` holds 16 >= W elements.
        unsafe { self.load(t.as_ptr()) }
    }
    /// The first `n < W` lanes, the others 0. # Safety: `p` must be valid for reads of `n` f32.
    #[inline(always)]
    unsafe fn load_n(self, p: *const f32, n: usize) -> Self::V {
        let mut t = [0f32; 16];
        // SAFETY: the caller gives `n` readable elements, and `n < W <= 16`.
        unsafe {
            std::ptr::copy_nonoverlapping(p, t.as_mut_ptr(), n.min(Self::W));
            self.load(t.as_ptr())
        }
    }
    /// Stores the first `n < W` lanes. # Safety: `p` must be valid for writes of `n` f32.
    #[inline(always)]
    unsafe fn store_n(self, p: *mut f32, n: usize, v: Self::V) {
        let mut t = [0f32; 16];
        // SAFETY: the caller gives `n` writable elements, and `n < W <= 16`.
        unsafe {
            self.store(t.as_mut_ptr(), v);
            std::ptr::copy_nonoverlapping(t.as_ptr(), p, n.min(Self::W));
        }
    }
    /// bf16 [`Simd::load_n`]. # Safety: `p` must be valid for reads of `n` u16.
    #[inline(always)]
    unsafe fn load_bf16_n(self, p: *const u16, n: usize) -> Self::V {
        let mut t = [0u16; 16];
        // SAFETY: the caller gives `n` readable elements, and `n < W <= 16`.
        unsafe {
            std::ptr::copy_nonoverlapping(p, t.as_mut_ptr(), n.min(Self::W));
            self.load_bf16(t.as_ptr())
        }
    }
    /// bf16 [`Simd::store_n`]. # Safety: `p` must be valid for writes of `n` u16.
    #[inline(always)]
    unsafe fn store_bf16_n(self, p: *mut u16, n: usize, v: Self::V) {
        let mut t = [0u16; 16];
        // SAFETY: the caller gives `n` writable elements, and `n < W <= 16`.
        unsafe {
            self.store_bf16(t.as_mut_ptr(), v);
            std::ptr::copy_nonoverlapping(t.as_ptr(), p, n.min(Self::W));
        }
    }

    /// `c + a.lo * b.lo + a.hi * b.hi`: one pair of bf16 of a row against `W` pairs of a panel.
    /// # Safety: `b` must be valid for reads of `W` u32.
    #[inline(always)]
    unsafe fn dot2(self, c: Self::V, a: u32, b: *const u32) -> Self::V {
        // SAFETY: handed on.
        let (lo, hi) = unsafe { self.load_pairs(b) };
        let c = self.fma(self.splat(f32::from_bits(a << 16)), lo, c);
        self.fma(self.splat(f32::from_bits(a & 0xffff_0000)), hi, c)
    }
}

/// Work that runs with a path's instructions.
pub(crate) trait Task {
    type Output;
    /// # Safety
    /// What the task's own documentation asks of its pointers. Must be `#[inline(always)]`.
    unsafe fn run<S: Simd>(self, s: S) -> Self::Output;
}

/// Runs `task` with the instructions of `path`.
///
/// # Safety
/// `path` must be available on this machine, and the task's own conditions hold.
pub(crate) unsafe fn dispatch<T: Task>(path: Path, task: T) -> T::Output {
    // SAFETY: the caller vouches for the path and the task.
    unsafe {
        match path {
            #[cfg(target_arch = "x86_64")]
            Path::Avx512Bf16 => avx512::enter_bf16(task),
            #[cfg(target_arch = "x86_64")]
            Path::Avx512 => avx512::enter(task),
            #[cfg(target_arch = "x86_64")]
            Path::Avx2 => avx2::enter(task),
            #[cfg(target_arch = "aarch64")]
            Path::Neon => neon::enter(task),
            _ => task.run(portable::Portable),
        }
    }
}

/// Rows of a tile on a path.
pub(crate) fn tile_rows(path: Path) -> usize {
    match path {
        #[cfg(target_arch = "x86_64")]
        Path::Avx512Bf16 | Path::Avx512 => avx512::Avx512::<false>::ROWS,
        #[cfg(target_arch = "x86_64")]
        Path::Avx2 => avx2::Avx2::ROWS,
        #[cfg(target_arch = "aarch64")]
        Path::Neon => neon::Neon::ROWS,
        _ => portable::Portable::ROWS,
    }
}
