//! What is held in memory over time, by whom and until when; giving it back and keeping it.
//! `docs/v1-editor-contract.md` has the shapes.

use std::collections::HashMap;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use ebb_engine::residency::{
    self, CachedOutput, EvictError, Holder, Item, Residency, Resident, ResidentState, Upcoming,
};
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::error::error;
use super::jobs::parsed;
use super::types::ErrorBody;
use crate::answer::{self, Lenient};
use crate::app::App;
use crate::ops::process;
use crate::work::stage::now;

/// Cached outputs that are listed, the largest first; the rest is in the time line's sum.
const LISTED: usize = 24;

/// What is held now, and was held since a moment.
#[utoipa::path(
    get, path = "/v1/memory", operation_id = "getMemory",
    params(("since" = Option<u64>, Query, description = "Leaves out samples and marks at or before that moment")),
    responses((status = 200, body = Object, description = "See docs/v1-editor-contract.md"))
)]
pub(crate) async fn look(State(app): State<App>, Query(query): Query<HashMap<String, String>>) -> Response {
    let Some(residency) = app.workshop.residency() else {
        return answer::json(
            &json!({"now": now(), "budget": null, "rss_anon": process::memory().rss_anon, "vm_hwm": null, "peak": null,
            "owners": [], "samples": [], "markers": [], "residents": []}),
        );
    };
    residency.sample();
    let since = query.get("since").and_then(|since| since.parse().ok());
    let mut body = serde_json::to_value(residency.timeline().since(since)).unwrap_or_default();
    body["now"] = json!(now());
    body["budget"] = json!(residency.budget());
    let (rss_anon, vm_hwm) = residency::resident();
    body["rss_anon"] = json!(rss_anon.unwrap_or(0));
    body["vm_hwm"] = json!(vm_hwm);
    body["peak"] = json!(residency.ledger().peak());
    body["residents"] = Json::Array(residents(&residency));
    answer::json(&body)
}

fn residents(residency: &Residency) -> Vec<Json> {
    let weights = residency.residents();
    let mut outputs = residency.cached();
    outputs.sort_by_key(|output| std::cmp::Reverse(output.bytes));
    weights.iter().map(weights_json).chain(outputs.iter().take(LISTED).map(output_json)).collect()
}

fn weights_json(resident: &Resident) -> Json {
    let state = match resident.state {
        ResidentState::Loading => "loading",
        ResidentState::InUse => "in_use",
        ResidentState::Evictable => "evictable",
    };
    let holder = |Holder { node, job }: &Holder| json!({"node": node.id.as_str(), "class_type": node.class, "prompt_id": job});
    let next = |Upcoming { job, step, node }: &Upcoming| json!({"step": step, "node": node.as_ref().map(|node| node.id.as_str()), "prompt_id": job});
    json!({
        "id": resident.key.to_string(), "kind": "weights", "name": resident.label, "family": null, "dtype": null,
        "bytes": resident.bytes, "pinned": resident.pinned, "state": state,
        "holders": resident.holders.iter().map(holder).collect::<Vec<_>>(),
        "next_use": resident.next_use.as_ref().map(next),
    })
}

fn output_json(output: &CachedOutput) -> Json {
    json!({
        "id": Item::Output(output.signature).to_string(), "kind": "cache", "name": output.label, "family": null,
        "dtype": null, "bytes": output.bytes, "pinned": false,
        "state": if output.idle > 0 { "evictable" } else { "in_use" }, "holders": [], "next_use": null,
    })
}

/// What to give back.
#[derive(Deserialize)]
struct Evict {
    id: String,
}

/// What to keep, or not to keep any more.
#[derive(Deserialize)]
struct Pin {
    id: String,
    pinned: bool,
}

/// Gives back weights or cached outputs.
#[utoipa::path(post, path = "/v1/memory/evict", operation_id = "evictMemory", request_body = Object, responses(
    (status = 200, body = Object, description = "`{\"freed\": bytes}`"),
    (status = 404, body = ErrorBody, description = "Nothing of that id is in memory"),
    (status = 409, body = ErrorBody, description = "It is in use, or pinned"),
))]
pub(crate) async fn evict(State(app): State<App>, Lenient(body): Lenient) -> Response {
    let Evict { id } = match parsed(body) {
        Ok(evict) => evict,
        Err(response) => return response,
    };
    let Some(residency) = app.workshop.residency() else { return refused(&EvictError::Unknown(id)) };
    // Giving pages back to the system takes a while.
    match tokio::task::spawn_blocking(move || residency.evict(&id)).await {
        Ok(Ok(freed)) => answer::json(&json!({"freed": freed})),
        Ok(Err(reason)) => refused(&reason),
        Err(panic) => answer::failed(panic),
    }
}

/// Keeps weights in memory whatever happens, or no longer.
#[utoipa::path(post, path = "/v1/memory/pin", operation_id = "pinMemory", request_body = Object, responses(
    (status = 200, body = Object, description = "`{\"pinned\": bool}`"),
    (status = 404, body = ErrorBody, description = "Nothing of that id is in memory"),
    (status = 409, body = ErrorBody, description = "It is no weights"),
))]
pub(crate) async fn pin(State(app): State<App>, Lenient(body): Lenient) -> Response {
    let Pin { id, pinned } = match parsed(body) {
        Ok(pin) => pin,
        Err(response) => return response,
    };
    let Some(residency) = app.workshop.residency() else { return refused(&EvictError::Unknown(id)) };
    match residency.pin(&id, pinned) {
        Ok(pinned) => answer::json(&json!({"pinned": pinned})),
        Err(reason) => refused(&reason),
    }
}

fn refused(reason: &EvictError) -> Response {
    let (status, code) = match reason {
        EvictError::Unknown(_) => (StatusCode::NOT_FOUND, "not_in_memory"),
        EvictError::InUse { .. } => (StatusCode::CONFLICT, "in_use"),
        EvictError::Pinned(_) => (StatusCode::CONFLICT, "pinned"),
        EvictError::NotWeights(_) => (StatusCode::CONFLICT, "not_weights"),
    };
    error(status, code, reason.to_string(), Json::Null)
}
