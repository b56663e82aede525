//! What happens to a finished tile on its way to memory.

#![allow(unsafe_code)]

use crate::activation::Activation;
use crate::error::{Result, at_least, expect, product};
use crate::simd::{LANES, Simd};
use crate::view::{DType, Layout, View, ViewMut};

/// What to add to a result.
#[derive(Debug, Clone, Copy, Default)]
pub enum Residual<'a> {
    /// Nothing.
    #[default]
    None,
    /// These values, laid out as the output is.
    Add(View<'a>),
    /// What the output holds already: `out += result`.
    InPlace,
}

/// `out = gate * activation(product + bias + channel_add) + residual`; each part is optional.
///
/// `channel_add` and `gate` hold one row of output channels for each sample: a time embedding, an adaLN gate.
#[derive(Debug, Clone, Copy, Default)]
pub struct Epilogue<'a> {
    /// Added to each row of a sample, `[samples, outputs]`.
    pub channel_add: Option<&'a [f32]>,
    /// Applied to the sum. A gated layer has its own on top of this.
    pub activation: Activation,
    /// Multiplies each row of a sample, `[samples, outputs]`.
    pub gate: Option<&'a [f32]>,
    /// Added last.
    pub residual: Residual<'a>,
}

/// An epilogue whose sizes have been checked, as pointers.
#[derive(Clone, Copy)]
pub(crate) struct Finish {
    pub(crate) bias: *const f32,
    channel_add: *const f32,
    activation: Activation,
    gate: *const f32,
    residual: *const u8,
    residual_type: DType,
    pub(crate) out: *mut u8,
    pub(crate) out_type: DType,
    outputs: usize,
    glu: Option<Activation>,
}

// SAFETY: the pointers are borrowed for the whole call that made them, and tasks write disjoint rows and columns.
unsafe impl Send for Finish {}
// SAFETY: as above.
unsafe impl Sync for Finish {}

/// The shape an epilogue works on.
pub(crate) struct Shape<'a> {
    pub(crate) op: &'static str,
    pub(crate) rows: usize,
    pub(crate) samples: usize,
    pub(crate) outputs: usize,
    pub(crate) layout: Layout,
    pub(crate) bias: Option<&'a [f32]>,
    pub(crate) glu: Option<Activation>,
}

impl Finish {
    pub(crate) fn new(e: &Epilogue<'_>, out: &mut ViewMut<'_>, shape: Shape<'_>) -> Result<Finish> {
        let Shape { op, rows, samples, outputs, layout, bias, glu } = shape;
        let extent = layout.extent(rows, outputs).unwrap_or(usize::MAX);
        at_least(op, "output length", extent, out.len())?;
        let per_sample = product(op, &[samples, outputs])?;
        if let Some(c) = e.channel_add {
            expect(op, "channel_add length (samples x outputs)", per_sample, c.len())?;
        }
        if let Some(g) = e.gate {
            expect(op, "gate length (samples x outputs)", per_sample, g.len())?;
        }
        let (residual, residual_type) = match e.residual {
            Residual::None => (std::ptr::null(), DType::F32),
            Residual::Add(r) => {
                at_least(op, "residual length", extent, r.len())?;
                (r.as_ptr(), r.dtype())
            }
            Residual::InPlace => (out.as_mut_ptr().cast_const(), out.dtype()),
        };
        let pointer = |s: Option<&[f32]>| s.map_or(std::ptr::null(), <[f32]>::as_ptr);
        Ok(Finish {
            bias: pointer(bias),
            channel_add: pointer(e.channel_add),
            activation: e.activation,
            gate: pointer(e.gate),
            residual,
            residual_type,
            out: out.as_mut_ptr(),
            out_type: out.dtype(),
            outputs,
            glu,
        })
    }

    /// Finishes the sums of `rows` rows of a panel.
    ///
    /// # Safety
    /// `acc` holds `rows * LANES` sums; `starts` and `samples` hold `rows` entries: where each row starts in the
    /// output, and the sample it belongs to, both within what `new` checked.
    #[inline(always)]
    pub(crate) unsafe fn tile<S: Simd>(
        &self,
        s: S,
        acc: *const f32,
        rows: usize,
        panel: usize,
        starts: *const usize,
        samples: *const usize,
    ) {
        let width = if self.glu.is_some() { LANES / 2 } else { LANES };
        let first = panel * width;
        let lanes = width.min(self.outputs - first);
        for i in 0..rows {
            // SAFETY: within the caller's promise.
            let (start, sample) = unsafe { (*starts.add(i), *samples.add(i)) };
            let mut lane = 0;
            while lane < lanes {
                let n = (lanes - lane).min(S::W);
                let c = first + lane;
                // SAFETY: columns c..c + n are below `outputs`, rows within what `new` checked.
                unsafe {
                    let mut v = self.before(s, s.load(acc.add(i * LANES + lane)), c, n, sample);
                    if let Some(gate) = self.glu {
                        let mut g = s.load(acc.add(i * LANES + LANES / 2 + lane));
                        if !self.bias.is_null() {
                            g = s.add(g, part(s, self.bias.add(self.outputs + c), n));
                        }
                        v = s.mul(v, gate.apply(s, g));
                    }
                    self.write(s, v, c, n, start, sample);
                }
                lane += S::W;
            }
        }
    }

    /// Bias and per-sample addend. # Safety: as [`Finish::tile`].
    #[inline(always)]
    unsafe fn before<S: Simd>(&self, s: S, mut v: S::V, c: usize, n: usize, sample: usize) -> S::V {
        // SAFETY: `new` checked the lengths.
        unsafe {
            if !self.bias.is_null() {
                v = s.add(v, part(s, self.bias.add(c), n));
            }
            if !self.channel_add.is_null() {
                v = s.add(v, part(s, self.channel_add.add(sample * self.outputs + c), n));
            }
        }
        v
    }

    /// Activation, gate, residual, store. # Safety: as [`Finish::tile`].
    #[inline(always)]
    pub(crate) unsafe fn write<S: Simd>(
        &self,
        s: S,
        v: S::V,
        c: usize,
        n: usize,
        start: usize,
        sample: usize,
    ) {
        let mut v = self.activation.apply(s, v);
        // SAFETY: `new` checked the lengths.
        unsafe {
            if !self.gate.is_null() {
                v = s.mul(v, part(s, self.gate.add(sample * self.outputs + c), n));
            }
            if !self.residual.is_null() {
                v = s.add(v, read(s, self.residual, self.residual_type, start + c, n));
            }
            write(s, self.out, self.out_type, start + c, n, v);
        }
    }

    /// As [`Finish::tile`] for one vector that did not come from a tile. # Safety: as there.
    #[inline(always)]
    pub(crate) unsafe fn vector<S: Simd>(
        &self,
        s: S,
        v: S::V,
        c: usize,
        n: usize,
        start: usize,
        sample: usize,
    ) {
        // SAFETY: handed on.
        unsafe {
            let v = self.before(s, v, c, n, sample);
            self.write(s, v, c, n, start, sample);
        }
    }
}

/// `n <= W` lanes of f32. # Safety: `p` is readable for `n` elements.
#[inline(always)]
pub(crate) unsafe fn part<S: Simd>(s: S, p: *const f32, n: usize) -> S::V {
    // SAFETY: handed on.
    unsafe { if n >= S::W { s.load(p) } else { s.load_n(p, n) } }
}

/// `n <= W` elements of a type, from element `i`. # Safety: `p` is readable for `i + n` elements.
#[inline(always)]
pub(crate) unsafe fn read<S: Simd>(s: S, p: *const u8, dtype: DType, i: usize, n: usize) -> S::V {
    // SAFETY: handed on.
    unsafe {
        match (dtype, n >= S::W) {
            (DType::F32, true) => s.load(p.cast::<f32>().add(i)),
            (DType::F32, false) => s.load_n(p.cast::<f32>().add(i), n),
            (DType::Bf16, true) => s.load_bf16(p.cast::<u16>().add(i)),
            (DType::Bf16, false) => s.load_bf16_n(p.cast::<u16>().add(i), n),
        }
    }
}

/// Writes `n <= W` lanes as elements of a type, from element `i`. # Safety: `p` is writable for `i + n` elements.
#[inline(always)]
pub(crate) unsafe fn write<S: Simd>(s: S, p: *mut u8, dtype: DType, i: usize, n: usize, v: S::V) {
    // SAFETY: handed on.
    unsafe {
        match (dtype, n >= S::W) {
            (DType::F32, true) => s.store(p.cast::<f32>().add(i), v),
            (DType::F32, false) => s.store_n(p.cast::<f32>().add(i), n, v),
            (DType::Bf16, true) => s.store_bf16(p.cast::<u16>().add(i), v),
            (DType::Bf16, false) => s.store_bf16_n(p.cast::<u16>().add(i), n, v),
        }
    }
}
