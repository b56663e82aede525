//! The verbs of the queue: what every store offers. `docs/queue.md` tells the same to a reader.

use crate::error::QueueError;
use crate::job::{
    Claimed, EventRecord, JobRecord, JobSummary, NewEvent, NewJob, NewResult, Outcome, ResultRecord,
};
use crate::state::JobState;

/// Result of a verb.
pub type Result<T> = std::result::Result<T, QueueError>;

/// Bounds that a store keeps.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Jobs that may wait at once.
    pub max_queued: u64,
    /// Finished jobs that history keeps; the oldest go first.
    pub max_history: u64,
    /// Times a job may be started before it counts as failed.
    pub max_attempts: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_queued: 20_000, max_history: 10_000, max_attempts: 3 }
    }
}

/// What became of a submission.
#[derive(Debug, Clone, PartialEq)]
pub enum Submitted {
    /// A new job, waiting.
    New(JobSummary),
    /// The idempotency key named this job already; nothing was added.
    Existing(JobSummary),
}

impl Submitted {
    /// The job, new or old.
    pub fn summary(&self) -> &JobSummary {
        match self {
            Self::New(s) | Self::Existing(s) => s,
        }
    }
}

/// What became of a request to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// It waited; now it is cancelled.
    WasQueued,
    /// It runs; the request is stored, the worker must be told.
    Requested,
    /// It had ended before.
    AlreadyFinished(JobState),
}

/// How a run ended.
#[derive(Debug, Clone)]
pub struct Ended {
    /// Succeeded, failed or cancelled.
    pub state: JobState,
    /// What history shows.
    pub outcome: Outcome,
    /// Files it made.
    pub results: Vec<NewResult>,
}

/// What a start found of the run before it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Jobs that were running and wait again.
    pub requeued: Vec<String>,
    /// Jobs that were running for the last time allowed, now failed.
    pub failed: Vec<String>,
    /// Jobs that were being stopped, now cancelled.
    pub cancelled: Vec<String>,
}

/// Jobs by state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Waiting.
    pub queued: u64,
    /// With a worker.
    pub running: u64,
    /// Ended well, in history.
    pub succeeded: u64,
    /// Ended badly, in history.
    pub failed: u64,
    /// Stopped, in history.
    pub cancelled: u64,
}

impl Counts {
    /// ComfyUI's `queue_remaining`: running plus waiting.
    pub fn remaining(&self) -> u64 {
        self.queued + self.running
    }
}

/// Which part of history `GET /history` asks for. `offset` counts from the oldest; without it the newest are meant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HistoryWindow {
    /// Entries to skip, oldest first.
    pub offset: Option<u64>,
    /// Entries at most.
    pub max_items: Option<u64>,
}

/// Which jobs a list shows.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only these states; empty means all.
    pub states: Vec<JobState>,
    /// Jobs to skip.
    pub offset: u64,
    /// Jobs at most.
    pub limit: Option<u64>,
    /// Newest submission first instead of last.
    pub newest_first: bool,
}

/// Part of a list.
#[derive(Debug, Clone)]
pub struct Page {
    /// The jobs.
    pub jobs: Vec<JobRecord>,
    /// Jobs that match, on all pages.
    pub total: u64,
}

/// Where a waiting job shall go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Before every other of its priority.
    Front,
    /// After every other of its priority.
    Back,
    /// Just before this waiting job, taking its priority.
    Before(String),
}

/// What is told about a submission that nobody waited for.
pub type Then = Box<dyn FnOnce(Result<(Submitted, Counts)>) + Send>;

/// A place that keeps jobs. See the crate's page for the promise about threads and durability.
pub trait JobStore: Send + Sync + 'static {
    /// Stores a job, waiting. A finished job of the same id is forgotten first, as ComfyUI's history does.
    fn submit(&self, job: NewJob) -> Result<Submitted>;

    /// As [`submit`](JobStore::submit), without waiting: `then` gets the answer once the job is durable, and how many
    /// jobs there are with it. It is called from a thread of the store's and must not block.
    fn submit_then(&self, job: NewJob, then: Then) {
        then(self.submit(job).and_then(|submitted| Ok((submitted, self.counts()?))));
    }

    /// The next count for jobs without a number: above every counted number that is stored.
    fn next_number(&self) -> Result<i64>;

    /// Takes up what a run before left behind. Called once, before any worker starts.
    fn recover(&self) -> Result<Recovered>;

    /// Waiting jobs in the order in which they would run.
    fn queued(&self, limit: u64) -> Result<Vec<JobSummary>>;

    /// A worker takes a waiting job; the attempt counts. Jobs of `passed_over` waited while a later one was taken.
    /// `None` when it does not wait any more.
    fn claim(&self, id: &str, passed_over: &[String]) -> Result<Option<Claimed>>;

    /// A worker puts its job back untouched (the program ends): the attempt does not count.
    fn release(&self, id: &str) -> Result<()>;

    /// A worker reports the end of its job: state, history and results in one step.
    fn finish(&self, id: &str, ended: Ended) -> Result<()>;

    /// Stops a job, whatever it is doing.
    fn cancel(&self, id: &str) -> Result<Cancelled>;

    /// Forgets waiting jobs without a trace, ComfyUI's `{"delete": […]}`. Returns those that were there.
    fn remove_queued(&self, ids: &[String]) -> Result<Vec<String>>;

    /// Forgets every waiting job. Returns how many.
    fn clear_queued(&self) -> Result<u64>;

    /// Puts a waiting job elsewhere.
    fn reorder(&self, id: &str, place: Place) -> Result<JobSummary>;

    /// Gives a waiting job another priority.
    fn set_priority(&self, id: &str, priority: i32) -> Result<JobSummary>;

    /// Stops workers from taking jobs, or lets them. Kept over restarts.
    fn set_paused(&self, paused: bool) -> Result<()>;

    /// Whether workers may take jobs.
    fn paused(&self) -> Result<bool>;

    /// Jobs by state.
    fn counts(&self) -> Result<Counts>;

    /// One job.
    fn get(&self, id: &str) -> Result<Option<JobRecord>>;

    /// Jobs of some states: waiting ones in the order in which they would run, others in order of arrival.
    fn list(&self, filter: &Filter) -> Result<Page>;

    /// Finished jobs that a worker had, in order of completion.
    fn history(&self, window: HistoryWindow) -> Result<Vec<JobRecord>>;

    /// Forgets finished jobs; ids of others are ignored. Returns how many.
    fn remove_history(&self, ids: &[String]) -> Result<u64>;

    /// Forgets every finished job. Returns how many.
    fn clear_history(&self) -> Result<u64>;

    /// Adds to a job's log. Returns before it is stored; see [`JobStore::flush`].
    fn append_events(&self, id: &str, events: Vec<NewEvent>) -> Result<()>;

    /// A job's log after a position, oldest first.
    fn events_after(&self, id: &str, seq: i64, limit: u64) -> Result<Vec<EventRecord>>;

    /// Files that a job made.
    fn results(&self, id: &str) -> Result<Vec<ResultRecord>>;

    /// The file of this content; the newest when there are several.
    fn result_by_hash(&self, sha256: &str) -> Result<Option<ResultRecord>>;

    /// Waits until everything handed in so far is stored.
    fn flush(&self) -> Result<()>;
}
