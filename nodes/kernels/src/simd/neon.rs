//! NEON of 64-bit ARM. `tools/neon/test.sh` compiles and tests it, under an emulator elsewhere; it was never timed.

#![allow(unsafe_code)]

use std::arch::aarch64::*;

use half::{bf16, f16};

use super::{Simd, Task};

/// Proof of NEON, which every 64-bit ARM has.
#[derive(Clone, Copy)]
pub(crate) struct Neon(());

/// # Safety
/// The task's conditions hold.
#[target_feature(enable = "neon")]
pub(super) unsafe fn enter<T: Task>(task: T) -> T::Output {
    // SAFETY: the caller vouches for the task.
    unsafe { task.run(Neon(())) }
}

// One reason covers every block of this file: NEON is part of the architecture; pointers are the caller's promise,
// as the trait says.
macro_rules! ops {
    ($(fn $name:ident($($arg:ident: $ty:ty),*) -> $ret:ty { $body:expr })*) => { $(
        #[inline(always)]
        fn $name(self, $($arg: $ty),*) -> $ret {
            // Some of these intrinsics are safe functions, others are not; one macro makes both.
            #[allow(unused_unsafe)]
            // SAFETY: NEON is always there.
            unsafe { $body }
        }
    )* };
}

impl Simd for Neon {
    type V = float32x4_t;
    const W: usize = 4;
    const ROWS: usize = 6;
    const VECS: usize = 4;

    ops! {
        fn splat(x: f32) -> float32x4_t { vdupq_n_f32(x) }
        fn add(a: float32x4_t, b: float32x4_t) -> float32x4_t { vaddq_f32(a, b) }
        fn sub(a: float32x4_t, b: float32x4_t) -> float32x4_t { vsubq_f32(a, b) }
        fn mul(a: float32x4_t, b: float32x4_t) -> float32x4_t { vmulq_f32(a, b) }
        fn div(a: float32x4_t, b: float32x4_t) -> float32x4_t { vdivq_f32(a, b) }
        fn max(a: float32x4_t, b: float32x4_t) -> float32x4_t { vmaxq_f32(a, b) }
        fn min(a: float32x4_t, b: float32x4_t) -> float32x4_t { vminq_f32(a, b) }
        fn fma(a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t { vfmaq_f32(c, a, b) }
        fn round(x: float32x4_t) -> float32x4_t { vrndnq_f32(x) }
        fn scale2(x: float32x4_t, n: float32x4_t) -> float32x4_t {
            // In two halves, so that n = -127 reaches the subnormals.
            {
                let e = vcvtnq_s32_f32(n);
                let half = vshrq_n_s32::<1>(e);
                let power = |k| vreinterpretq_f32_s32(vshlq_n_s32::<23>(vaddq_s32(k, vdupq_n_s32(127))));
                vmulq_f32(vmulq_f32(x, power(half)), power(vsubq_s32(e, half)))
            }
        }
        fn select_lt(a: float32x4_t, b: float32x4_t, x: float32x4_t, y: float32x4_t) -> float32x4_t {
            vbslq_f32(vcltq_f32(a, b), x, y)
        }
        fn any_gt(a: float32x4_t, b: float32x4_t) -> bool { vmaxvq_u32(vcgtq_f32(a, b)) != 0 }
        fn sum(v: float32x4_t) -> f32 { vaddvq_f32(v) }
        fn largest(v: float32x4_t) -> f32 { vmaxvq_f32(v) }
    }

    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> float32x4_t {
        // SAFETY: see the note above `ops`.
        unsafe { vld1q_f32(p) }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: float32x4_t) {
        // SAFETY: see the note above `ops`.
        unsafe { vst1q_f32(p, v) }
    }
    #[inline(always)]
    unsafe fn load_bf16(self, p: *const u16) -> float32x4_t {
        // SAFETY: see the note above `ops`.
        unsafe { vreinterpretq_f32_u32(vshll_n_u16::<16>(vld1_u16(p))) }
    }
    #[inline(always)]
    unsafe fn store_bf16(self, p: *mut u16, v: float32x4_t) {
        let mut t = [0f32; 4];
        // SAFETY: see the note above `ops`.
        unsafe {
            vst1q_f32(t.as_mut_ptr(), v);
            p.cast::<[u16; 4]>().write_unaligned(t.map(|x| bf16::from_f32(x).to_bits()));
        }
    }
    #[inline(always)]
    unsafe fn load_f16(self, p: *const u16) -> float32x4_t {
        // SAFETY: see the note above `ops`.
        unsafe {
            let t = p.cast::<[u16; 4]>().read_unaligned().map(|x| f16::from_bits(x).to_f32());
            vld1q_f32(t.as_ptr())
        }
    }
    #[inline(always)]
    unsafe fn load_pairs(self, p: *const u32) -> (float32x4_t, float32x4_t) {
        // SAFETY: see the note above `ops`.
        unsafe {
            let v = vld1q_u32(p);
            let hi = vandq_u32(v, vdupq_n_u32(0xffff_0000));
            (vreinterpretq_f32_u32(vshlq_n_u32::<16>(v)), vreinterpretq_f32_u32(hi))
        }
    }
    #[inline(always)]
    unsafe fn store_pairs(self, p: *mut u32, lo: float32x4_t, hi: float32x4_t) {
        let (mut a, mut b) = ([0f32; 4], [0f32; 4]);
        // SAFETY: see the note above `ops`.
        unsafe {
            vst1q_f32(a.as_mut_ptr(), lo);
            vst1q_f32(b.as_mut_ptr(), hi);
            for i in 0..4 {
                let pair = u32::from(bf16::from_f32(a[i]).to_bits())
                    | (u32::from(bf16::from_f32(b[i]).to_bits()) << 16);
                p.add(i).write_unaligned(pair);
            }
        }
    }
}
