//! What a job is: what is handed in, what is stored, what is handed back.

use serde::ser::Serializer;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::state::JobState;

/// A job's place key: lower runs first.
///
/// ComfyUI echoes a number that the client sent as a float (`42` → `42.0`) and one that it counted itself as an
/// integer. Both sort together.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum JobNumber {
    /// Counted by the server; negative when the job was put in front.
    Counted(i64),
    /// Given by the client, or made by moving the job.
    Given(f64),
}

impl JobNumber {
    /// The value to sort by.
    pub fn key(self) -> f64 {
        match self {
            Self::Counted(n) => n as f64,
            Self::Given(x) => x,
        }
    }
}

impl Serialize for JobNumber {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Counted(n) => s.serialize_i64(*n),
            Self::Given(x) => s.serialize_f64(*x),
        }
    }
}

/// A promise that the same request sent twice makes one job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// The client's key.
    pub key: String,
    /// A digest of the request, so that the key used for something else is noticed.
    pub fingerprint: String,
}

/// The parts of a job that the queue keeps and never reads: JSON, as it came from validation.
#[derive(Debug, Clone)]
pub struct JobBody {
    /// The prompt in API format, values coerced.
    pub prompt: Box<RawValue>,
    /// `extra_data` of the submission, without account tokens.
    pub extra_data: Box<RawValue>,
    /// Ids of the output nodes to run, a JSON array.
    pub outputs: Box<RawValue>,
}

/// A job that is handed in.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// The id: any string that no waiting or running job has.
    pub id: String,
    /// Place in the queue.
    pub number: JobNumber,
    /// Higher runs first, before any `number` is looked at. ComfyUI's clients leave it at 0.
    pub priority: i32,
    /// Whose websocket hears of it.
    pub client_id: Option<String>,
    /// Set by clients that may send twice.
    pub idempotency: Option<Idempotency>,
    /// What will run.
    pub body: JobBody,
    /// Names of the model components it will need, for [`crate::pick`].
    pub components: Vec<String>,
}

/// A job without its texts: enough to list, to choose and to count.
#[derive(Debug, Clone, PartialEq)]
pub struct JobSummary {
    /// Order of arrival; grows by one a job.
    pub seq: i64,
    /// The id.
    pub id: String,
    /// Place in the queue.
    pub number: JobNumber,
    /// Higher runs first.
    pub priority: i32,
    /// What it is doing.
    pub state: JobState,
    /// Times a worker took it.
    pub attempts: u32,
    /// Times a later job was taken before it for what was in memory.
    pub passed_over: u32,
    /// Someone asked for it to stop while it ran.
    pub cancel_requested: bool,
    /// Whose websocket hears of it.
    pub client_id: Option<String>,
    /// Model components it will need.
    pub components: Vec<String>,
    /// When it was stored, milliseconds since 1970.
    pub created_ms: i64,
    /// When a worker first took it.
    pub started_ms: Option<i64>,
    /// When it ended.
    pub finished_ms: Option<i64>,
}

/// How a job ended, as history shows it. JSON, kept and never read.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// UI values by node id.
    pub outputs: Box<RawValue>,
    /// `{"status_str", "completed", "messages"}`.
    pub status: Box<RawValue>,
    /// Display, parent and real node ids by node id.
    pub meta: Box<RawValue>,
    /// The error frame, when there was one.
    pub error: Option<Box<RawValue>>,
}

/// All that is stored about a job, but for its events.
#[derive(Debug, Clone)]
pub struct JobRecord {
    /// The part without texts.
    pub summary: JobSummary,
    /// What runs.
    pub body: JobBody,
    /// How it ended, once it has.
    pub outcome: Option<Outcome>,
}

/// A job that a worker has just taken.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// The job, now running.
    pub record: JobRecord,
    /// The sequence number for its next event: events of an earlier attempt stay.
    pub next_event: i64,
}

/// Something that happened to a job, to be kept.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// Position in the job's log; the worker counts.
    pub seq: i64,
    /// Milliseconds since 1970.
    pub at_ms: i64,
    /// The frame's type, as on the websocket.
    pub kind: String,
    /// The frame's data.
    pub data: Box<RawValue>,
}

/// Something that happened to a job, read back.
#[derive(Debug, Clone, Serialize)]
pub struct EventRecord {
    /// Position in the job's log.
    pub seq: i64,
    /// Milliseconds since 1970.
    pub at_ms: i64,
    /// The frame's type.
    pub kind: String,
    /// The frame's data.
    pub data: Box<RawValue>,
}

/// A file that a job made, to be kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NewResult {
    /// The node that made it.
    pub node_id: String,
    /// Key of the UI value it stands in (`images`).
    pub kind: String,
    /// `output`, `temp` or `input`.
    pub folder: String,
    /// Folder below that one, `""` for none.
    pub subfolder: String,
    /// File name.
    pub filename: String,
    /// SHA-256 of the bytes, 64 hex digits.
    pub sha256: String,
    /// Length of the file.
    pub bytes: u64,
}

/// A file that a job made, read back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ResultRecord {
    /// The job.
    pub job_id: String,
    /// The file.
    #[serde(flatten)]
    pub file: NewResult,
}
