//! The shapes of requests and answers.

use ebb_queue::{JobRecord, JobState, ResultRecord};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use utoipa::ToSchema;

/// A prompt to run.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct SubmitJob {
    /// The workflow in ComfyUI's API format: node id → class_type and inputs.
    #[schema(value_type = Object)]
    pub(crate) prompt: Json,
    /// Higher runs first. 0 is what ComfyUI's clients have.
    #[serde(default)]
    pub(crate) priority: i32,
    /// Whose websocket hears of it too.
    pub(crate) client_id: Option<String>,
    /// As in ComfyUI: `extra_pnginfo` goes into saved pictures.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub(crate) extra_data: Map<String, Json>,
    /// Only these output nodes.
    pub(crate) partial_execution_targets: Option<Vec<String>>,
}

/// What a job is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    /// Waits for its turn.
    Queued,
    /// Is with the worker.
    Running,
    /// Every output was made.
    Succeeded,
    /// A node failed.
    Failed,
    /// Someone stopped it.
    Cancelled,
}

impl From<JobState> for State {
    fn from(state: JobState) -> Self {
        match state {
            JobState::Queued => Self::Queued,
            JobState::Running => Self::Running,
            JobState::Succeeded => Self::Succeeded,
            JobState::Failed => Self::Failed,
            JobState::Cancelled => Self::Cancelled,
        }
    }
}

/// A job.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Job {
    /// Its id; ComfyUI's `prompt_id`.
    pub(crate) id: String,
    /// What it is doing.
    pub(crate) state: State,
    /// Higher runs first.
    pub(crate) priority: i32,
    /// Among equals, lower runs first.
    pub(crate) number: f64,
    /// Times a worker took it; more than one after a crash.
    pub(crate) attempts: u32,
    /// When it was stored, in milliseconds since 1970.
    pub(crate) created: i64,
    /// When a worker first took it.
    pub(crate) started: Option<i64>,
    /// When it ended.
    pub(crate) finished: Option<i64>,
    /// How it failed: the websocket's error frame.
    #[schema(value_type = Option<Object>)]
    pub(crate) error: Option<Json>,
    /// What its output nodes showed, by node id.
    #[schema(value_type = Object)]
    pub(crate) outputs: Map<String, Json>,
    /// Files it made.
    pub(crate) results: Vec<JobResult>,
    /// Errors of output nodes that were left out; only in the answer to a submission.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub(crate) node_errors: Option<Json>,
    /// Where to look next.
    pub(crate) links: Links,
}

/// Where to look next.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Links {
    /// This job.
    #[serde(rename = "self")]
    pub(crate) this: String,
    /// Its events.
    pub(crate) events: String,
}

/// A file that a job made.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct JobResult {
    /// The node that made it.
    pub(crate) node: String,
    /// Its name in its folder.
    pub(crate) filename: String,
    /// Folder below that one.
    pub(crate) subfolder: String,
    /// `output` or `temp`.
    pub(crate) folder: String,
    /// Its length.
    pub(crate) bytes: u64,
    /// SHA-256 of its bytes.
    pub(crate) sha256: String,
    /// Where its bytes are, whatever happens to its name.
    pub(crate) url: String,
}

impl From<ResultRecord> for JobResult {
    fn from(record: ResultRecord) -> Self {
        let file = record.file;
        Self {
            node: file.node_id,
            filename: file.filename,
            subfolder: file.subfolder,
            folder: file.folder,
            bytes: file.bytes,
            url: format!("/v1/results/{}", file.sha256),
            sha256: file.sha256,
        }
    }
}

impl Job {
    pub(crate) fn new(record: &JobRecord, results: Vec<ResultRecord>) -> Self {
        let s = &record.summary;
        let outcome = record.outcome.as_ref();
        let error = outcome.and_then(|o| o.error.as_ref()).and_then(|e| serde_json::from_str(e.get()).ok());
        Self {
            id: s.id.clone(),
            state: s.state.into(),
            priority: s.priority,
            number: s.number.key(),
            attempts: s.attempts,
            created: s.created_ms,
            started: s.started_ms,
            finished: s.finished_ms,
            error,
            outputs: crate::comfy::jobs::outputs(record),
            results: results.into_iter().map(JobResult::from).collect(),
            node_errors: None,
            links: Links { this: job_url(&s.id), events: format!("{}/events", job_url(&s.id)) },
        }
    }
}

/// Ids are any text a client chose, so they are encoded.
pub(crate) fn job_url(id: &str) -> String {
    let encoded: String = id
        .bytes()
        .map(|b| {
            if b.is_ascii_alphanumeric() || b"-._~".contains(&b) {
                char::from(b).to_string()
            } else {
                format!("%{b:02X}")
            }
        })
        .collect();
    format!("/v1/jobs/{encoded}")
}

/// Part of the list of jobs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Jobs {
    /// The jobs: waiting ones in the order in which they would run, after the one that runs.
    pub(crate) jobs: Vec<Job>,
    /// Jobs that match, on all pages.
    pub(crate) total: u64,
}

/// What to change about a waiting job.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct ChangeJob {
    /// Another priority.
    pub(crate) priority: Option<i32>,
    /// `front`, `back`, or just before another waiting job.
    pub(crate) place: Option<Place>,
}

/// Where a waiting job shall go.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Place {
    /// Before every other of its priority.
    Front,
    /// After every other of its priority.
    Back,
    /// Just before the job of this id, taking its priority.
    Before(String),
}

/// The queue.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Queue {
    /// No job is taken while it is.
    pub(crate) paused: bool,
    /// Jobs that wait.
    pub(crate) queued: u64,
    /// Jobs that run.
    pub(crate) running: u64,
}

/// An error.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErrorBody {
    /// The error.
    pub(crate) error: ErrorInfo,
}

/// What went wrong.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErrorInfo {
    /// A word for programs, which stays the same when the text changes.
    pub(crate) code: String,
    /// What went wrong and what to do.
    pub(crate) message: String,
    /// More, where there is more.
    #[schema(value_type = Object)]
    pub(crate) details: Json,
}
