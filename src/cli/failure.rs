//! What goes wrong on the command line, and the exit code that says so.

use std::fmt;
use std::path::Path;

/// The workflow is wrong: the user changes it.
pub(super) const WORKFLOW: u8 = 2;
/// A model is missing or broken: the user gets another file.
pub(super) const MODEL: u8 = 3;
/// Anything else.
pub(super) const OTHER: u8 = 1;

/// An error with its exit code.
#[derive(Debug)]
pub(super) struct Failure {
    code: u8,
    error: anyhow::Error,
}

/// How a command ends.
pub(super) type Done<T = ()> = Result<T, Failure>;

impl Failure {
    /// A bad workflow.
    pub(super) fn workflow(error: impl fmt::Display) -> Self {
        Self { code: WORKFLOW, error: anyhow::anyhow!("{error}") }
    }

    /// A model that is missing or broken.
    pub(super) fn model(error: impl fmt::Display) -> Self {
        Self { code: MODEL, error: anyhow::anyhow!("{error}") }
    }

    /// Anything else.
    pub(super) fn other(error: impl fmt::Display) -> Self {
        Self { code: OTHER, error: anyhow::anyhow!("{error}") }
    }

    /// A file that cannot be read or written.
    pub(super) fn file(what: &str, path: &Path, error: &std::io::Error) -> Self {
        Self::other(format!("cannot {what} {}: {error}", path.display()))
    }

    pub(super) fn code(&self) -> u8 {
        self.code
    }

    /// Whoever read our output went away, as `head` does: no failure of ours.
    pub(super) fn is_broken_pipe(&self) -> bool {
        let io = self.error.downcast_ref::<std::io::Error>();
        io.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.error)
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self { code: OTHER, error: error.into() }
    }
}
