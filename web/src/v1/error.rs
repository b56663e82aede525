//! The one shape of errors: `{"error": {"code", "message", "details"}}`.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use ebb_queue::QueueError;
use serde_json::{Value as Json, json};

use crate::answer;

/// An error with a code that stays the same when its text changes.
pub(crate) fn error(status: StatusCode, code: &str, message: impl Into<String>, details: Json) -> Response {
    let body = json!({"error": {"code": code, "message": message.into(), "details": details}});
    answer::json_with(status, &body)
}

/// `/v1/...` that no route has.
pub(crate) async fn no_route() -> Response {
    error(
        StatusCode::NOT_FOUND,
        "no_such_route",
        "there is no such route; /v1/openapi.json lists them",
        Json::Null,
    )
}

/// What the queue refused.
pub(crate) fn from_queue(failure: &QueueError) -> Response {
    let status = match failure {
        QueueError::NotFound { .. } => StatusCode::NOT_FOUND,
        QueueError::Duplicate { .. }
        | QueueError::KeyReused { .. }
        | QueueError::Transition { .. }
        | QueueError::NotQueued { .. } => StatusCode::CONFLICT,
        QueueError::Full { .. } => StatusCode::TOO_MANY_REQUESTS,
        QueueError::Closed => StatusCode::SERVICE_UNAVAILABLE,
        QueueError::DiskFull => StatusCode::INSUFFICIENT_STORAGE,
        QueueError::Storage { .. }
        | QueueError::File { .. }
        | QueueError::InUse { .. }
        | QueueError::TooNew { .. }
        | QueueError::Corrupt { .. } => StatusCode::INTERNAL_SERVER_ERROR,
    };
    if status.is_server_error() {
        tracing::error!(error = %failure, "the job store failed");
    }
    // ComfyUI's clients look for `type` and `node_errors`; both kinds of reader find what they know.
    let message = failure.to_string();
    let body = json!({
        "error": {"code": failure.code(), "type": failure.code(), "message": message, "details": "", "extra_info": {}},
        "node_errors": {},
    });
    let response = answer::json_with(status, &body);
    if status == StatusCode::TOO_MANY_REQUESTS {
        return ([(header::RETRY_AFTER, "5")], response).into_response();
    }
    response
}
