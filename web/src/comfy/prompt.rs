//! `POST /prompt`: handing work in. Answered once the job is on the disk.

use std::sync::atomic::Ordering;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use ebb_queue::{Idempotency, JobBody, JobNumber, NewJob, QueueError, Submitted};
use serde_json::{Map, Value as Json, json};
use tokio::sync::oneshot;

use crate::answer::{self, Lenient};
use crate::app::App;
use crate::v1::error::from_queue;
use crate::work::engine::broke;
use crate::work::outcome::raw;
use crate::work::workshop::{Checked, Refused};

/// Bytes of an id that a client chose.
const LONGEST_ID: usize = 256;
/// Secrets that the official front end sends along. They are never stored, so nothing can show them.
const SECRETS: [&str; 2] = ["auth_token_comfy_org", "api_key_comfy_org"];

/// `GET /prompt`: how long the queue is.
pub(crate) async fn remaining(State(app): State<App>) -> Response {
    match app.on_store(|s| s.counts()).await {
        Ok(counts) => answer::json(&json!({"exec_info": {"queue_remaining": counts.remaining()}})),
        Err(response) => response,
    }
}

/// What ComfyUI's route and `/v1` both hand in.
pub(crate) struct Submission {
    pub(crate) prompt: Json,
    pub(crate) id: Option<String>,
    pub(crate) number: JobNumber,
    pub(crate) priority: i32,
    pub(crate) client_id: Option<String>,
    pub(crate) extra_data: Map<String, Json>,
    pub(crate) targets: Option<Vec<String>>,
    pub(crate) idempotency: Option<Idempotency>,
}

pub(crate) async fn submit(State(app): State<App>, Lenient(body): Lenient) -> Response {
    let Json::Object(mut body) = body else {
        return refused(refusal("invalid_prompt", "The request's body is not a JSON object", ""));
    };
    let number = match number(&app, &body) {
        Ok(number) => number,
        Err(refusal) => return refused(refusal),
    };
    let Some(prompt) = body.remove("prompt") else {
        return refused(refusal("no_prompt", "No prompt provided", "No prompt provided"));
    };
    let client_id = body.get("client_id").and_then(Json::as_str).map(str::to_owned);
    let submission = Submission {
        prompt,
        id: body.get("prompt_id").and_then(text),
        number,
        priority: 0,
        client_id,
        extra_data: match body.remove("extra_data") {
            Some(Json::Object(extra)) => extra,
            _ => Map::new(),
        },
        targets: targets(body.get("partial_execution_targets")),
        idempotency: None,
    };
    match hand_in(&app, submission).await {
        Ok((submitted, node_errors)) => {
            let job = submitted.summary();
            answer::json(&json!({"prompt_id": job.id, "number": job.number, "node_errors": node_errors}))
        }
        Err(response) => response,
    }
}

/// Checks and stores a submission, tells everybody, and wakes the dispatcher.
pub(crate) async fn hand_in(app: &App, mut submission: Submission) -> Result<(Submitted, Json), Response> {
    let id = submission.id.take().unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
    if id.is_empty() || id.len() > LONGEST_ID {
        let message = format!("prompt_id has {} bytes; it needs 1 to {LONGEST_ID}", id.len());
        return Err(refused(refusal("invalid_prompt_id", &message, "")));
    }
    let nodes = submission.prompt.as_object().map_or(0, Map::len);
    if nodes > app.config.limits.nodes {
        let limit = app.config.limits.nodes;
        let message = format!(
            "The prompt has {nodes} nodes and the limit is {limit}; it can be raised with --max-nodes"
        );
        return Err(refused(refusal("too_many_nodes", &message, "")));
    }
    // Checked on a thread that may block, handed to the store from there, and waited for here: no thread is held while
    // the disk works.
    let (tell, told) = oneshot::channel();
    let handed = {
        let app = app.clone();
        tokio::task::spawn_blocking(move || {
            let (job, node_errors) = checked(&app, submission, id)?;
            app.store.submit_then(job, Box::new(move |answer| drop(tell.send(answer))));
            Ok(node_errors)
        })
    };
    let handed = handed.await.unwrap_or_else(|panic| Err(broke("Checking the prompt", &panic)));
    let node_errors = handed.map_err(refused)?;
    let answer = told.await.unwrap_or(Err(QueueError::Closed));
    let (submitted, counts) = answer.map_err(|error| from_queue(&error))?;
    if let Submitted::New(job) = &submitted {
        // The request's id stands beside it: from here on the log names the job.
        tracing::info!(job = %job.id, number = job.number.key(), nodes, waiting = counts.queued, "job accepted");
        app.hub.status(counts.remaining());
        app.dispatcher.wake();
    }
    Ok((submitted, node_errors))
}

/// A submission as a job, and the errors of the outputs that were left out.
fn checked(app: &App, submission: Submission, id: String) -> Result<(NewJob, Json), Refused> {
    let Checked { prompt, outputs, node_errors, components } =
        app.workshop.check(submission.prompt, submission.targets)?;
    let mut extra_data = submission.extra_data;
    extra_data.retain(|key, _| !SECRETS.contains(&key.as_str()));
    if let Some(client) = &submission.client_id {
        extra_data.insert("client_id".to_owned(), json!(client));
    }
    let body = JobBody {
        prompt: raw(&prompt),
        extra_data: raw(&Json::Object(extra_data)),
        outputs: raw(&json!(outputs)),
    };
    let job = NewJob {
        id,
        number: submission.number,
        priority: submission.priority,
        client_id: submission.client_id,
        idempotency: submission.idempotency,
        body,
        components,
    };
    Ok((job, node_errors))
}

/// The job's place. Every submission without a number counts, refused ones too.
fn number(app: &App, body: &Map<String, Json>) -> Result<JobNumber, Refused> {
    let Some(given) = body.get("number") else {
        let count = app.counter.fetch_add(1, Ordering::SeqCst);
        let front = body.get("front").is_some_and(truthy);
        return Ok(JobNumber::Counted(if front { -count } else { count }));
    };
    let value = match given {
        Json::Number(n) => n.as_f64(),
        Json::String(s) => s.trim().parse().ok(),
        Json::Bool(b) => Some(f64::from(u8::from(*b))),
        _ => None,
    };
    match value.filter(|v| v.is_finite()) {
        Some(value) => Ok(JobNumber::Given(value)),
        None => Err(refusal("invalid_number", "number is not a finite number", &given.to_string())),
    }
}

pub(crate) fn targets(json: Option<&Json>) -> Option<Vec<String>> {
    Some(json?.as_array()?.iter().filter_map(text).collect())
}

/// An id that may have been sent as a number.
fn text(json: &Json) -> Option<String> {
    match json {
        Json::String(s) => Some(s.clone()),
        Json::Number(n) => Some(n.to_string()),
        _ => None,
    }
}

/// What Python takes for true.
fn truthy(json: &Json) -> bool {
    match json {
        Json::Null => false,
        Json::Bool(b) => *b,
        Json::Number(n) => n.as_f64() != Some(0.0),
        Json::String(s) => !s.is_empty(),
        Json::Array(a) => !a.is_empty(),
        Json::Object(o) => !o.is_empty(),
    }
}

pub(crate) fn refusal(kind: &str, message: &str, details: &str) -> Refused {
    Refused {
        error: json!({"type": kind, "message": message, "details": details, "extra_info": {}}),
        node_errors: json!({}),
    }
}

/// 400 with ComfyUI's body.
pub(crate) fn refused(refused: Refused) -> Response {
    let body = json!({"error": refused.error, "node_errors": refused.node_errors});
    answer::json_with(StatusCode::BAD_REQUEST, &body)
}
