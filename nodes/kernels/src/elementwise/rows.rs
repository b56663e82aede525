//! Values one by one.

#![allow(unsafe_code)]

use crate::activation::Activation;
use crate::error::{Result, expect};
use crate::gemm::{SendPtr, read, write};
use crate::kernels::Kernels;
use crate::simd::{Simd, Task, dispatch};
use crate::view::{DType, View, ViewMut};

/// Values of a task.
const CHUNK: usize = 1 << 15;

impl Kernels {
    /// `out = activation(x)`; [`Activation::None`] converts between types.
    pub fn activate(&self, x: View<'_>, activation: Activation, mut out: ViewMut<'_>) -> Result<()> {
        expect("activate", "output length", x.len(), out.len())?;
        self.map(x, out.reborrow(), |from, to| Map { from, to, kind: Kind::Activate(activation) });
        Ok(())
    }

    /// `out += scale * x`.
    pub fn add_scaled(&self, x: View<'_>, scale: f32, mut out: ViewMut<'_>) -> Result<()> {
        expect("add_scaled", "output length", x.len(), out.len())?;
        self.map(x, out.reborrow(), |from, to| Map { from, to, kind: Kind::AddScaled(scale) });
        Ok(())
    }

    fn map(&self, x: View<'_>, mut out: ViewMut<'_>, job: impl Fn(Part, Part) -> Map + Sync) {
        let (len, from_type, to_type) = (x.len(), x.dtype(), out.dtype());
        let (from, to) = (SendPtr(x.as_ptr().cast_mut()), SendPtr(out.as_mut_ptr()));
        self.threads().each(len.div_ceil(CHUNK), |t| {
            let first = t * CHUNK;
            let len = CHUNK.min(len - first);
            let from = Part { ptr: from.get(), dtype: from_type, first, len };
            let to = Part { ptr: to.get(), dtype: to_type, first, len };
            // SAFETY: both slices hold `len` values from `first`; tasks write disjoint parts.
            unsafe { dispatch(self.path(), job(from, to)) };
        });
    }
}

struct Part {
    ptr: *mut u8,
    dtype: DType,
    first: usize,
    len: usize,
}

#[derive(Clone, Copy)]
enum Kind {
    Activate(Activation),
    AddScaled(f32),
}

struct Map {
    from: Part,
    to: Part,
    kind: Kind,
}

impl Task for Map {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self, s: S) {
        let Map { from, to, kind } = self;
        let mut i = 0;
        while i < from.len {
            let n = (from.len - i).min(S::W);
            // SAFETY: the caller's promise.
            unsafe {
                let x = read(s, from.ptr, from.dtype, from.first + i, n);
                let v = match kind {
                    Kind::Activate(a) => a.apply(s, x),
                    Kind::AddScaled(k) => s.fma(x, s.splat(k), read(s, to.ptr, to.dtype, to.first + i, n)),
                };
                write(s, to.ptr, to.dtype, to.first + i, n, v);
            }
            i += S::W;
        }
    }
}
