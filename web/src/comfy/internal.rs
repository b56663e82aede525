//! `/internal`: the log, and what is in the folders.

use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, Value as Json, json};

use super::listing::walk;
use crate::answer::{self, Lenient, done, failed};
use crate::app::App;
use crate::files::blocking;
use crate::ws::frames;

/// The log as one text.
pub(crate) async fn logs(State(app): State<App>) -> Response {
    let entries = serde_json::to_value(app.logs.entries()).unwrap_or_default();
    let lines = entries.as_array().into_iter().flatten();
    let text: String = lines
        .map(|e| format!("{} - {}", e["t"].as_str().unwrap_or_default(), e["m"].as_str().unwrap_or_default()))
        .collect();
    answer::json(&text)
}

fn size() -> Json {
    json!({"cols": 120, "rows": 40})
}

/// The log as entries.
pub(crate) async fn raw_logs(State(app): State<App>) -> Response {
    answer::json(&json!({"entries": app.logs.entries(), "size": size()}))
}

/// `{"clientId", "enabled"}`: log frames on that client's websocket.
pub(crate) async fn subscribe(State(app): State<App>, Lenient(body): Lenient) -> Response {
    let client = body.get("clientId").and_then(Json::as_str).unwrap_or_default();
    let enabled = body.get("enabled").and_then(Json::as_bool).unwrap_or(false);
    app.hub.subscribe_logs(client, enabled);
    done()
}

/// Sends new lines to those who read them, until the server stops.
pub(crate) async fn send_logs(app: App) {
    let mut seen = 0;
    loop {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(500)) => {}
            () = app.stopping.cancelled() => return,
        }
        let (entries, written) = app.logs.since(seen);
        seen = written;
        if !entries.is_empty() && app.hub.has_log_readers() {
            app.hub.send_logs(&frames::text("logs", &json!({"entries": entries, "size": size()})));
        }
    }
}

pub(crate) async fn folder_paths(State(app): State<App>) -> Response {
    let folders: Map<String, Json> = app
        .config
        .models
        .kinds()
        .map(|kind| (kind.to_owned(), json!(app.config.models.roots(kind))))
        .collect();
    answer::json(&folders)
}

/// Names of files in a folder, newest first.
pub(crate) async fn files(State(app): State<App>, Path(kind): Path<String>) -> Response {
    let Some(root) = app.folder(&kind) else {
        return answer::json_with(StatusCode::BAD_REQUEST, &json!({"error": "Invalid directory type"}));
    };
    let listed = blocking(move || if root.is_dir() { walk(&root, false, 100_000) } else { Ok(Vec::new()) });
    match listed.await {
        Ok(mut entries) => {
            entries.retain(|e| !e.is_folder);
            entries.sort_by(|a, b| b.modified.total_cmp(&a.modified));
            answer::json(&entries.iter().map(|e| e.path.as_str()).collect::<Vec<_>>())
        }
        Err(error) => failed(error),
    }
}
