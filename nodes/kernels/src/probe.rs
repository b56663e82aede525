//! What the arithmetic units could do at this moment: the mark that benchmarks measure operators against.

#![allow(unsafe_code)]

use std::time::Instant;

use crate::kernels::Kernels;
use crate::simd::{Simd, Task, dispatch};
use crate::view::Precision;

/// Independent sums: enough to hide the latency of a fused multiply-add on any path.
const SUMS: usize = 12;

impl Kernels {
    /// Operations (a multiply and an add are two) a second of register-only products, on all workers at once,
    /// over about `rounds` times 12 instructions each.
    ///
    /// On a shared machine it varies with the others' load: measure it beside what it is compared with.
    pub fn probe_peak(&self, precision: Precision, rounds: usize) -> f64 {
        let bf16 = precision == Precision::Bf16 && self.path().multiplies_bf16();
        let workers = self.threads().count();
        let start = Instant::now();
        let lanes: Vec<usize> = self.threads().broadcast(|| {
            // SAFETY: the path is available, and the task reads only its own array.
            unsafe { dispatch(self.path(), Probe { rounds, bf16 }) }
        });
        let seconds = start.elapsed().as_secs_f64();
        let per = lanes.first().copied().unwrap_or(0) * if bf16 { 4 } else { 2 };
        (workers * rounds * SUMS * per) as f64 / seconds
    }
}

struct Probe {
    rounds: usize,
    bf16: bool,
}

impl Task for Probe {
    type Output = usize;

    #[inline(always)]
    unsafe fn run<S: Simd>(self, s: S) -> usize {
        let pair = [0x3f80_3f80u32; 16];
        let one = s.splat(1.000_1);
        let mut c = [s.splat(0.0); SUMS];
        for i in 0..self.rounds {
            for c in &mut c {
                *c = if self.bf16 {
                    // SAFETY: `pair` holds a vector of pairs.
                    unsafe { s.dot2(*c, i as u32, pair.as_ptr()) }
                } else {
                    s.fma(*c, one, one)
                };
            }
        }
        let mut total = 0.0;
        for c in c {
            total += s.sum(c);
        }
        std::hint::black_box(total);
        S::W
    }
}
