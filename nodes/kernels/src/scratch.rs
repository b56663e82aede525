//! Working memory of one call: a slice for each worker, taken from the pool once.

#![allow(unsafe_code)]

use crate::error::Result;
use crate::kernels::Kernels;
use crate::pool::Buf;

/// Equal parts of one pooled buffer. Its size depends on the number of workers only, so that the pool serves the
/// same request the same way at every step.
pub(crate) struct Scratch {
    buf: Buf,
    each: usize,
}

// SAFETY: workers use disjoint parts.
unsafe impl Sync for Scratch {}

impl Scratch {
    /// `bytes` for each worker, aligned to 64.
    pub(crate) fn new(kernels: &Kernels, bytes: usize) -> Result<Scratch> {
        let each = bytes.next_multiple_of(64);
        let buf = kernels.pool().f32(each / 4 * kernels.threads().count())?;
        Ok(Scratch { buf, each })
    }

    /// What that takes for so many workers, in bytes.
    pub(crate) fn bytes(workers: usize, each: usize) -> usize {
        workers * each.next_multiple_of(64)
    }

    /// The part of worker `index`, which must be below the number of workers.
    pub(crate) fn of(&self, index: usize) -> *mut u8 {
        debug_assert!((index + 1) * self.each <= self.buf.bytes().max(self.each));
        // SAFETY: the buffer holds a part for each worker.
        unsafe { self.buf.ptr().add(index * self.each) }
    }
}
