//! The path of any machine: arrays of four lanes that the compiler maps to what it has.

#![allow(unsafe_code)]

use half::{bf16, f16};

use super::Simd;

#[derive(Clone, Copy)]
pub(crate) struct Portable;

const W: usize = 4;
type Lanes = [f32; W];

#[inline(always)]
fn zip(a: Lanes, b: Lanes, f: impl Fn(f32, f32) -> f32) -> Lanes {
    [f(a[0], b[0]), f(a[1], b[1]), f(a[2], b[2]), f(a[3], b[3])]
}

#[inline(always)]
fn map(a: Lanes, f: impl Fn(f32) -> f32) -> Lanes {
    [f(a[0]), f(a[1]), f(a[2]), f(a[3])]
}

impl Simd for Portable {
    type V = Lanes;
    const W: usize = W;
    const ROWS: usize = 4;
    const VECS: usize = 2;

    #[inline(always)]
    fn splat(self, x: f32) -> Lanes {
        [x; W]
    }
    #[inline(always)]
    fn add(self, a: Lanes, b: Lanes) -> Lanes {
        zip(a, b, |x, y| x + y)
    }
    #[inline(always)]
    fn sub(self, a: Lanes, b: Lanes) -> Lanes {
        zip(a, b, |x, y| x - y)
    }
    #[inline(always)]
    fn mul(self, a: Lanes, b: Lanes) -> Lanes {
        zip(a, b, |x, y| x * y)
    }
    #[inline(always)]
    fn div(self, a: Lanes, b: Lanes) -> Lanes {
        zip(a, b, |x, y| x / y)
    }
    #[inline(always)]
    fn max(self, a: Lanes, b: Lanes) -> Lanes {
        zip(a, b, |x, y| if x > y { x } else { y })
    }
    #[inline(always)]
    fn min(self, a: Lanes, b: Lanes) -> Lanes {
        zip(a, b, |x, y| if x < y { x } else { y })
    }
    #[inline(always)]
    fn fma(self, a: Lanes, b: Lanes, c: Lanes) -> Lanes {
        // Not `mul_add`: without the instruction that is a call into libm for every lane.
        self.add(self.mul(a, b), c)
    }
    #[inline(always)]
    fn round(self, x: Lanes) -> Lanes {
        // Adding and taking away 1.5 * 2^23 rounds to nearest even for |x| < 2^22, without a call.
        const MAGIC: f32 = 12_582_912.0;
        map(x, |v| (v + MAGIC) - MAGIC)
    }
    #[inline(always)]
    fn scale2(self, x: Lanes, n: Lanes) -> Lanes {
        // In two halves, so that n = -127 reaches the subnormals instead of a wrong exponent.
        zip(x, n, |v, e| {
            let e = e as i32;
            let half = |k: i32| f32::from_bits(((k + 127) as u32) << 23);
            v * half(e >> 1) * half(e - (e >> 1))
        })
    }
    #[inline(always)]
    fn select_lt(self, a: Lanes, b: Lanes, x: Lanes, y: Lanes) -> Lanes {
        let pick = |i: usize| if a[i] < b[i] { x[i] } else { y[i] };
        [pick(0), pick(1), pick(2), pick(3)]
    }
    #[inline(always)]
    fn any_gt(self, a: Lanes, b: Lanes) -> bool {
        a[0] > b[0] || a[1] > b[1] || a[2] > b[2] || a[3] > b[3]
    }
    #[inline(always)]
    fn sum(self, v: Lanes) -> f32 {
        (v[0] + v[1]) + (v[2] + v[3])
    }
    #[inline(always)]
    fn largest(self, v: Lanes) -> f32 {
        v[0].max(v[1]).max(v[2].max(v[3]))
    }
    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> Lanes {
        // SAFETY: the caller gives W readable elements.
        unsafe { p.cast::<Lanes>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: Lanes) {
        // SAFETY: the caller gives W writable elements.
        unsafe { p.cast::<Lanes>().write_unaligned(v) }
    }
    #[inline(always)]
    unsafe fn load_bf16(self, p: *const u16) -> Lanes {
        // SAFETY: the caller gives W readable elements.
        let v = unsafe { p.cast::<[u16; W]>().read_unaligned() };
        let wide = |x: u16| f32::from_bits(u32::from(x) << 16);
        [wide(v[0]), wide(v[1]), wide(v[2]), wide(v[3])]
    }
    #[inline(always)]
    unsafe fn store_bf16(self, p: *mut u16, v: Lanes) {
        let narrow = |x: f32| bf16::from_f32(x).to_bits();
        // SAFETY: the caller gives W writable elements.
        unsafe {
            p.cast::<[u16; W]>().write_unaligned([narrow(v[0]), narrow(v[1]), narrow(v[2]), narrow(v[3])])
        }
    }
    #[inline(always)]
    unsafe fn load_f16(self, p: *const u16) -> Lanes {
        // SAFETY: the caller gives W readable elements.
        let v = unsafe { p.cast::<[u16; W]>().read_unaligned() };
        let wide = |x: u16| f16::from_bits(x).to_f32_const();
        [wide(v[0]), wide(v[1]), wide(v[2]), wide(v[3])]
    }
    #[inline(always)]
    unsafe fn load_pairs(self, p: *const u32) -> (Lanes, Lanes) {
        // SAFETY: the caller gives W readable elements.
        let v = unsafe { p.cast::<[u32; W]>().read_unaligned() };
        let lo = |x: u32| f32::from_bits(x << 16);
        let hi = |x: u32| f32::from_bits(x & 0xffff_0000);
        ([lo(v[0]), lo(v[1]), lo(v[2]), lo(v[3])], [hi(v[0]), hi(v[1]), hi(v[2]), hi(v[3])])
    }
    #[inline(always)]
    unsafe fn store_pairs(self, p: *mut u32, lo: Lanes, hi: Lanes) {
        let pair = |i: usize| {
            u32::from(bf16::from_f32(lo[i]).to_bits()) | (u32::from(bf16::from_f32(hi[i]).to_bits()) << 16)
        };
        // SAFETY: the caller gives W writable elements.
        unsafe { p.cast::<[u32; W]>().write_unaligned([pair(0), pair(1), pair(2), pair(3)]) }
    }
}
