//! Jobs that survive: the durable queue, its store and its history.
//!
//! A *job* is one checked prompt on its way to pictures. This crate keeps jobs; it does not run them. It knows no
//! tensor, no node and no HTTP, and the prompt is text to it that it hands back as it came.
//!
//! - [`job`]: what a job is, what is handed in ([`NewJob`]) and what is handed back ([`JobRecord`]).
//! - [`state`]: the states and the table of transitions. Nothing else decides which change is allowed.
//! - [`store`]: the [`JobStore`] trait: the verbs of the queue, of history, of the event log and of results.
//! - [`sqlite`]: the store that `ebb serve` uses. One writer thread, group commit, durable before it answers.
//! - `conformance` (feature of that name): the one suite that every store must pass.
//! - [`error`]: the one error of the layer.
//!
//! # Threads
//!
//! Every method of [`JobStore`] may be called from any thread and may block on a disk; async code calls it from a
//! blocking thread. A method that changes something returns only when the change would survive `kill -9` and a power
//! cut. The exception is [`JobStore::append_events`], which returns at once: a progress report is not worth an fsync.
//! [`JobStore::flush`] waits for those too.

#[cfg(feature = "conformance")]
pub mod conformance;
pub mod error;
pub mod job;
pub mod pick;
pub mod sqlite;
pub mod state;
pub mod store;

pub use error::QueueError;
pub use job::{
    Claimed, EventRecord, Idempotency, JobBody, JobNumber, JobRecord, JobSummary, NewEvent, NewJob,
    NewResult, Outcome, ResultRecord,
};
pub use sqlite::SqliteStore;
pub use state::JobState;
pub use store::{
    Cancelled, Counts, Ended, Filter, HistoryWindow, JobStore, Limits, Page, Place, Recovered, Submitted,
    Then,
};
