//! Sweeps: `POST /v1/sweep/estimate`, `POST /v1/sweep`, `GET /v1/sweep/{id}`. `docs/v1-editor-contract.md` has the
//! shapes.
//!
//! A sweep is one job: its prompt holds every cell, node `id` of cell `n` as `n/id`, so that equal work is done once
//! and each model is loaded once. What is varied is stored with the job, and read from there again.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::Ordering;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use ebb_engine::workflow::sweep::Sweep;
use ebb_queue::{JobNumber, JobRecord, JobState, JobStore, QueueError};
use serde_json::{Map, Value as Json, json};

use super::error::error;
use super::types::ErrorBody;
use crate::answer::{self, Lenient};
use crate::app::App;
use crate::comfy::jobs::word;
use crate::comfy::prompt::{Submission, hand_in, refused, targets};
use crate::work::dispatcher::SWEEP;
use crate::work::workshop::Cost;

/// Events that are read from the store at once.
const PAGE: u64 = 1000;

/// A request that was read.
struct Asked {
    sweep: Sweep,
    /// The only outputs to run, by their ids in the workflow.
    targets: Option<Vec<String>>,
}

impl Asked {
    fn read(body: &Json) -> Result<Self, Response> {
        let sweep = Sweep::from_json(body).map_err(|problem| {
            error(StatusCode::BAD_REQUEST, "bad_sweep", problem.to_string(), Json::Null)
        })?;
        Ok(Self { sweep, targets: targets(body.get("partial_execution_targets")) })
    }

    /// All cells as one prompt, those that share models next to each other.
    async fn combined(&self, app: &App) -> Result<(Json, Option<Vec<String>>), Response> {
        let mut needs: Vec<Vec<String>> = Vec::new();
        for workflow in self.sweep.probes() {
            let cost = app.workshop.cost(workflow.to_json(), self.targets.clone()).await.map_err(refused)?;
            let mut keys: Vec<String> = cost.loads.into_iter().map(|(key, ..)| key).collect();
            keys.sort();
            needs.push(keys);
        }
        let cells = self.sweep.arranged(&needs);
        let targets = self.targets.as_ref().map(|targets| {
            let of = |cell: &usize| {
                let cell = *cell;
                targets.iter().map(move |id| Sweep::id_in(cell, &id.into()).as_str().to_owned())
            };
            cells.iter().flat_map(of).collect()
        });
        Ok((self.sweep.combined(cells.iter().copied()).to_json(), targets))
    }
}

/// What a sweep would take, without running it.
#[utoipa::path(post, path = "/v1/sweep/estimate", operation_id = "estimateSweep", request_body = Object, responses(
    (status = 200, body = Object, description = "See docs/v1-editor-contract.md"),
    (status = 400, body = ErrorBody, description = "No sweep, or a cell that cannot run: then as POST /prompt answers")
))]
pub(crate) async fn estimate(State(app): State<App>, Lenient(body): Lenient) -> Response {
    let answered = async {
        let asked = Asked::read(&body)?;
        let (prompt, targets) = asked.combined(&app).await?;
        let cost = app.workshop.cost(prompt, targets).await.map_err(refused)?;
        Ok(answer::json(&estimated(asked.sweep.len(), cost)))
    };
    answered.await.unwrap_or_else(|response: Response| response)
}

fn estimated(cells: usize, cost: Cost) -> Json {
    let mut loads: BTreeMap<String, (String, u64, usize)> = BTreeMap::new();
    for (key, name, bytes) in cost.loads {
        loads.entry(key).or_insert((name, bytes, 0)).2 += 1;
    }
    let loads = loads
        .into_iter()
        .map(|(id, (name, bytes, count))| json!({"id": id, "name": name, "bytes": bytes, "count": count}));
    json!({
        "cells": cells, "images": cost.outputs, "steps": cost.steps_alone, "steps_shared": cost.steps,
        "loads": loads.collect::<Vec<_>>(), "peak": cost.peak, "seconds": null,
    })
}

/// Runs a sweep, as one job. Answered once it is stored durably.
#[utoipa::path(post, path = "/v1/sweep", operation_id = "submitSweep", request_body = Object, responses(
    (status = 200, body = Object, description = "See docs/v1-editor-contract.md"),
    (status = 400, body = ErrorBody, description = "No sweep, or a cell that cannot run: then as POST /prompt answers"),
    (status = 429, body = ErrorBody, description = "The queue is full"),
))]
pub(crate) async fn submit(State(app): State<App>, Lenient(mut body): Lenient) -> Response {
    let answered = async {
        let asked = Asked::read(&body)?;
        let (prompt, targets) = asked.combined(&app).await?;
        let mut extra_data = match body.get_mut("extra_data").map(Json::take) {
            Some(Json::Object(extra)) => extra,
            _ => Map::new(),
        };
        extra_data.insert(SWEEP.to_owned(), asked.sweep.to_json());
        let submission = Submission {
            prompt,
            id: None,
            number: JobNumber::Counted(app.counter.fetch_add(1, Ordering::SeqCst)),
            priority: 0,
            client_id: body.get("client_id").and_then(Json::as_str).map(str::to_owned),
            extra_data,
            targets,
            idempotency: None,
        };
        let (submitted, _) = hand_in(&app, submission).await?;
        let id = submitted.summary().id.clone();
        app.on_store(move |store| look_up(store, &id)).await.map(|sweep| answer::json(&sweep))
    };
    answered.await.unwrap_or_else(|response: Response| response)
}

/// How far a sweep is.
#[utoipa::path(get, path = "/v1/sweep/{id}", operation_id = "getSweep", params(("id" = String, Path)), responses(
    (status = 200, body = Object, description = "See docs/v1-editor-contract.md"),
    (status = 404, body = ErrorBody, description = "No job, or one that is no sweep"),
))]
pub(crate) async fn look(State(app): State<App>, Path(id): Path<String>) -> Response {
    match app.on_store(move |store| look_up(store, &id)).await {
        Ok(sweep) => answer::json(&sweep),
        Err(response) => response,
    }
}

fn look_up(store: &dyn JobStore, id: &str) -> Result<Json, QueueError> {
    let missing = || QueueError::NotFound { id: id.to_owned() };
    let job = store.get(id)?.ok_or_else(missing)?;
    let extra: Json = serde_json::from_str(job.body.extra_data.get()).unwrap_or_default();
    let sweep = extra.get(SWEEP).and_then(|sweep| Sweep::from_json(sweep).ok()).ok_or_else(missing)?;
    let shown = shown(store, &job)?;
    let outputs: Vec<String> = serde_json::from_str(job.body.outputs.get()).unwrap_or_default();
    let mut waiting: HashMap<usize, Vec<&str>> = HashMap::new();
    for output in &outputs {
        if let Some((cell, _)) = Sweep::cell_of(&output.into()) {
            waiting.entry(cell).or_default().push(output);
        }
    }
    let failed = failed_cell(&job);
    let cells = (0..sweep.len()).map(|cell| {
        let of = waiting.get(&cell).map(Vec::as_slice).unwrap_or_default();
        let done = of.iter().filter(|id| shown.contains_key(**id)).count();
        let state = state(job.summary.state, done, of.len(), failed == Some(cell));
        let entries = of.iter().filter_map(|id| shown.get(*id)?.get("images")?.as_array());
        let images: Vec<&Json> = entries.flatten().collect();
        json!({"cell": cell, "index": sweep.index(cell), "values": sweep.names(cell), "prompt_id": id,
               "status": word(state), "images": images})
    });
    let cells: Vec<Json> = cells.collect();
    let axes = &extra[SWEEP]["axes"];
    Ok(json!({"id": id, "status": word(job.summary.state), "axes": axes, "cells": cells}))
}

/// The state of a cell, of whose outputs so many are done.
fn state(job: JobState, done: usize, outputs: usize, failed: bool) -> JobState {
    match job {
        _ if done == outputs => JobState::Succeeded,
        _ if failed => JobState::Failed,
        JobState::Running if done > 0 => JobState::Running,
        JobState::Running => JobState::Queued,
        // What had not run when another cell failed was not run at all.
        JobState::Failed => JobState::Cancelled,
        other => other,
    }
}

/// What output nodes showed: from history, or from the log while it runs.
fn shown(store: &dyn JobStore, job: &JobRecord) -> Result<Map<String, Json>, QueueError> {
    let mut shown = crate::comfy::jobs::outputs(job);
    if job.outcome.is_some() {
        return Ok(shown);
    }
    store.flush()?;
    let mut seen = 0;
    loop {
        let events = store.events_after(&job.summary.id, seen, PAGE)?;
        let Some(last) = events.last() else { return Ok(shown) };
        seen = last.seq;
        for event in events.iter().filter(|event| event.kind == "executed") {
            let data: Json = serde_json::from_str(event.data.get()).unwrap_or_default();
            if let (Some(node), Some(output)) = (data["node"].as_str(), data.get("output")) {
                shown.insert(node.to_owned(), output.clone());
            }
        }
    }
}

fn failed_cell(job: &JobRecord) -> Option<usize> {
    let error = job.outcome.as_ref()?.error.as_ref()?;
    let error: Json = serde_json::from_str(error.get()).ok()?;
    Sweep::cell_of(&error["node_id"].as_str()?.into()).map(|(cell, _)| cell)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_what_its_outputs_are() {
        use JobState::{Cancelled, Failed, Queued, Running, Succeeded};
        for (job, done, failed, is) in [
            (Queued, 0, false, Queued),
            (Running, 0, false, Queued),
            (Running, 1, false, Running),
            (Running, 2, false, Succeeded),
            (Failed, 1, true, Failed),
            (Failed, 2, false, Succeeded),
            (Failed, 0, false, Cancelled),
            (Cancelled, 1, false, Cancelled),
        ] {
            assert_eq!(state(job, done, 2, failed), is, "{job:?}, {done} of 2, {failed}");
        }
    }

    #[test]
    fn loads_are_counted_by_component() {
        let load = |key: &str| (key.to_owned(), "name".to_owned(), 7);
        let cost = Cost {
            steps: 3,
            steps_alone: 9,
            loads: vec![load("a"), load("b"), load("a")],
            outputs: 4,
            peak: 5,
        };
        let answer = estimated(4, cost);
        assert_eq!(answer["loads"][0], json!({"id": "a", "name": "name", "bytes": 7, "count": 2}));
        assert_eq!((&answer["steps"], &answer["steps_shared"]), (&json!(9), &json!(3)));
    }
}
