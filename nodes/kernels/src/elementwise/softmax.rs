//! Softmax over rows.

#![allow(unsafe_code)]

use crate::error::{Result, at_least, product};
use crate::gemm::{SendPtr, read, write};
use crate::kernels::Kernels;
use crate::simd::{Simd, Task, dispatch, math};
use crate::view::{DType, View, ViewMut};

/// `out[r] = softmax(scale * x[r])` for each row.
#[derive(Debug)]
pub struct Softmax<'a> {
    /// Rows of `channels` values.
    pub x: View<'a>,
    /// Number of rows.
    pub rows: usize,
    /// Values of a row.
    pub channels: usize,
    /// Multiplies the values first.
    pub scale: f32,
    /// Rows of `channels` values.
    pub out: ViewMut<'a>,
}

impl Kernels {
    /// Runs a softmax.
    pub fn softmax(&self, args: Softmax<'_>) -> Result<()> {
        let Softmax { x, rows, channels, scale, mut out } = args;
        let len = product("softmax", &[rows, channels])?;
        at_least("softmax", "input length", len, x.len())?;
        at_least("softmax", "output length", len, out.len())?;
        const BLOCK: usize = 16;
        let (to, out_type) = (SendPtr(out.as_mut_ptr()), out.dtype());
        self.threads().each(rows.div_ceil(BLOCK), |t| {
            let range = t * BLOCK..((t + 1) * BLOCK).min(rows);
            let job = Job { x, range, channels, scale, to: to.get(), out_type };
            // SAFETY: lengths were checked above; tasks write disjoint rows.
            unsafe { dispatch(self.path(), job) };
        });
        Ok(())
    }
}

struct Job<'a> {
    x: View<'a>,
    range: std::ops::Range<usize>,
    channels: usize,
    scale: f32,
    to: *mut u8,
    out_type: DType,
}

impl Task for Job<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self, s: S) {
        let (ptr, dtype, n, scale) = (self.x.as_ptr(), self.x.dtype(), self.channels, s.splat(self.scale));
        for r in self.range {
            let start = r * n;
            // SAFETY: the caller's promise. The tail is walked value by value: a lane past the end must not count.
            unsafe {
                let whole = n / S::W * S::W;
                let mut most = s.splat(f32::NEG_INFINITY);
                for c in (0..whole).step_by(S::W) {
                    most = s.max(most, s.mul(read(s, ptr, dtype, start + c, S::W), scale));
                }
                let mut most = s.largest(most);
                for c in whole..n {
                    most = most.max(s.largest(s.mul(s.splat(one(ptr, dtype, start + c)), scale)));
                }
                let shift = s.splat(most);
                let mut sum = 0.0;
                let mut c = 0;
                while c < n {
                    let few = (n - c).min(S::W);
                    let v = math::exp(s, s.sub(s.mul(read(s, ptr, dtype, start + c, few), scale), shift));
                    if few == S::W {
                        sum += s.sum(v);
                    } else {
                        let mut lanes = [0f32; 16];
                        s.store(lanes.as_mut_ptr(), v);
                        sum += lanes[..few].iter().sum::<f32>();
                    }
                    c += S::W;
                }
                let inverse = s.splat(1.0 / sum);
                let mut c = 0;
                while c < n {
                    let few = (n - c).min(S::W);
                    let v = math::exp(s, s.sub(s.mul(read(s, ptr, dtype, start + c, few), scale), shift));
                    write(s, self.to, self.out_type, start + c, few, s.mul(v, inverse));
                    c += S::W;
                }
            }
        }
    }
}

/// # Safety
/// Element `i` exists.
#[inline(always)]
unsafe fn one(p: *const u8, dtype: DType, i: usize) -> f32 {
    // SAFETY: handed on.
    unsafe {
        match dtype {
            DType::F32 => *p.cast::<f32>().add(i),
            DType::Bf16 => (*p.cast::<half::bf16>().add(i)).to_f32(),
        }
    }
}
