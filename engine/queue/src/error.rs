//! The one error of the queue.

use std::path::PathBuf;
use std::sync::Arc;

use crate::state::JobState;

/// Why a verb of the queue could not be done. Nothing was changed when one of these comes back.
#[derive(Debug, Clone, thiserror::Error)]
pub enum QueueError {
    /// The database refused or failed: disk full, file damaged, permission.
    #[error("the job database failed while {doing}: {source}")]
    Storage {
        /// What the store was doing.
        doing: &'static str,
        /// What SQLite said.
        source: Arc<rusqlite::Error>,
    },
    /// The disk has no room for what was to be stored.
    #[error(
        "the disk has no room for the job database: free some space and try again; what was stored is safe"
    )]
    DiskFull,
    /// A file of the store cannot be created or opened.
    #[error("cannot open {}: {source}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: Arc<std::io::Error>,
    },
    /// Another process holds this data folder.
    #[error("{} is in use by another ebb process: stop it, or give this one another data folder", path.display())]
    InUse {
        /// The lock file.
        path: PathBuf,
    },
    /// The database was written by a newer program.
    #[error(
        "the job database is of version {found} and this program reads up to {supported}: use a newer ebb"
    )]
    TooNew {
        /// Version in the file.
        found: i64,
        /// Newest version this program understands.
        supported: i64,
    },
    /// A stored row does not read back: the database was edited or damaged.
    #[error("job {id}: the stored {what} is not readable: {reason}")]
    Corrupt {
        /// The job.
        id: String,
        /// The column.
        what: &'static str,
        /// What was wrong with it.
        reason: String,
    },
    /// The store has been closed.
    #[error("the job store is closed")]
    Closed,
    /// No job has this id.
    #[error("there is no job {id}")]
    NotFound {
        /// The id asked for.
        id: String,
    },
    /// A job with this id waits or runs already.
    #[error("job {id} is already {state}: use another prompt_id, or wait until it has finished")]
    Duplicate {
        /// The id.
        id: String,
        /// What the job of that id is doing.
        state: JobState,
    },
    /// The idempotency key was used for a different request.
    #[error("the idempotency key {key:?} was used for another request (job {id}): use a new key")]
    KeyReused {
        /// The key.
        key: String,
        /// The job that it named first.
        id: String,
    },
    /// As many jobs wait as are allowed to.
    #[error("{queued} jobs are waiting and the limit is {limit}: try again later, or raise the queue limit")]
    Full {
        /// Jobs waiting.
        queued: u64,
        /// The limit.
        limit: u64,
    },
    /// The job is not in a state from which this can be done.
    #[error("job {id} is {from} and cannot become {to}")]
    Transition {
        /// The job.
        id: String,
        /// Its state.
        from: JobState,
        /// The state asked for.
        to: JobState,
    },
    /// A verb that only waiting jobs understand.
    #[error("job {id} is {state}: only a waiting job can be moved")]
    NotQueued {
        /// The job.
        id: String,
        /// Its state.
        state: JobState,
    },
}

impl QueueError {
    /// A word for programs that stays the same when the text changes.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Storage { .. } => "storage_failed",
            Self::DiskFull => "storage_full",
            Self::File { .. } => "storage_unavailable",
            Self::InUse { .. } => "storage_in_use",
            Self::TooNew { .. } => "storage_too_new",
            Self::Corrupt { .. } => "storage_corrupt",
            Self::Closed => "queue_closed",
            Self::NotFound { .. } => "job_not_found",
            Self::Duplicate { .. } => "job_id_in_use",
            Self::KeyReused { .. } => "idempotency_key_reused",
            Self::Full { .. } => "queue_full",
            Self::Transition { .. } => "job_state_conflict",
            Self::NotQueued { .. } => "job_not_queued",
        }
    }

    pub(crate) fn sql(doing: &'static str) -> impl FnOnce(rusqlite::Error) -> Self {
        move |e| if is_full(&e) { Self::DiskFull } else { Self::Storage { doing, source: Arc::new(e) } }
    }
}

/// SQLite says "full" where the system says that the disk is; other refusals to write (a quota, a limit on the size of
/// files) reach it as failed writes, and leave the same to do.
fn is_full(error: &rusqlite::Error) -> bool {
    let Some(failure) = error.sqlite_error() else { return false };
    failure.code == rusqlite::ErrorCode::DiskFull
        || [rusqlite::ffi::SQLITE_IOERR_WRITE, rusqlite::ffi::SQLITE_IOERR_TRUNCATE]
            .contains(&failure.extended_code)
}
