//! The one error type of the crate: every way a call can be refused at the door.

/// Why a kernel refused to run. Nothing has been written to the output when one is returned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KernelError {
    /// A slice or a dimension does not fit the others of the same call.
    #[error("{op}: {what} is {found}, expected {expected}")]
    Shape {
        /// The operator that was called.
        op: &'static str,
        /// Which argument, in words.
        what: &'static str,
        /// What the other arguments ask for.
        expected: usize,
        /// What was given.
        found: usize,
    },
    /// An argument is outside what the operator can do.
    #[error("{op}: {reason}")]
    Unsupported {
        /// The operator that was called.
        op: &'static str,
        /// What cannot be done, and what would work.
        reason: String,
    },
    /// A buffer could not be had: the machine or the pool's limit said no.
    #[error("no memory for a buffer of {requested} bytes: {live} bytes are in use{}", limit.map(|l| format!(" of the {l} allowed")).unwrap_or_default())]
    OutOfMemory {
        /// Bytes asked for.
        requested: usize,
        /// Bytes of the pool in use at that moment.
        live: usize,
        /// The limit of the pool, when it has one.
        limit: Option<usize>,
    },
    /// The worker threads could not be started.
    #[error("could not start {count} worker threads: {reason}")]
    Threads {
        /// How many were asked for.
        count: usize,
        /// What the system said.
        reason: String,
    },
    /// `EBB_KERNELS_PATH` names no path, or one whose instructions this machine lacks.
    #[error("EBB_KERNELS_PATH={value}: {reason}")]
    Path {
        /// The value found.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// Shorthand of the crate.
pub type Result<T> = std::result::Result<T, KernelError>;

/// Equality at the door: `found` must be `expected`.
pub(crate) fn expect(op: &'static str, what: &'static str, expected: usize, found: usize) -> Result<()> {
    if expected == found { Ok(()) } else { Err(KernelError::Shape { op, what, expected, found }) }
}

/// Lower bound at the door: a slice must hold at least `expected` elements.
pub(crate) fn at_least(op: &'static str, what: &'static str, expected: usize, found: usize) -> Result<()> {
    if found >= expected { Ok(()) } else { Err(KernelError::Shape { op, what, expected, found }) }
}

/// A product of dimensions that must not overflow.
pub(crate) fn product(op: &'static str, dims: &[usize]) -> Result<usize> {
    dims.iter().try_fold(1usize, |a, &d| a.checked_mul(d)).ok_or_else(|| KernelError::Unsupported {
        op,
        reason: format!("the dimensions {dims:?} overflow the address space"),
    })
}

/// An [`KernelError::Unsupported`] in one line.
pub(crate) fn unsupported<T>(op: &'static str, reason: impl Into<String>) -> Result<T> {
    Err(KernelError::Unsupported { op, reason: reason.into() })
}
