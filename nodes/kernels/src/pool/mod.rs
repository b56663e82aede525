//! Pooled, 64-byte aligned activation buffers, counted.
//!
//! Buffers are parts of a stretch of memory that is never touched further than activations once reached. The same
//! requests find the same places, so that a model's second step takes nothing from the system, and buffers of all
//! sizes share what the others left: a pool holds little more than the most that was alive at once.

#![allow(unsafe_code)]

mod arena;
mod block;
mod buf;
#[cfg(target_os = "linux")]
pub(crate) mod spare;
mod zones;

use std::sync::{Arc, Mutex, MutexGuard};

pub(crate) use block::Block;
pub use buf::Buf;
use zones::Zones;
pub use zones::{Planned, PoolPlan};

use crate::error::{KernelError, Result};
use crate::view::DType;

const ALIGN: usize = 64;

/// What a pool counts, all in bytes but the last two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PoolStats {
    /// In buffers that are alive now.
    pub live: usize,
    /// The most that was ever alive (since [`Pool::reset_peak`]).
    pub peak: usize,
    /// Taken from the system: alive, or kept for the next request.
    pub held: usize,
    /// The most that buffers reached over, gaps between them included (since [`Pool::reset_peak`]).
    pub peak_held: usize,
    /// Requests that had to take more memory from the system.
    pub fresh_allocations: usize,
    /// Requests served, from the system or from the pool.
    pub requests: usize,
}

#[derive(Debug, Default)]
struct State {
    zones: Zones,
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
        let counted =
            len.checked_mul(dtype.size()).and_then(counted).ok_or_else(|| refused(state.stats.live))?;
        if self.shared.limit.is_some_and(|l| state.stats.live + counted > l) {
            return Err(refused(state.stats.live));
        }
        let Some((slot, ptr)) = state.zones.take(counted) else { return Err(refused(state.stats.live)) };
        let (held, reach) = (state.zones.held(), state.zones.reach());
        let stats = &mut state.stats;
        stats.fresh_allocations += usize::from(held > stats.held);
        stats.held = held;
        stats.requests += 1;
        stats.live += counted;
        stats.peak = stats.peak.max(stats.live);
        stats.peak_held = stats.peak_held.max(reach);
        drop(state);
        Ok(Buf::new(ptr, slot, dtype, len, counted, self.shared.clone()))
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

    /// Makes the peaks start again from what is alive now.
    pub fn reset_peak(&self) {
        let mut state = self.shared.lock();
        state.stats.peak = state.stats.live;
        state.stats.peak_held = state.zones.reach();
    }

    /// Gives what lies beyond the last buffer that is alive back to the system; returns the bytes given back.
    pub fn trim(&self) -> usize {
        let mut state = self.shared.lock();
        state.zones.trim();
        let before = state.stats.held;
        state.stats.held = state.zones.held();
        before - state.stats.held
    }
}

/// What a request of some bytes counts as: whole units of [`ALIGN`]. Nothing where that is absurd.
fn counted(bytes: usize) -> Option<usize> {
    bytes.max(1).checked_next_multiple_of(ALIGN).filter(|&b| b <= isize::MAX as usize / 2)
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
    fn buffers_of_other_sizes_share_what_was_left() -> Result<()> {
        const MIB: usize = 1 << 18;
        let pool = Pool::new();
        let mut plan = PoolPlan::default();
        let (large, kept) = (pool.f32(6 * MIB)?, pool.f32(MIB)?);
        drop(large);
        let parts = [pool.f32(2 * MIB)?, pool.f32(3 * MIB)?, pool.bf16(2 * MIB)?];
        assert_eq!(pool.stats().peak_held, 7 << 20);
        assert_eq!(pool.stats().fresh_allocations, 2);
        let (a, b) = (plan.take(6 << 20), plan.take(1 << 20));
        plan.give(&a);
        let _parts = [plan.take(2 << 20), plan.take(3 << 20), plan.take(1 << 20)];
        assert_eq!(plan.peak(), pool.stats().peak_held);
        plan.give(&b);
        drop(parts);
        assert_eq!(pool.trim(), 0, "the last buffer is alive");
        drop(kept);
        assert_eq!(pool.trim(), 7 << 20);
        assert_eq!(pool.f32(MIB)?.as_f32()[MIB - 1], 0.0);
        Ok(())
    }

    #[test]
    fn what_was_given_back_reads_as_zeros() -> Result<()> {
        const MIB: usize = 1 << 18;
        let pool = Pool::new();
        let low = pool.f32(MIB)?;
        let mut high = pool.f32(16 * MIB)?;
        high.as_f32_mut().fill(1.0);
        drop(high);
        assert_eq!(pool.trim(), 16 << 20);
        assert!(low.as_f32().iter().all(|v| *v == 0.0));
        let again = pool.f32(16 * MIB)?;
        #[cfg(target_os = "linux")]
        assert!(again.as_f32()[MIB..].iter().all(|v| *v == 0.0));
        drop(again);
        Ok(())
    }
}
