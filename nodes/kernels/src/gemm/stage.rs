//! Inputs of a product in the type it computes in.

#![allow(unsafe_code)]

use crate::error::Result;
use crate::gemm::{read, write};
use crate::kernels::Kernels;
use crate::pool::Buf;
use crate::simd::{Simd, Task, dispatch};
use crate::view::{DType, Layout, View};

/// An input whose rows a product can read as 32-bit units.
pub(crate) struct Operand {
    ptr: *const u8,
    size: usize,
    layout: Layout,
    /// 32-bit units of a row.
    pub(crate) units: usize,
    /// Keeps a converted copy alive.
    _copy: Option<Buf>,
}

// SAFETY: an operand only reads memory that is borrowed, or owned by `_copy`, for the whole call.
unsafe impl Send for Operand {}
// SAFETY: as above.
unsafe impl Sync for Operand {}

impl Operand {
    /// The start of a row.
    #[inline(always)]
    pub(crate) fn row(&self, r: usize) -> *const u8 {
        self.ptr.wrapping_add(self.layout.start(r) * self.size)
    }
}

/// The inputs (a view, its channels, where its rows lie) as operands of type `compute`.
///
/// What has the right type is used where it lies. The rest is copied: once over, all inputs side by side when bf16
/// pairs would straddle two of them.
pub(crate) fn stage(
    kernels: &Kernels,
    compute: DType,
    rows: usize,
    inputs: &[(View<'_>, usize, Layout)],
) -> Result<Vec<Operand>> {
    let sizes: Vec<_> = inputs.iter().map(|i| (i.1, i.0.dtype())).collect();
    let plan = staging(compute, &sizes);
    if plan.len() < inputs.len() {
        return Ok(vec![copy(kernels, compute, rows, inputs)?]);
    }
    inputs
        .iter()
        .zip(plan)
        .map(|(&(x, channels, layout), Staged { units, copied })| {
            if copied {
                copy(kernels, compute, rows, &[(x, channels, layout)])
            } else {
                Ok(Operand { ptr: x.as_ptr(), size: compute.size(), layout, units, _copy: None })
            }
        })
        .collect()
}

/// What becomes of an input.
pub(crate) struct Staged {
    /// 32-bit units of a row.
    pub(crate) units: usize,
    /// Whether it is copied.
    pub(crate) copied: bool,
}

/// What becomes of inputs of some channels and types; one thing alone where they are copied side by side.
pub(crate) fn staging(compute: DType, inputs: &[(usize, DType)]) -> Vec<Staged> {
    let odd = |c: usize| compute == DType::Bf16 && !c.is_multiple_of(2);
    let units = |c: usize| if compute == DType::Bf16 { c.div_ceil(2) } else { c };
    let straddle = inputs.len() > 1 && inputs.iter().rev().skip(1).any(|i| odd(i.0));
    if straddle {
        return vec![Staged { units: units(inputs.iter().map(|i| i.0).sum()), copied: true }];
    }
    let one = |&(c, dtype): &(usize, DType)| Staged { units: units(c), copied: dtype != compute || odd(c) };
    inputs.iter().map(one).collect()
}

fn copy(
    kernels: &Kernels,
    compute: DType,
    rows: usize,
    inputs: &[(View<'_>, usize, Layout)],
) -> Result<Operand> {
    let channels: usize = inputs.iter().map(|i| i.1).sum();
    let width = if compute == DType::Bf16 { channels.next_multiple_of(2) } else { channels };
    let buf = kernels.pool().get(compute, rows * width)?;
    let to = SendPtr(buf.ptr());
    const ROWS: usize = 256;
    kernels.threads().each(rows.div_ceil(ROWS), |i| {
        let range = i * ROWS..((i + 1) * ROWS).min(rows);
        let mut column = 0;
        for &(x, c, layout) in inputs {
            let job = Convert {
                x: x.as_ptr(),
                from: x.dtype(),
                layout,
                channels: c,
                range: range.clone(),
                to: to.get(),
                compute,
                width,
                column,
            };
            // SAFETY: callers checked that `x` holds its rows; the copy holds `rows * width` elements, and tasks
            // write disjoint rows.
            unsafe { dispatch(kernels.path(), job) };
            column += c;
        }
        if width > column {
            for r in range {
                // SAFETY: only bf16 pads; the element is in the row's last pair.
                unsafe { *to.get().cast::<u16>().add(r * width + column) = 0 };
            }
        }
    });
    let units = width * compute.size() / 4;
    Ok(Operand {
        ptr: buf.ptr(),
        size: compute.size(),
        layout: Layout::dense(width),
        units,
        _copy: Some(buf),
    })
}

/// A pointer that tasks write disjoint parts of.
#[derive(Clone, Copy)]
pub(crate) struct SendPtr(pub(crate) *mut u8);

// SAFETY: those who share one write disjoint parts, as each use says.
unsafe impl Send for SendPtr {}
// SAFETY: as above.
unsafe impl Sync for SendPtr {}

impl SendPtr {
    /// Through a method, so that closures capture the wrapper and not its field.
    pub(crate) fn get(self) -> *mut u8 {
        self.0
    }
}

struct Convert {
    x: *const u8,
    from: DType,
    layout: Layout,
    channels: usize,
    range: std::ops::Range<usize>,
    to: *mut u8,
    compute: DType,
    width: usize,
    column: usize,
}

impl Task for Convert {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self, s: S) {
        for r in self.range {
            let (from, to) = (self.layout.start(r), r * self.width + self.column);
            let mut c = 0;
            while c < self.channels {
                let n = (self.channels - c).min(S::W);
                // SAFETY: the caller checked both sides.
                unsafe {
                    let v = read(s, self.x, self.from, from + c, n);
                    write(s, self.to, self.compute, to + c, n, v);
                }
                c += S::W;
            }
        }
    }
}
