//! Jobs: submit, look, cancel, move.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use ebb_queue::{Filter, Idempotency, JobNumber, JobState, JobStore, QueueError, Submitted};
use serde::de::DeserializeOwned;
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};

use super::error::error;
use super::types::{ChangeJob, ErrorBody, Job, Jobs, Place, SubmitJob, job_url};
use crate::answer::{self, Lenient};
use crate::app::App;
use crate::comfy::prompt::{Submission, hand_in};
use crate::comfy::queue as comfy_queue;

/// Bytes of an idempotency key.
const LONGEST_KEY: usize = 256;

pub(super) fn parsed<T: DeserializeOwned>(body: Json) -> Result<T, Response> {
    serde_json::from_value(body)
        .map_err(|e| error(StatusCode::BAD_REQUEST, "invalid_request", e.to_string(), Json::Null))
}

/// A job with its files.
fn load(store: &dyn JobStore, id: &str) -> Result<Job, QueueError> {
    let record = store.get(id)?.ok_or_else(|| QueueError::NotFound { id: id.to_owned() })?;
    Ok(Job::new(&record, store.results(id)?))
}

/// Submits a prompt. Answered once the job is stored durably.
#[utoipa::path(
    post, path = "/v1/jobs", operation_id = "submitJob", request_body = SubmitJob,
    params(("Idempotency-Key" = Option<String>, Header, description = "The same key and request make one job, however often they are sent")),
    responses(
        (status = 201, body = Job, description = "A new job"),
        (status = 200, body = Job, description = "The job that the key made before"),
        (status = 400, body = ErrorBody, description = "The prompt cannot run; `details` has ComfyUI's `error` and `node_errors`"),
        (status = 409, body = ErrorBody, description = "The key was used for another request"),
        (status = 429, body = ErrorBody, description = "The queue is full"),
        (status = 507, body = ErrorBody, description = "The disk is full"),
    )
)]
pub(crate) async fn submit(State(app): State<App>, headers: HeaderMap, Lenient(body): Lenient) -> Response {
    let key = headers.get("idempotency-key").and_then(|v| v.to_str().ok()).map(str::to_owned);
    if key.as_ref().is_some_and(|k| k.is_empty() || k.len() > LONGEST_KEY) {
        let message = format!("Idempotency-Key needs 1 to {LONGEST_KEY} characters");
        return error(StatusCode::BAD_REQUEST, "invalid_request", message, Json::Null);
    }
    let digest = Sha256::digest(body.to_string().as_bytes());
    let fingerprint: String = digest.iter().map(|b| format!("{b:02x}")).collect();
    let request: SubmitJob = match parsed(body) {
        Ok(request) => request,
        Err(response) => return response,
    };
    let submission = Submission {
        prompt: request.prompt,
        id: None,
        number: JobNumber::Counted(app.counter.fetch_add(1, Ordering::SeqCst)),
        priority: request.priority,
        client_id: request.client_id,
        extra_data: request.extra_data,
        targets: request.partial_execution_targets,
        idempotency: key.map(|key| Idempotency { key, fingerprint }),
    };
    let (submitted, node_errors) = match hand_in(&app, submission).await {
        Ok(done) => done,
        Err(response) if response.status() == StatusCode::BAD_REQUEST => return as_details(response).await,
        Err(response) => return response,
    };
    let (status, id) = match &submitted {
        Submitted::New(job) => (StatusCode::CREATED, job.id.clone()),
        Submitted::Existing(job) => (StatusCode::OK, job.id.clone()),
    };
    let location = job_url(&id);
    match app.on_store(move |s| load(s, &id)).await {
        Ok(mut job) => {
            job.node_errors = Some(node_errors);
            let mut response = answer::json_with(status, &job);
            if let Ok(value) = location.parse() {
                response.headers_mut().insert(header::LOCATION, value);
            }
            response
        }
        Err(response) => response,
    }
}

/// ComfyUI's refusal inside `/v1`'s shape.
async fn as_details(response: Response) -> Response {
    let bytes = axum::body::to_bytes(response.into_body(), 64 << 20).await.unwrap_or_default();
    let body: Json = serde_json::from_slice(&bytes).unwrap_or_default();
    let text =
        |key: &str| body.pointer(key).and_then(Json::as_str).unwrap_or("the prompt cannot run").to_owned();
    error(StatusCode::BAD_REQUEST, &text("/error/type"), text("/error/message"), body)
}

/// Lists jobs.
#[utoipa::path(
    get, path = "/v1/jobs", operation_id = "listJobs",
    params(
        ("state" = Option<String>, Query, description = "Only these states, separated by commas"),
        ("offset" = Option<u64>, Query, description = "Jobs to skip"),
        ("limit" = Option<u64>, Query, description = "Jobs at most, 100 by default, up to 1000"),
    ),
    responses(
        (status = 200, body = Jobs, description = "A page of jobs"),
        (status = 400, body = ErrorBody, description = "No such state, or no number"),
    )
)]
pub(crate) async fn list(State(app): State<App>, Query(query): Query<HashMap<String, String>>) -> Response {
    let mut states = Vec::new();
    for word in query.get("state").into_iter().flat_map(|w| w.split(',')) {
        match word.trim().parse::<JobState>() {
            Ok(state) => states.push(state),
            Err(message) => return error(StatusCode::BAD_REQUEST, "invalid_request", message, Json::Null),
        }
    }
    let number = |key: &str, default: u64| match query.get(key).map(|v| v.trim().parse::<u64>()) {
        None => Ok(default),
        Some(Ok(number)) => Ok(number),
        Some(Err(_)) => {
            let message = format!("{key} is a whole number, 0 or more");
            Err(error(StatusCode::BAD_REQUEST, "invalid_request", message, Json::Null))
        }
    };
    let (offset, limit) = match (number("offset", 0), number("limit", 100)) {
        (Ok(offset), Ok(limit)) => (offset, limit.min(1000)),
        (Err(response), _) | (_, Err(response)) => return response,
    };
    let filter =
        Filter { newest_first: states.iter().any(|s| s.is_finished()), states, offset, limit: Some(limit) };
    let listed = app.on_store(move |s| {
        let page = s.list(&filter)?;
        let jobs: Result<Vec<Job>, QueueError> =
            page.jobs.iter().map(|r| Ok(Job::new(r, s.results(&r.summary.id)?))).collect();
        Ok(answer::json(&Jobs { jobs: jobs?, total: page.total }))
    });
    listed.await.unwrap_or_else(|response| response)
}

/// One job.
#[utoipa::path(
    get, path = "/v1/jobs/{id}", operation_id = "getJob", params(("id" = String, Path)),
    responses((status = 200, body = Job, description = "The job"), (status = 404, body = ErrorBody, description = "There is no such job"))
)]
pub(crate) async fn one(State(app): State<App>, Path(id): Path<String>) -> Response {
    match app.on_store(move |s| load(s, &id)).await {
        Ok(job) => answer::json(&job),
        Err(response) => response,
    }
}

/// Gives a waiting job another priority or place.
#[utoipa::path(
    patch, path = "/v1/jobs/{id}", operation_id = "changeJob", params(("id" = String, Path)), request_body = ChangeJob,
    responses(
        (status = 200, body = Job, description = "The job"),
        (status = 404, body = ErrorBody, description = "There is no such job"),
        (status = 409, body = ErrorBody, description = "It does not wait any more"),
    )
)]
pub(crate) async fn change(
    State(app): State<App>,
    Path(id): Path<String>,
    Lenient(body): Lenient,
) -> Response {
    let change: ChangeJob = match parsed(body) {
        Ok(change) => change,
        Err(response) => return response,
    };
    let changed = app.on_store(move |s| {
        if let Some(priority) = change.priority {
            s.set_priority(&id, priority)?;
        }
        if let Some(place) = change.place {
            let place = match place {
                Place::Front => ebb_queue::Place::Front,
                Place::Back => ebb_queue::Place::Back,
                Place::Before(other) => ebb_queue::Place::Before(other),
            };
            s.reorder(&id, place)?;
        }
        load(s, &id)
    });
    match changed.await {
        Ok(job) => answer::json(&job),
        Err(response) => response,
    }
}

/// Stops a job, whatever it is doing. A job that is over stays as it is.
#[utoipa::path(
    delete, path = "/v1/jobs/{id}", operation_id = "cancelJob", params(("id" = String, Path)),
    responses(
        (status = 202, body = Job, description = "It stops, or has stopped"),
        (status = 404, body = ErrorBody, description = "There is no such job"),
        (status = 409, body = ErrorBody, description = "It had ended before"),
    )
)]
pub(crate) async fn cancel(State(app): State<App>, Path(id): Path<String>) -> Response {
    match comfy_queue::cancel(&app, id.clone()).await {
        Ok(ebb_queue::Cancelled::AlreadyFinished(state)) => {
            let message = format!("job {id} has ended already: it {state}");
            error(StatusCode::CONFLICT, "job_state_conflict", message, json!({"state": state}))
        }
        Ok(_) => match app.on_store(move |s| load(s, &id)).await {
            Ok(job) => answer::json_with(StatusCode::ACCEPTED, &job),
            Err(response) => response,
        },
        Err(response) => response.into_response(),
    }
}
