//! AVX-512, with BF16 products where the machine has them.

#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::{Simd, Task};

/// Proof of AVX-512 F, BW, DQ and VL, and of BF16 when `BF16`.
#[derive(Clone, Copy)]
pub(crate) struct Avx512<const BF16: bool>(());

/// # Safety
/// The machine must have the features named below, and the task's conditions hold.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
pub(super) unsafe fn enter<T: Task>(task: T) -> T::Output {
    // SAFETY: the caller vouches for both.
    unsafe { task.run(Avx512::<false>(())) }
}

/// # Safety
/// The machine must have the features named below, and the task's conditions hold.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma,f16c")]
pub(super) unsafe fn enter_bf16<T: Task>(task: T) -> T::Output {
    // SAFETY: the caller vouches for both.
    unsafe { task.run(Avx512::<true>(())) }
}

// One reason covers every block of this file: an `Avx512` value exists only inside the functions above, which run
// on machines that have the features; pointers are the caller's promise, as the trait says.
macro_rules! ops {
    ($($(#[$meta:meta])* fn $name:ident($($arg:ident: $ty:ty),*) -> $ret:ty { $body:expr })*) => { $(
        #[inline(always)]
        fn $name(self, $($arg: $ty),*) -> $ret {
            // SAFETY: `self` proves the features.
            unsafe { $body }
        }
    )* };
}

#[inline(always)]
fn mask(n: usize) -> __mmask16 {
    ((1u32 << n.min(16)) - 1) as __mmask16
}

/// To bf16 with rounding to nearest even, in the low 16 bits of each lane. A NaN stays one: the payload's low bits
/// could carry into infinity, so those lanes get a quiet NaN.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn round_bf16(v: __m512) -> __m512i {
    let bits = _mm512_castps_si512(v);
    let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
    let up = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(v, v);
    _mm512_mask_mov_epi32(_mm512_srli_epi32::<16>(up), nan, _mm512_set1_epi32(0x7fc0))
}

/// Indices that put 16-bit values i and i + 16 side by side.
#[target_feature(enable = "avx512f")]
#[inline]
fn interleave() -> __m512i {
    // Each 32-bit lane i holds i and, above it, i + 16.
    let low = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    _mm512_or_si512(low, _mm512_slli_epi32::<16>(_mm512_add_epi32(low, _mm512_set1_epi32(16))))
}

impl<const BF16: bool> Simd for Avx512<BF16> {
    type V = __m512;
    const W: usize = 16;
    const ROWS: usize = 8;
    const VECS: usize = 2;

    ops! {
        fn splat(x: f32) -> __m512 { _mm512_set1_ps(x) }
        fn add(a: __m512, b: __m512) -> __m512 { _mm512_add_ps(a, b) }
        fn sub(a: __m512, b: __m512) -> __m512 { _mm512_sub_ps(a, b) }
        fn mul(a: __m512, b: __m512) -> __m512 { _mm512_mul_ps(a, b) }
        fn div(a: __m512, b: __m512) -> __m512 { _mm512_div_ps(a, b) }
        fn max(a: __m512, b: __m512) -> __m512 { _mm512_max_ps(a, b) }
        fn min(a: __m512, b: __m512) -> __m512 { _mm512_min_ps(a, b) }
        fn fma(a: __m512, b: __m512, c: __m512) -> __m512 { _mm512_fmadd_ps(a, b, c) }
        fn round(x: __m512) -> __m512 { _mm512_roundscale_ps::<0x08>(x) }
        fn scale2(x: __m512, n: __m512) -> __m512 { _mm512_scalef_ps(x, n) }
        fn select_lt(a: __m512, b: __m512, x: __m512, y: __m512) -> __m512 {
            _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b), y, x)
        }
        fn any_gt(a: __m512, b: __m512) -> bool { _mm512_cmp_ps_mask::<_CMP_GT_OQ>(a, b) != 0 }
        fn sum(v: __m512) -> f32 { _mm512_reduce_add_ps(v) }
        fn largest(v: __m512) -> f32 { _mm512_reduce_max_ps(v) }
    }

    #[inline(always)]
    fn prefetch(self, p: *const u8) {
        // SAFETY: a prefetch of any address is allowed.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
    }

    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> __m512 {
        // SAFETY: see the note above `ops`.
        unsafe { _mm512_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: __m512) {
        // SAFETY: see the note above `ops`.
        unsafe { _mm512_storeu_ps(p, v) }
    }
    #[inline(always)]
    unsafe fn load_bf16(self, p: *const u16) -> __m512 {
        // SAFETY: see the note above `ops`.
        unsafe {
            let v = _mm512_cvtepu16_epi32(_mm256_loadu_si256(p.cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(v))
        }
    }
    #[inline(always)]
    unsafe fn store_bf16(self, p: *mut u16, v: __m512) {
        // SAFETY: see the note above `ops`.
        unsafe { _mm256_storeu_si256(p.cast(), _mm512_cvtepi32_epi16(round_bf16(v))) }
    }
    #[inline(always)]
    unsafe fn load_f16(self, p: *const u16) -> __m512 {
        // SAFETY: see the note above `ops`.
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(p.cast())) }
    }
    #[inline(always)]
    unsafe fn load_pairs(self, p: *const u32) -> (__m512, __m512) {
        // SAFETY: see the note above `ops`.
        unsafe {
            let v = _mm512_loadu_si512(p.cast());
            let hi = _mm512_and_si512(v, _mm512_set1_epi32(0xffff_0000_u32 as i32));
            (_mm512_castsi512_ps(_mm512_slli_epi32::<16>(v)), _mm512_castsi512_ps(hi))
        }
    }
    #[inline(always)]
    unsafe fn store_pairs(self, p: *mut u32, lo: __m512, hi: __m512) {
        // SAFETY: see the note above `ops`; the instruction is used only where `BF16` proves it. The transmute only
        // renames 64 bytes.
        unsafe {
            let v = if BF16 {
                // Rounds to nearest even; subnormals become zero.
                let apart: __m512i = std::mem::transmute(_mm512_cvtne2ps_pbh(hi, lo));
                _mm512_permutexvar_epi16(interleave(), apart)
            } else {
                _mm512_or_si512(round_bf16(lo), _mm512_slli_epi32::<16>(round_bf16(hi)))
            };
            _mm512_storeu_si512(p.cast(), v);
        }
    }
    #[inline(always)]
    unsafe fn load_i8(self, p: *const i8) -> __m512 {
        // SAFETY: see the note above `ops`.
        unsafe { _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(p.cast()))) }
    }
    #[inline(always)]
    unsafe fn load_u4(self, p: *const u8, shift: usize) -> __m512 {
        // SAFETY: see the note above `ops`.
        unsafe {
            let bytes = _mm512_cvtepu8_epi32(_mm_loadu_si128(p.cast()));
            let shifted = _mm512_srl_epi32(bytes, _mm_cvtsi64_si128(shift as i64));
            _mm512_cvtepi32_ps(_mm512_and_si512(shifted, _mm512_set1_epi32(15)))
        }
    }
    #[inline(always)]
    unsafe fn load_n(self, p: *const f32, n: usize) -> __m512 {
        // SAFETY: see the note above `ops`; masked lanes are not read.
        unsafe { _mm512_maskz_loadu_ps(mask(n), p) }
    }
    #[inline(always)]
    unsafe fn store_n(self, p: *mut f32, n: usize, v: __m512) {
        // SAFETY: see the note above `ops`; masked lanes are not written.
        unsafe { _mm512_mask_storeu_ps(p, mask(n), v) }
    }
    #[inline(always)]
    unsafe fn load_bf16_n(self, p: *const u16, n: usize) -> __m512 {
        // SAFETY: see the note above `ops`; masked lanes are not read.
        unsafe {
            let v = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask(n), p.cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(v))
        }
    }
    #[inline(always)]
    unsafe fn store_bf16_n(self, p: *mut u16, n: usize, v: __m512) {
        // SAFETY: see the note above `ops`; masked lanes are not written.
        unsafe { _mm256_mask_storeu_epi16(p.cast(), mask(n), _mm512_cvtepi32_epi16(round_bf16(v))) }
    }
    #[inline(always)]
    unsafe fn dot2(self, c: __m512, a: u32, b: *const u32) -> __m512 {
        // SAFETY: see the note above `ops`; the instruction is used only where `BF16` proves it. The transmutes
        // only rename 64 bytes.
        unsafe {
            if BF16 {
                let pairs: __m512bh = std::mem::transmute(_mm512_loadu_si512(b.cast()));
                let row: __m512bh = std::mem::transmute(_mm512_set1_epi32(a as i32));
                _mm512_dpbf16_ps(c, row, pairs)
            } else {
                let (lo, hi) = self.load_pairs(b);
                let c = self.fma(self.splat(f32::from_bits(a << 16)), lo, c);
                self.fma(self.splat(f32::from_bits(a & 0xffff_0000)), hi, c)
            }
        }
    }
}
