//! The handle every operator hangs on.

use crate::error::Result;
use crate::path::Path;
use crate::pool::Pool;
use crate::threads::Threads;

/// Threads, memory and instructions: what an operator needs besides its arguments. Clones share all three.
#[derive(Debug, Clone)]
pub struct Kernels {
    threads: Threads,
    pool: Pool,
    path: Path,
    winograd: bool,
}

impl Kernels {
    /// Kernels on the best path of this machine, or the one `EBB_KERNELS_PATH` names.
    pub fn new(threads: Threads, pool: Pool) -> Result<Self> {
        Ok(Kernels { threads, pool, path: Path::selected()?, winograd: true })
    }

    /// Kernels on a given path; an error when this machine lacks its instructions.
    pub fn with_path(threads: Threads, pool: Pool, path: Path) -> Result<Self> {
        if !path.available() {
            return crate::error::unsupported("Kernels", format!("no {} on this processor", path.name()));
        }
        Ok(Kernels { threads, pool, path, winograd: true })
    }

    /// The workers.
    pub fn threads(&self) -> &Threads {
        &self.threads
    }

    /// The pool that outputs should, and working memory does, come from.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Chooses whether large 3x3 convolutions may use Winograd's form (they do by default). It is two to four times
    /// faster; without it, sums are those of the definition and errors about a third.
    pub fn with_winograd(self, winograd: bool) -> Self {
        Kernels { winograd, ..self }
    }

    pub(crate) fn uses_winograd(&self) -> bool {
        self.winograd
    }

    /// The instructions in use.
    pub fn path(&self) -> Path {
        self.path
    }
}
