//! What is held in memory, and by whom. `docs/v1-editor-contract.md` has the shape.

use axum::extract::State;
use axum::response::Response;
use serde_json::{Value as Json, json};

use crate::answer;
use crate::app::App;
use crate::ops::process;
use crate::work::stage::now;

/// What is held now.
#[utoipa::path(get, path = "/v1/memory", operation_id = "getMemory", responses((status = 200, body = Object, description = "See docs/v1-editor-contract.md")))]
pub(crate) async fn look(State(app): State<App>) -> Response {
    let memory = process::memory();
    let Some(residency) = app.workshop.residency() else {
        return answer::json(
            &json!({"now": now(), "budget": null, "rss_anon": memory.rss_anon, "peak": null,
            "owners": [], "samples": [], "markers": [], "residents": []}),
        );
    };
    let owners = residency.ledger().owners();
    let bytes: Vec<u64> = owners.iter().map(|(_, bytes)| *bytes).collect();
    let owners: Vec<Json> = owners
        .iter()
        .map(|(owner, _)| {
            let kind = serde_json::to_value(owner.kind).unwrap_or_default();
            let shown = match kind.as_str() {
                Some("output") => "values",
                Some("cached") => "cache",
                Some("weights") => "weights",
                Some("scratch") => "scratch",
                _ => "other",
            };
            json!({"id": format!("{shown}:{}", owner.name), "kind": shown, "name": owner.name})
        })
        .collect();
    let residents: Vec<Json> = residency
        .residents()
        .iter()
        .map(|r| {
            let state = if r.leases > 0 { "in_use" } else { "evictable" };
            json!({"id": r.key.to_string(), "kind": "weights", "name": r.label, "family": null, "dtype": null, "bytes": r.bytes,
                   "pinned": false, "state": state, "holders": [], "next_use": null})
        })
        .collect();
    answer::json(&json!({
        "now": now(),
        "budget": residency.budget(),
        "rss_anon": memory.rss_anon,
        "peak": residency.ledger().peak(),
        "owners": owners,
        "samples": [{"t": now(), "bytes": bytes, "rss_anon": memory.rss_anon}],
        "markers": [],
        "residents": residents,
    }))
}
