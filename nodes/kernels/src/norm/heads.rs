//! What diffusion transformers do to queries and keys before attention: RMSNorm of each head, then rotary positions.

#![allow(unsafe_code)]

use super::layer::mean_square;
use crate::error::{Result, at_least, expect, product, unsupported};
use crate::gemm::{SendPtr, part, read, write};
use crate::kernels::Kernels;
use crate::simd::{Simd, Task, dispatch};
use crate::view::{DType, Layout, ViewMut};

/// Normalises and rotates heads where they lie. Either part may be absent.
#[derive(Debug)]
pub struct HeadNormRope<'a> {
    /// Holds the heads: head `h` of row `r` is the `head_dim` values from `layout.start(r) + h * head_dim`.
    pub data: ViewMut<'a>,
    /// Where the rows lie: the q or k columns of a fused qkv.
    pub layout: Layout,
    /// Number of rows, over all samples.
    pub rows: usize,
    /// Heads of a row.
    pub heads: usize,
    /// Values of a head.
    pub head_dim: usize,
    /// Weight of the RMSNorm, `[head_dim]`, and its epsilon.
    pub norm: Option<(&'a [f32], f32)>,
    /// Cosines and sines, `[positions, head_dim / 2]` each; row `r` uses position `r % positions`.
    pub rope: Option<Rope<'a>>,
}

/// Rotary position embedding (Su et al. 2021).
#[derive(Debug, Clone, Copy)]
pub struct Rope<'a> {
    /// `[positions, head_dim / 2]`.
    pub cos: &'a [f32],
    /// `[positions, head_dim / 2]`.
    pub sin: &'a [f32],
    /// Number of positions: rows of one sample.
    pub positions: usize,
    /// Which values turn together.
    pub pairs: Pairs,
}

/// Which two values of a head form a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pairs {
    /// Values 2i and 2i + 1 (Flux).
    Adjacent,
    /// Values i and i + head_dim / 2 (GPT-NeoX, Llama).
    Halves,
}

const OP: &str = "head_norm_rope";

impl Kernels {
    /// Normalises and rotates heads in place.
    pub fn head_norm_rope(&self, args: HeadNormRope<'_>) -> Result<()> {
        let HeadNormRope { mut data, layout, rows, heads, head_dim, norm, rope } = args;
        let width = product(OP, &[heads, head_dim])?;
        at_least(OP, "data length", layout.extent(rows, width).unwrap_or(usize::MAX), data.len())?;
        if layout.row < width && rows > 1 && layout.rows_per_sample > 1 {
            return unsupported(OP, format!("rows {} apart hold {width} values", layout.row));
        }
        if let Some((w, _)) = norm {
            expect(OP, "norm weight length", head_dim, w.len())?;
        }
        if let Some(r) = &rope {
            if head_dim % 2 != 0 || r.positions == 0 {
                return unsupported(
                    OP,
                    format!("rotation of {head_dim} values over {} positions", r.positions),
                );
            }
            let n = product(OP, &[r.positions, head_dim / 2])?;
            at_least(OP, "cos length", n, r.cos.len())?;
            at_least(OP, "sin length", n, r.sin.len())?;
        }
        const BLOCK: usize = 32;
        let (to, dtype) = (SendPtr(data.as_mut_ptr()), data.dtype());
        self.threads().each(rows.div_ceil(BLOCK), |t| {
            let range = t * BLOCK..((t + 1) * BLOCK).min(rows);
            let job = HeadJob { to: to.get(), dtype, layout, range, heads, head_dim, norm, rope };
            // SAFETY: lengths were checked above; tasks write disjoint rows.
            unsafe { dispatch(self.path(), job) };
        });
        Ok(())
    }
}

struct HeadJob<'a> {
    to: *mut u8,
    dtype: DType,
    layout: Layout,
    range: std::ops::Range<usize>,
    heads: usize,
    head_dim: usize,
    norm: Option<(&'a [f32], f32)>,
    rope: Option<Rope<'a>>,
}

impl Task for HeadJob<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self, s: S) {
        let n = self.head_dim;
        for r in self.range.clone() {
            for h in 0..self.heads {
                let start = self.layout.start(r) + h * n;
                // SAFETY: `head_norm_rope` checked every length.
                unsafe {
                    if let Some((w, eps)) = self.norm {
                        let square = mean_square(s, self.to, self.dtype, start, n, 0.0);
                        let scale = s.splat(1.0 / (square + eps).sqrt());
                        let mut c = 0;
                        while c < n {
                            let few = (n - c).min(S::W);
                            let v = s.mul(read(s, self.to, self.dtype, start + c, few), scale);
                            let v = s.mul(v, part(s, w.as_ptr().add(c), few));
                            write(s, self.to, self.dtype, start + c, few, v);
                            c += S::W;
                        }
                    }
                    if let Some(rope) = &self.rope {
                        self.rotate(start, r % rope.positions, rope);
                    }
                }
            }
        }
    }
}

impl HeadJob<'_> {
    /// # Safety
    /// The head at `start` is readable and writable, and the tables hold position `at`.
    #[inline(always)]
    unsafe fn rotate(&self, start: usize, at: usize, rope: &Rope<'_>) {
        let half = self.head_dim / 2;
        let (cos, sin) = (&rope.cos[at * half..][..half], &rope.sin[at * half..][..half]);
        for i in 0..half {
            let (a, b) = match rope.pairs {
                Pairs::Adjacent => (start + 2 * i, start + 2 * i + 1),
                Pairs::Halves => (start + i, start + i + half),
            };
            // SAFETY: the caller's promise.
            unsafe {
                let (x, y) = (self.get(a), self.get(b));
                self.set(a, x * cos[i] - y * sin[i]);
                self.set(b, x * sin[i] + y * cos[i]);
            }
        }
    }

    /// # Safety
    /// Element `i` exists.
    #[inline(always)]
    unsafe fn get(&self, i: usize) -> f32 {
        // SAFETY: handed on.
        unsafe {
            match self.dtype {
                DType::F32 => *self.to.cast::<f32>().add(i),
                DType::Bf16 => (*self.to.cast::<half::bf16>().add(i)).to_f32(),
            }
        }
    }

    /// # Safety
    /// Element `i` exists.
    #[inline(always)]
    unsafe fn set(&self, i: usize, v: f32) {
        // SAFETY: handed on.
        unsafe {
            match self.dtype {
                DType::F32 => *self.to.cast::<f32>().add(i) = v,
                DType::Bf16 => *self.to.cast::<half::bf16>().add(i) = half::bf16::from_f32(v),
            }
        }
    }
}
