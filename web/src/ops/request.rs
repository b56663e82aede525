//! An id and a line of log a request. The line has method, path, status and time: no query, no body, no token.

use std::time::Instant;

use axum::extract::Request;
use axum::http::HeaderValue;
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument;

const HEADER: &str = "x-request-id";
/// Bytes of an id that a proxy may hand in.
const LONGEST: usize = 64;

/// Takes over the id of a proxy in front, or makes one, and answers with it.
pub(crate) async fn trace(request: Request, next: Next) -> Response {
    let given = request.headers().get(HEADER).and_then(|v| v.to_str().ok());
    let plain = |id: &&str| {
        !id.is_empty()
            && id.len() <= LONGEST
            && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    };
    let id = given.filter(plain).map_or_else(|| uuid::Uuid::new_v4().simple().to_string(), str::to_owned);
    let span = tracing::info_span!("request", id = %id);
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let began = Instant::now();
    async move {
        let mut response = next.run(request).await;
        let ms = began.elapsed().as_millis();
        let status = response.status().as_u16();
        if response.status().is_server_error() {
            tracing::warn!(%method, path, status, ms, "answered");
        } else {
            tracing::debug!(%method, path, status, ms, "answered");
        }
        if let Ok(value) = HeaderValue::from_str(&id) {
            response.headers_mut().insert(HEADER, value);
        }
        response
    }
    .instrument(span)
    .await
}
