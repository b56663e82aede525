//! The worker threads that operators share.

use std::sync::Arc;

use rayon::prelude::*;

use crate::error::{KernelError, Result};

/// A handle to a pool of worker threads; clones share it.
///
/// Two jobs that share one handle share its workers: there are never more computing threads than it was made with.
#[derive(Debug, Clone)]
pub struct Threads {
    pool: Arc<rayon::ThreadPool>,
}

impl Threads {
    /// `count` workers; 0 means one for each processor available to this process.
    pub fn new(count: usize) -> Result<Self> {
        let count =
            if count == 0 { std::thread::available_parallelism().map_or(1, |n| n.get()) } else { count };
        rayon::ThreadPoolBuilder::new()
            .num_threads(count)
            .thread_name(|i| format!("ebb-kernels-{i}"))
            .build()
            .map(|pool| Threads { pool: Arc::new(pool) })
            .map_err(|e| KernelError::Threads { count, reason: e.to_string() })
    }

    /// How many workers there are.
    pub fn count(&self) -> usize {
        self.pool.current_num_threads()
    }

    /// Runs `task(i)` for each `i` below `n`, on the workers.
    pub(crate) fn each(&self, n: usize, task: impl Fn(usize) + Sync + Send) {
        match n {
            0 => {}
            // One task still goes through the pool, so that scratch indexed by worker holds.
            _ => self.pool.install(|| (0..n).into_par_iter().with_max_len(1).for_each(task)),
        }
    }

    /// Runs `work` with these workers as the ones of rayon's parallel iterators.
    pub fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.pool.install(work)
    }

    /// Runs `work` once on every worker.
    pub(crate) fn broadcast<R: Send>(&self, work: impl Fn() -> R + Sync) -> Vec<R> {
        self.pool.broadcast(|_| work())
    }

    /// The index of the worker that runs the caller's task.
    pub(crate) fn worker() -> usize {
        rayon::current_thread_index().unwrap_or(0)
    }
}
