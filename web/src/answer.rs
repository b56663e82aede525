//! Answers that every route shares.

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value as Json, json};

use crate::files::PathError;

/// JSON with the charset that ComfyUI names.
pub(crate) fn json(value: &impl Serialize) -> Response {
    json_with(StatusCode::OK, value)
}

/// JSON with a status.
pub(crate) fn json_with(status: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => (status, [(header::CONTENT_TYPE, "application/json; charset=utf-8")], Body::from(body))
            .into_response(),
        Err(error) => {
            tracing::error!(%error, "an answer could not be written as JSON");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// A status with a line of text.
pub(crate) fn text(status: StatusCode, body: impl Into<String>) -> Response {
    (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], body.into()).into_response()
}

/// 200 and nothing else: what ComfyUI's POST routes answer.
pub(crate) fn done() -> Response {
    StatusCode::OK.into_response()
}

/// Bytes of JSON that are read where they arrive; more takes longer than others should wait.
const QUICK: usize = 64 << 10;

/// A body read as JSON whatever its `Content-Type` says: widely used clients send a form type or none.
pub(crate) struct Lenient(pub(crate) Json);

impl<S: Send + Sync> FromRequest<S> for Lenient {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let body = Bytes::from_request(request, state).await.map_err(IntoResponse::into_response)?;
        if body.len() <= QUICK {
            return parse(&body).map(Self);
        }
        tokio::task::spawn_blocking(move || parse(&body))
            .await
            .unwrap_or_else(|panic| Err(failed(panic)))
            .map(Self)
    }
}

/// A body that may be empty or no JSON at all, taken as `{}` then.
pub(crate) struct Forgiving(pub(crate) Json);

impl<S: Send + Sync> FromRequest<S> for Forgiving {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let body = Bytes::from_request(request, state).await.map_err(IntoResponse::into_response)?;
        Ok(Self(serde_json::from_slice(&body).unwrap_or_else(|_| json!({}))))
    }
}

/// JSON from a body, or the 400 that says what is wrong with it. Nesting beyond 128 is refused by the parser.
pub(crate) fn parse(body: &[u8]) -> Result<Json, Response> {
    serde_json::from_slice(body).map_err(|e| {
        let error = json!({"type": "invalid_json", "message": "The request's body is not JSON",
                           "details": e.to_string(), "extra_info": {}});
        json_with(StatusCode::BAD_REQUEST, &json!({"error": error, "node_errors": {}}))
    })
}

impl PathError {
    /// The status that the file routes answer.
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::Bad => StatusCode::BAD_REQUEST,
            Self::Outside => StatusCode::FORBIDDEN,
            Self::Missing => StatusCode::NOT_FOUND,
            Self::Failed => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// The answer for work that could not be done; the cause goes to the log.
pub(crate) fn failed(error: impl std::fmt::Display) -> Response {
    tracing::error!(%error, "a request failed");
    text(StatusCode::INTERNAL_SERVER_ERROR, "the server could not do this; its log says why\n")
}

/// `true`, `1` and nothing else is yes, as ComfyUI's routes read it.
pub(crate) fn is_true(word: Option<&String>) -> bool {
    word.is_some_and(|w| w.eq_ignore_ascii_case("true") || w == "1")
}
