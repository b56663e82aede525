//! Files by their content.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use serde_json::Value as Json;

use super::error::error;
use super::types::ErrorBody;
use crate::app::App;
use crate::files::{blocking, roots, send};
use crate::security::headers::SANDBOX;

/// A file that a job made, by the SHA-256 of its bytes.
#[utoipa::path(
    get, path = "/v1/results/{sha256}", operation_id = "getResult", params(("sha256" = String, Path)),
    responses(
        (status = 200, content_type = "application/octet-stream", body = Vec<u8>, description = "The file"),
        (status = 404, body = ErrorBody, description = "No job made it, or its file is gone or was changed"),
    )
)]
pub(crate) async fn file(State(app): State<App>, Path(sha256): Path<String>, headers: HeaderMap) -> Response {
    let digest = sha256.to_ascii_lowercase();
    let gone =
        || error(StatusCode::NOT_FOUND, "no_such_result", "there is no file of this content", Json::Null);
    let record = match app.on_store(move |s| s.result_by_hash(&digest)).await {
        Ok(Some(record)) => record.file,
        Ok(None) => return gone(),
        Err(response) => return response,
    };
    let Some(root) = app.folder(&record.folder) else { return gone() };
    let path = match record.subfolder.as_str() {
        "" => record.filename.clone(),
        subfolder => format!("{subfolder}/{}", record.filename),
    };
    match blocking(move || Ok(roots::open(&root, &path))).await {
        // Another length is another content: an answer under this name must be what the name says.
        Ok(Ok(file)) if file.metadata().is_ok_and(|m| m.len() == record.bytes) => {
            let mut response = send::send(file, &record.filename, &headers, send::Trust::Made);
            let shown = send::shows(send::mime(&record.filename));
            let set = response.headers_mut();
            set.insert(header::CONTENT_DISPOSITION, send::disposition(&record.filename, shown));
            set.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(SANDBOX));
            response
        }
        _ => gone(),
    }
}
