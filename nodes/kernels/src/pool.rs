//! Pooled, 64-byte aligned activation buffers, counted.
//!
//! A buffer that is dropped goes back to the pool and serves the next request of its size class, so that a model's
//! second step allocates nothing. Classes are exact on purpose: a best-fit pool may give a large block to a small
//! request and then have to allocate on the second step what it had on the first.

#![allow(unsafe_code)]

use std::alloc::{Layout as Memory, alloc_zeroed, dealloc};
use std::collections::HashMap;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard};

use half::bf16;

use crate::error::{KernelError, Result};
use crate::view::{DType, View, ViewMut};

const ALIGN: usize = 64;

/// A block from the system, zeroed, its usable part aligned to 64 bytes.
///
/// Alignment is made by hand inside a 16-byte aligned block because the system's zeroed allocation at that alignment
/// gets untouched pages from the kernel, while at 64 bytes it would write zeros over the whole block.
#[derive(Debug)]
pub(crate) struct Block {
    raw: NonNull<u8>,
    bytes: usize,
}

// SAFETY: a block is plain memory owned by one value; nothing in it is tied to a thread.
unsafe impl Send for Block {}
// SAFETY: shared access to a block only reads it.
unsafe impl Sync for Block {}

impl Block {
    pub(crate) fn zeroed(bytes: usize) -> Option<Block> {
        let memory = Memory::from_size_align(bytes.checked_add(ALIGN)?, 16).ok()?;
        // SAFETY: the size is at least ALIGN, never zero.
        let raw = NonNull::new(unsafe { alloc_zeroed(memory) })?;
        let block = Block { raw, bytes };
        block.ask_for_huge_pages();
        Some(block)
    }

    pub(crate) fn ptr(&self) -> *mut u8 {
        let p = self.raw.as_ptr();
        // SAFETY: the block holds `bytes + ALIGN` bytes, and `align_offset` to ALIGN is below ALIGN.
        unsafe { p.add(p.align_offset(ALIGN)) }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Weights and large activations are walked through by every call: pages of 2 MiB spare the address cache, and
    /// the kernel 511 of 512 faults on the first use.
    #[cfg(target_os = "linux")]
    fn ask_for_huge_pages(&self) {
        const HUGE: usize = 2 << 20;
        if self.bytes < 2 * HUGE {
            return;
        }
        let start = (self.raw.as_ptr() as usize).next_multiple_of(HUGE);
        let end = (self.raw.as_ptr() as usize + self.bytes) / HUGE * HUGE;
        if end > start {
            // SAFETY: the range lies within the block. The call is advice: what it returns changes nothing.
            unsafe { libc::madvise(start as *mut libc::c_void, end - start, libc::MADV_HUGEPAGE) };
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn ask_for_huge_pages(&self) {}
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: the same size and alignment that `zeroed` asked for, which were valid there.
        unsafe { dealloc(self.raw.as_ptr(), Memory::from_size_align_unchecked(self.bytes + ALIGN, 16)) }
    }
}

/// What a pool counts, all in bytes but the last two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PoolStats {
    /// In buffers that are alive now.
    pub live: usize,
    /// The most that was ever alive (since [`Pool::reset_peak`]).
    pub peak: usize,
    /// Taken from the system: alive, or kept for the next request.
    pub held: usize,
    /// Blocks taken from the system since the pool was made.
    pub fresh_allocations: usize,
    /// Requests served, from the system or from the pool.
    pub requests: usize,
}

#[derive(Debug, Default)]
struct State {
    free: HashMap<usize, Vec<Block>>,
    stats: PoolStats,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    limit: Option<usize>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing inside the lock can panic half-way through a change, so a poisoned lock holds a sound state.
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }
}

/// A pool of activation buffers; clones share it.
#[derive(Debug, Clone)]
pub struct Pool {
    shared: Arc<Shared>,
}

impl Default for Pool {
    fn default() -> Self {
        Pool::new()
    }
}

impl Pool {
    /// A pool without a limit.
    pub fn new() -> Self {
        Pool { shared: Arc::new(Shared { state: Mutex::default(), limit: None }) }
    }

    /// A pool whose live bytes may not pass `limit`: requests beyond it are refused.
    pub fn with_limit(limit: usize) -> Self {
        Pool { shared: Arc::new(Shared { state: Mutex::default(), limit: Some(limit) }) }
    }

    /// A buffer of `len` f32 elements. Its contents are whatever the last user left.
    pub fn f32(&self, len: usize) -> Result<Buf> {
        self.get(DType::F32, len)
    }

    /// A buffer of `len` bf16 elements. Its contents are whatever the last user left.
    pub fn bf16(&self, len: usize) -> Result<Buf> {
        self.get(DType::Bf16, len)
    }

    /// A buffer of `len` elements of a type.
    pub fn get(&self, dtype: DType, len: usize) -> Result<Buf> {
        let mut state = self.shared.lock();
        let refused = |live| KernelError::OutOfMemory {
            requested: len.saturating_mul(dtype.size()),
            live,
            limit: self.shared.limit,
        };
        let counted = len
            .checked_mul(dtype.size())
            .and_then(|b| b.max(1).checked_next_multiple_of(ALIGN))
            .filter(|&b| b <= isize::MAX as usize / 2)
            .ok_or_else(|| refused(state.stats.live))?;
        if self.shared.limit.is_some_and(|l| state.stats.live + counted > l) {
            return Err(refused(state.stats.live));
        }
        let class = size_class(counted);
        let block = match state.free.get_mut(&class).and_then(Vec::pop) {
            Some(block) => block,
            None => {
                let block = Block::zeroed(class).ok_or_else(|| refused(state.stats.live))?;
                state.stats.held += class;
                state.stats.fresh_allocations += 1;
                block
            }
        };
        state.stats.requests += 1;
        state.stats.live += counted;
        state.stats.peak = state.stats.peak.max(state.stats.live);
        Ok(Buf { block: Some(block), dtype, len, counted, shared: self.shared.clone() })
    }

    /// A buffer with a copy of `values`.
    pub fn copy_f32(&self, values: &[f32]) -> Result<Buf> {
        let mut b = self.f32(values.len())?;
        b.as_f32_mut().copy_from_slice(values);
        Ok(b)
    }

    /// What the pool has counted so far.
    pub fn stats(&self) -> PoolStats {
        self.shared.lock().stats
    }

    /// Makes the peak start again from what is alive now.
    pub fn reset_peak(&self) {
        let mut state = self.shared.lock();
        state.stats.peak = state.stats.live;
    }

    /// Gives every block that is not in use back to the system; returns the bytes given back.
    pub fn trim(&self) -> usize {
        let free = std::mem::take(&mut self.shared.lock().free);
        let bytes = free.values().flatten().map(Block::bytes).sum();
        self.shared.lock().stats.held -= bytes;
        bytes
    }
}

/// Rounds up to a multiple of an eighth of the power of two below: at most 12.5% more than asked.
fn size_class(bytes: usize) -> usize {
    let step = (bytes.next_power_of_two() / 16).max(ALIGN);
    bytes.next_multiple_of(step)
}

/// A pooled buffer of f32 or bf16 elements. Dropping it returns the memory to its pool.
#[derive(Debug)]
pub struct Buf {
    block: Option<Block>,
    dtype: DType,
    len: usize,
    counted: usize,
    shared: Arc<Shared>,
}

impl Buf {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Bytes this buffer adds to the pool's live count.
    pub fn bytes(&self) -> usize {
        self.counted
    }

    /// The elements, to read.
    pub fn view(&self) -> View<'_> {
        match self.dtype {
            // SAFETY: the block holds at least `len` elements, was zeroed when made, is aligned to 64 bytes, and is
            // borrowed for as long as `self` is. Every bit pattern is a value of either type.
            DType::F32 => View::F32(unsafe { std::slice::from_raw_parts(self.ptr().cast(), self.len) }),
            // SAFETY: as above.
            DType::Bf16 => View::Bf16(unsafe { std::slice::from_raw_parts(self.ptr().cast(), self.len) }),
        }
    }

    /// The elements, to write.
    pub fn view_mut(&mut self) -> ViewMut<'_> {
        match self.dtype {
            // SAFETY: as in `view`, and `self` is borrowed uniquely.
            DType::F32 => {
                ViewMut::F32(unsafe { std::slice::from_raw_parts_mut(self.ptr().cast(), self.len) })
            }
            // SAFETY: as above.
            DType::Bf16 => {
                ViewMut::Bf16(unsafe { std::slice::from_raw_parts_mut(self.ptr().cast(), self.len) })
            }
        }
    }

    /// The elements of an f32 buffer; empty for a bf16 one.
    pub fn as_f32(&self) -> &[f32] {
        match self.view() {
            View::F32(s) => s,
            View::Bf16(_) => &[],
        }
    }

    /// The elements of an f32 buffer, to write; empty for a bf16 one.
    pub fn as_f32_mut(&mut self) -> &mut [f32] {
        match self.view_mut() {
            ViewMut::F32(s) => s,
            ViewMut::Bf16(_) => &mut [],
        }
    }

    /// The elements of a bf16 buffer; empty for an f32 one.
    pub fn as_bf16(&self) -> &[bf16] {
        match self.view() {
            View::Bf16(s) => s,
            View::F32(_) => &[],
        }
    }

    pub(crate) fn ptr(&self) -> *mut u8 {
        self.block.as_ref().map_or(std::ptr::null_mut(), Block::ptr)
    }
}

impl Drop for Buf {
    fn drop(&mut self) {
        if let Some(block) = self.block.take() {
            let mut state = self.shared.lock();
            state.stats.live -= self.counted;
            state.free.entry(block.bytes()).or_default().push(block);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_round_allocates_nothing() -> Result<()> {
        let pool = Pool::new();
        for round in 0..3 {
            let a = pool.f32(1000)?;
            let b = pool.bf16(1000)?;
            assert_eq!(a.ptr() as usize % ALIGN, 0);
            assert_eq!(pool.stats().live, a.bytes() + b.bytes());
            drop(a);
            let c = pool.f32(1001)?;
            assert_eq!(pool.stats().fresh_allocations, 2, "round {round}");
            drop((b, c));
        }
        assert_eq!(pool.stats().live, 0);
        let held = pool.stats().held;
        assert!(held > 0);
        assert_eq!(pool.trim(), held);
        assert_eq!(pool.stats().held, 0);
        Ok(())
    }

    #[test]
    fn limit_is_refused_with_figures() -> Result<()> {
        let pool = Pool::with_limit(4096);
        let kept = pool.f32(512)?;
        let error = pool.f32(1024).map(|_| ()).unwrap_err();
        assert_eq!(error, KernelError::OutOfMemory { requested: 4096, live: 2048, limit: Some(4096) });
        drop(kept);
        pool.f32(1024)?;
        assert!(pool.get(DType::F32, usize::MAX).is_err());
        Ok(())
    }

    #[test]
    fn classes_waste_at_most_an_eighth() {
        for bytes in (64..1 << 22).step_by(64 * 37) {
            let class = size_class(bytes);
            assert!(class >= bytes && class - bytes <= bytes / 8 + ALIGN, "{bytes} -> {class}");
        }
    }
}
