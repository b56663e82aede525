//! `/jobs`: queue and history as front ends from 1.58 on ask for them.

use std::collections::HashMap;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use ebb_queue::{Filter, JobRecord, JobState, JobSummary};
use serde_json::{Map, Value as Json, json};

use super::queue;
use crate::answer::{self, Forgiving};
use crate::app::App;

/// The front end's word for a state.
pub(crate) fn word(state: JobState) -> &'static str {
    match state {
        JobState::Queued => "pending",
        JobState::Running => "in_progress",
        JobState::Succeeded => "completed",
        JobState::Failed => "failed",
        JobState::Cancelled => "cancelled",
    }
}

fn states(words: Option<&String>) -> Vec<JobState> {
    let words: Vec<&str> = words.map(|w| w.split(',').map(str::trim).collect()).unwrap_or_default();
    JobState::ALL.into_iter().filter(|state| words.contains(&word(*state))).collect()
}

/// UI values by node id; `{}` before the job is over.
pub(crate) fn outputs(job: &JobRecord) -> Map<String, Json> {
    let text = job.outcome.as_ref().map(|o| o.outputs.get());
    text.and_then(|t| serde_json::from_str(t).ok()).unwrap_or_default()
}

/// What can be looked at: every `{filename, …}` of the outputs, with node and kind. Saved files come first.
fn shown(outputs: &Map<String, Json>) -> Vec<Json> {
    let mut shown = Vec::new();
    for (node, ui) in outputs {
        for (kind, items) in ui.as_object().into_iter().flatten() {
            for item in items.as_array().into_iter().flatten().filter(|i| i.get("filename").is_some()) {
                let mut item = item.clone();
                item["nodeId"] = json!(node);
                item["mediaType"] = json!(kind);
                shown.push(item);
            }
        }
    }
    shown.sort_by_key(|item| item["type"] != "output");
    shown
}

fn entry(job: &JobRecord) -> Map<String, Json> {
    let s: &JobSummary = &job.summary;
    let outputs = outputs(job);
    let shown = shown(&outputs);
    let error = job.outcome.as_ref().and_then(|o| o.error.as_ref());
    let error: Option<Json> = error.and_then(|e| serde_json::from_str(e.get()).ok());
    let extra: Json = serde_json::from_str(job.body.extra_data.get()).unwrap_or_default();
    let entry = json!({
        "id": s.id,
        "status": word(s.state),
        "create_time": s.created_ms,
        "execution_start_time": s.started_ms,
        "execution_end_time": s.finished_ms,
        "preview_output": shown.first(),
        "outputs_count": shown.len(),
        "previewable_outputs_count": shown.len(),
        "execution_error": error,
        "workflow_id": extra.pointer("/extra_pnginfo/workflow/id"),
        "priority": s.number,
    });
    match entry {
        Json::Object(entry) => entry,
        _ => Map::new(),
    }
}

pub(crate) async fn list(State(app): State<App>, Query(query): Query<HashMap<String, String>>) -> Response {
    let number = |key: &str, default: u64| query.get(key).and_then(|v| v.parse().ok()).unwrap_or(default);
    let (offset, limit) = (number("offset", 0), number("limit", 100).min(1000));
    let states = states(query.get("status"));
    if query.contains_key("status") && states.is_empty() {
        return answer::text(
            StatusCode::BAD_REQUEST,
            "status lists pending, in_progress, completed, failed, cancelled\n",
        );
    }
    // What waits is shown in the order in which it will run, what is over from the newest on.
    let newest_first = states.iter().any(|s| s.is_finished());
    let filter = Filter { states, offset, limit: Some(limit), newest_first };
    // A thousand jobs with the workflows that were drawn for them are megabytes: read and written in one place.
    let listed = app.on_store(move |s| {
        let page = s.list(&filter)?;
        let jobs: Vec<Json> = page.jobs.iter().map(|j| Json::Object(entry(j))).collect();
        let has_more = offset.saturating_add(jobs.len() as u64) < page.total;
        let pagination = json!({"offset": offset, "limit": limit, "total": page.total, "has_more": has_more});
        Ok(answer::json(&json!({"jobs": jobs, "pagination": pagination})))
    });
    listed.await.unwrap_or_else(|response| response)
}

pub(crate) async fn one(State(app): State<App>, Path(id): Path<String>) -> Response {
    let looked = app.on_store(move |s| Ok(s.get(&id)?.map_or_else(missing, |job| whole(&job))));
    looked.await.unwrap_or_else(|response| response)
}

/// A job with its workflow and all that it made.
fn whole(job: &JobRecord) -> Response {
    let mut answered = entry(job);
    let parsed = |text: &str| serde_json::from_str::<Json>(text).unwrap_or_default();
    let outcome = job.outcome.as_ref();
    answered.insert(
        "workflow".into(),
        json!({"prompt": parsed(job.body.prompt.get()), "extra_data": parsed(job.body.extra_data.get())}),
    );
    answered.insert("outputs".into(), Json::Object(outputs(job)));
    answered.insert("update_time".into(), json!(job.summary.finished_ms.or(job.summary.started_ms)));
    answered.insert("execution_status".into(), outcome.map(|o| parsed(o.status.get())).unwrap_or_default());
    answered.insert("execution_meta".into(), outcome.map(|o| parsed(o.meta.get())).unwrap_or_default());
    answer::json(&answered)
}

fn missing() -> Response {
    answer::json_with(StatusCode::NOT_FOUND, &json!({"error": "Job not found"}))
}

/// `POST /jobs/cancel`: `{"job_ids": [...]}`, or one id under the names that are about.
pub(crate) async fn cancel(State(app): State<App>, Forgiving(body): Forgiving) -> Response {
    let lists = ["job_ids", "ids"].into_iter().filter_map(|k| body.get(k)?.as_array()).flatten();
    let single = ["job_id", "id", "prompt_id"].into_iter().filter_map(|k| body.get(k));
    let ids: Vec<String> = lists.chain(single).filter_map(Json::as_str).map(str::to_owned).collect();
    let mut cancelled = Vec::new();
    for id in ids {
        match queue::cancel(&app, id.clone()).await {
            Ok(ebb_queue::Cancelled::AlreadyFinished(_)) => {}
            Ok(_) => cancelled.push(id),
            Err(response) if response.status() == StatusCode::NOT_FOUND => {}
            Err(response) => return response,
        }
    }
    answer::json(&json!({"cancelled": cancelled}))
}

/// `GET /jobs/{id}/assets`: the files that a job made.
pub(crate) async fn assets(State(app): State<App>, Path(id): Path<String>) -> Response {
    match app.on_store(move |s| s.results(&id)).await {
        Ok(results) => {
            let assets: Vec<Json> = results
                .iter()
                .map(|r| {
                    json!({"filename": r.file.filename, "subfolder": r.file.subfolder, "type": r.file.folder,
                           "nodeId": r.file.node_id, "mediaType": r.file.kind, "hash": r.file.sha256,
                           "size": r.file.bytes})
                })
                .collect();
            answer::json(&json!({"assets": assets}))
        }
        Err(response) if response.status() == StatusCode::NOT_FOUND => missing(),
        Err(response) => response.into_response(),
    }
}
