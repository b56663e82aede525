//! `/queue`, `/interrupt`, `/free`: what waits and what runs.

use axum::extract::State;
use axum::response::Response;
use ebb_queue::{Cancelled, Filter, JobNumber, JobRecord, JobState};
use serde::Serialize;
use serde_json::Value as Json;
use serde_json::value::RawValue;

use crate::answer::{self, Forgiving, Lenient, done};
use crate::app::App;
use crate::files::blocking;

/// `[number, prompt_id, prompt, extra_data, outputs_to_execute]`. The texts are written as they are stored.
#[derive(Serialize)]
pub(crate) struct Item<'a>(JobNumber, &'a str, &'a RawValue, &'a RawValue, &'a RawValue);

impl<'a> Item<'a> {
    pub(crate) fn of(job: &'a JobRecord) -> Self {
        let body = &job.body;
        Self(job.summary.number, &job.summary.id, &body.prompt, &body.extra_data, &body.outputs)
    }
}

#[derive(Serialize)]
struct Queue<'a> {
    queue_running: Vec<Item<'a>>,
    queue_pending: Vec<Item<'a>>,
}

/// `GET /queue`. Written away from the async threads: ten thousand prompts are megabytes.
pub(crate) async fn list(State(app): State<App>) -> Response {
    let store = app.store.clone();
    let written = blocking(move || {
        let of = |state| {
            let filter = Filter { states: vec![state], ..Filter::default() };
            store.list(&filter).map_err(std::io::Error::other)
        };
        let (running, pending) = (of(JobState::Running)?.jobs, of(JobState::Queued)?.jobs);
        let queue = Queue {
            queue_running: running.iter().map(Item::of).collect(),
            queue_pending: pending.iter().map(Item::of).collect(),
        };
        Ok(answer::json(&queue))
    });
    written.await.unwrap_or_else(answer::failed)
}

/// Ids of a `{"delete": [...]}`.
pub(crate) fn ids(body: &Json) -> Vec<String> {
    let ids = body.get("delete").and_then(Json::as_array);
    ids.into_iter().flatten().filter_map(Json::as_str).map(str::to_owned).collect()
}

/// Whether a body asks for everything to go.
pub(crate) fn clears(body: &Json) -> bool {
    body.get("clear").and_then(Json::as_bool).unwrap_or(false)
}

/// `POST /queue`: forgets waiting jobs. Each one that goes is told to everybody, as ComfyUI does.
pub(crate) async fn change(State(app): State<App>, Lenient(body): Lenient) -> Response {
    if clears(&body) {
        match app.on_store(|s| s.clear_queued()).await {
            Ok(0) => {}
            Ok(_) => app.tell_status().await,
            Err(response) => return response,
        }
    }
    for id in ids(&body) {
        match app.on_store(move |s| s.remove_queued(&[id])).await {
            Ok(removed) if removed.is_empty() => {}
            Ok(_) => app.tell_status().await,
            Err(response) => return response,
        }
    }
    done()
}

/// `POST /interrupt`: the running job, or the one that is named if it is the one that runs. The store says which runs:
/// a job that has been taken and has not begun yet is stopped as well.
pub(crate) async fn interrupt(State(app): State<App>, Forgiving(body): Forgiving) -> Response {
    let named = body.get("prompt_id").and_then(Json::as_str).filter(|id| !id.is_empty());
    let running = app
        .on_store(|s| {
            let filter = Filter { states: vec![JobState::Running], limit: Some(1), ..Filter::default() };
            Ok(s.list(&filter)?.jobs.pop().map(|job| job.summary.id))
        })
        .await;
    let running = match running {
        Ok(Some(id)) if named.is_none_or(|named| named == id) => id,
        Ok(_) => return done(),
        Err(response) => return response,
    };
    match cancel(&app, running).await {
        Ok(_) => done(),
        Err(response) => response,
    }
}

/// Stops a job whatever it is doing.
pub(crate) async fn cancel(app: &App, id: String) -> Result<Cancelled, Response> {
    let handle = app.clone();
    let cancelled = app.on_store(move |s| handle.dispatcher.cancel(s, &id)).await?;
    if cancelled == Cancelled::WasQueued {
        app.tell_status().await;
    }
    Ok(cancelled)
}

/// `POST /free`: acted on once no job runs. Freeing memory includes the models, as with ComfyUI.
pub(crate) async fn free(State(app): State<App>, Lenient(body): Lenient) -> Response {
    let asked = |key: &str| body.get(key).and_then(Json::as_bool).unwrap_or(false);
    let (models, cache) = (asked("unload_models"), asked("free_memory"));
    if models || cache {
        app.dispatcher.free(models, cache);
    }
    done()
}
