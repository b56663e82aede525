//! AVX2 with FMA and F16C.

#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::{Simd, Task};

/// Proof of AVX2, FMA and F16C.
#[derive(Clone, Copy)]
pub(crate) struct Avx2(());

/// # Safety
/// The machine must have the features named below, and the task's conditions hold.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn enter<T: Task>(task: T) -> T::Output {
    // SAFETY: the caller vouches for both.
    unsafe { task.run(Avx2(())) }
}

// One reason covers every block of this file: an `Avx2` value exists only inside `enter`, which runs on machines
// that have the features; pointers are the caller's promise, as the trait says.
macro_rules! ops {
    ($(fn $name:ident($($arg:ident: $ty:ty),*) -> $ret:ty { $body:expr })*) => { $(
        #[inline(always)]
        fn $name(self, $($arg: $ty),*) -> $ret {
            // SAFETY: `self` proves the features.
            unsafe { $body }
        }
    )* };
}

/// To bf16 with rounding to nearest even, in the low 16 bits of each lane; NaN stays NaN.
#[target_feature(enable = "avx2")]
#[inline]
fn round_bf16(v: __m256) -> __m256i {
    let bits = _mm256_castps_si256(v);
    let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
    let up = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
    let nan = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(v, v));
    _mm256_blendv_epi8(_mm256_srli_epi32::<16>(up), _mm256_set1_epi32(0x7fc0), nan)
}

/// 2^k for integral lanes in -127..=127 (0 for -127, which the halving in `scale2` never asks for).
#[target_feature(enable = "avx2")]
#[inline]
fn power(k: __m256i) -> __m256 {
    _mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_add_epi32(k, _mm256_set1_epi32(127))))
}

/// `x * 2^n` in two halves, so that n = -127 reaches the subnormals.
#[target_feature(enable = "avx2")]
#[inline]
fn scale(x: __m256, n: __m256) -> __m256 {
    let e = _mm256_cvtps_epi32(n);
    let half = _mm256_srai_epi32::<1>(e);
    _mm256_mul_ps(_mm256_mul_ps(x, power(half)), power(_mm256_sub_epi32(e, half)))
}

#[target_feature(enable = "avx2")]
#[inline]
fn fold_sum(v: __m256) -> f32 {
    let q = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
    let d = _mm_add_ps(q, _mm_movehl_ps(q, q));
    _mm_cvtss_f32(_mm_add_ss(d, _mm_shuffle_ps::<1>(d, d)))
}

#[target_feature(enable = "avx2")]
#[inline]
fn fold_max(v: __m256) -> f32 {
    let q = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
    let d = _mm_max_ps(q, _mm_movehl_ps(q, q));
    _mm_cvtss_f32(_mm_max_ss(d, _mm_shuffle_ps::<1>(d, d)))
}

impl Simd for Avx2 {
    type V = __m256;
    const W: usize = 8;
    const ROWS: usize = 6;
    const VECS: usize = 2;

    ops! {
        fn splat(x: f32) -> __m256 { _mm256_set1_ps(x) }
        fn add(a: __m256, b: __m256) -> __m256 { _mm256_add_ps(a, b) }
        fn sub(a: __m256, b: __m256) -> __m256 { _mm256_sub_ps(a, b) }
        fn mul(a: __m256, b: __m256) -> __m256 { _mm256_mul_ps(a, b) }
        fn div(a: __m256, b: __m256) -> __m256 { _mm256_div_ps(a, b) }
        fn max(a: __m256, b: __m256) -> __m256 { _mm256_max_ps(a, b) }
        fn min(a: __m256, b: __m256) -> __m256 { _mm256_min_ps(a, b) }
        fn fma(a: __m256, b: __m256, c: __m256) -> __m256 { _mm256_fmadd_ps(a, b, c) }
        fn round(x: __m256) -> __m256 { _mm256_round_ps::<0x08>(x) }
        fn scale2(x: __m256, n: __m256) -> __m256 { scale(x, n) }
        fn select_lt(a: __m256, b: __m256, x: __m256, y: __m256) -> __m256 {
            _mm256_blendv_ps(y, x, _mm256_cmp_ps::<_CMP_LT_OQ>(a, b))
        }
        fn any_gt(a: __m256, b: __m256) -> bool { _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_GT_OQ>(a, b)) != 0 }
        fn sum(v: __m256) -> f32 { fold_sum(v) }
        fn largest(v: __m256) -> f32 { fold_max(v) }
    }

    #[inline(always)]
    fn prefetch(self, p: *const u8) {
        // SAFETY: a prefetch of any address is allowed.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
    }

    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> __m256 {
        // SAFETY: see the note above `ops`.
        unsafe { _mm256_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: __m256) {
        // SAFETY: see the note above `ops`.
        unsafe { _mm256_storeu_ps(p, v) }
    }
    #[inline(always)]
    unsafe fn load_bf16(self, p: *const u16) -> __m256 {
        // SAFETY: see the note above `ops`.
        unsafe {
            let v = _mm256_cvtepu16_epi32(_mm_loadu_si128(p.cast()));
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(v))
        }
    }
    #[inline(always)]
    unsafe fn store_bf16(self, p: *mut u16, v: __m256) {
        // SAFETY: see the note above `ops`. The pack works within 128-bit halves: the permutation joins them.
        unsafe {
            let r = round_bf16(v);
            let packed = _mm256_permute4x64_epi64::<0b1000>(_mm256_packus_epi32(r, r));
            _mm_storeu_si128(p.cast(), _mm256_castsi256_si128(packed));
        }
    }
    #[inline(always)]
    unsafe fn load_f16(self, p: *const u16) -> __m256 {
        // SAFETY: see the note above `ops`.
        unsafe { _mm256_cvtph_ps(_mm_loadu_si128(p.cast())) }
    }
    #[inline(always)]
    unsafe fn load_i8(self, p: *const i8) -> __m256 {
        // SAFETY: see the note above `ops`.
        unsafe { _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(p.cast()))) }
    }
    #[inline(always)]
    unsafe fn load_u4(self, p: *const u8, shift: usize) -> __m256 {
        // SAFETY: see the note above `ops`.
        unsafe {
            let bytes = _mm256_cvtepu8_epi32(_mm_loadl_epi64(p.cast()));
            let shifted = _mm256_srl_epi32(bytes, _mm_cvtsi64_si128(shift as i64));
            _mm256_cvtepi32_ps(_mm256_and_si256(shifted, _mm256_set1_epi32(15)))
        }
    }
    #[inline(always)]
    unsafe fn load_pairs(self, p: *const u32) -> (__m256, __m256) {
        // SAFETY: see the note above `ops`.
        unsafe {
            let v = _mm256_loadu_si256(p.cast());
            let hi = _mm256_and_si256(v, _mm256_set1_epi32(0xffff_0000_u32 as i32));
            (_mm256_castsi256_ps(_mm256_slli_epi32::<16>(v)), _mm256_castsi256_ps(hi))
        }
    }
    #[inline(always)]
    unsafe fn store_pairs(self, p: *mut u32, lo: __m256, hi: __m256) {
        // SAFETY: see the note above `ops`.
        unsafe {
            let v = _mm256_or_si256(round_bf16(lo), _mm256_slli_epi32::<16>(round_bf16(hi)));
            _mm256_storeu_si256(p.cast(), v);
        }
    }
}
