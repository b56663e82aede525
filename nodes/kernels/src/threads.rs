//! The worker threads that operators share.

use std::sync::Arc;

use rayon::prelude::*;

use crate::error::{KernelError, Result};

/// A handle to a pool of worker threads; clones share it.
///
/// Two jobs that share one handle share its workers: there are never more computing threads than it was made with.
#[derive(Debug, Clone)]
pub struct Threads {
    /// None: rayon's own workers.
    pool: Option<Arc<rayon::ThreadPool>>,
}

impl Threads {
    /// `count` workers of their own; 0 means one for each processor available to this process.
    pub fn new(count: usize) -> Result<Self> {
        let built = builder(count).build();
        built
            .map(|pool| Threads { pool: Some(Arc::new(pool)) })
            .map_err(|e| KernelError::Threads { count: workers(count), reason: e.to_string() })
    }

    /// `count` workers, 0 as above, that all of the process's parallel iterators share: whatever meets, no more threads
    /// compute. The first call of a process makes them; a later one for another number gets workers of its own.
    pub fn of_process(count: usize) -> Result<Self> {
        let made = builder(count).build_global().is_ok();
        if made || rayon::current_num_threads() == workers(count) {
            return Ok(Threads { pool: None });
        }
        Threads::new(count)
    }

    /// How many workers there are.
    pub fn count(&self) -> usize {
        self.pool.as_ref().map_or_else(rayon::current_num_threads, |pool| pool.current_num_threads())
    }

    /// Runs `task(i)` for each `i` below `n`, on the workers.
    pub(crate) fn each(&self, n: usize, task: impl Fn(usize) + Sync + Send) {
        match n {
            0 => {}
            // One task still goes through the pool, so that scratch indexed by worker holds.
            _ => self.run(|| (0..n).into_par_iter().with_max_len(1).for_each(task)),
        }
    }

    /// Runs `work` with these workers as the ones of rayon's parallel iterators.
    pub fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        match &self.pool {
            Some(pool) => pool.install(work),
            // A scope is rayon's way onto a worker.
            None => rayon::scope(|_| work()),
        }
    }

    /// Runs `work` once on every worker.
    pub(crate) fn broadcast<R: Send>(&self, work: impl Fn() -> R + Sync) -> Vec<R> {
        match &self.pool {
            Some(pool) => pool.broadcast(|_| work()),
            None => rayon::broadcast(|_| work()),
        }
    }

    /// The index of the worker that runs the caller's task.
    pub(crate) fn worker() -> usize {
        rayon::current_thread_index().unwrap_or(0)
    }
}

/// The number that `count` stands for.
fn workers(count: usize) -> usize {
    if count == 0 { std::thread::available_parallelism().map_or(1, |n| n.get()) } else { count }
}

fn builder(count: usize) -> rayon::ThreadPoolBuilder {
    rayon::ThreadPoolBuilder::new().num_threads(workers(count)).thread_name(|i| format!("ebb-kernels-{i}"))
}
