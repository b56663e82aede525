//! `GET /health`: whether the process lives, its queue can be read and its jobs are run. Open without a token, so it tells nothing else.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use crate::answer;
use crate::app::App;
use crate::files::blocking;

pub(crate) async fn health(State(app): State<App>) -> Response {
    let store = app.store.clone();
    let read = blocking(move || store.counts().map_err(std::io::Error::other)).await;
    match read {
        Ok(_) if app.stopping.is_cancelled() => {
            answer::json_with(StatusCode::SERVICE_UNAVAILABLE, &json!({"status": "stopping"}))
        }
        Ok(_) if !app.dispatcher.is_alive() => {
            answer::json_with(StatusCode::SERVICE_UNAVAILABLE, &json!({"status": "jobs are not run"}))
        }
        Ok(_) => answer::json(&json!({"status": "ok"})),
        Err(error) => {
            tracing::error!(%error, "the queue cannot be read");
            answer::json_with(StatusCode::SERVICE_UNAVAILABLE, &json!({"status": "queue unreadable"}))
        }
    }
}
