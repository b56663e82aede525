//! `/userdata`: whatever a front end keeps for a user: workflows, subgraphs, templates, style sheets.

use std::collections::HashMap;
use std::path::{Path as FilePath, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value as Json, json};

use super::listing::{Entry, walk};
use crate::answer::{self, failed, is_true, text};
use crate::app::App;
use crate::files::{PathError, blocking, names, roots, send, store};
use crate::security::headers::SANDBOX;
use crate::users::UserFolder;

type Words = Query<HashMap<String, String>>;

fn user(app: &App, headers: &HeaderMap) -> Result<UserFolder, Response> {
    app.users.of(headers).map_err(|_| StatusCode::FORBIDDEN.into_response())
}

/// `GET /userdata?dir=D`: names of files below a folder.
pub(crate) async fn list(State(app): State<App>, Query(query): Words, headers: HeaderMap) -> Response {
    let Some(dir) = query.get("dir").filter(|d| !d.is_empty()).cloned() else {
        return text(StatusCode::BAD_REQUEST, "Directory not provided");
    };
    let user = match user(&app, &headers) {
        Ok(user) => user,
        Err(response) => return response,
    };
    let recurse = is_true(query.get("recurse"));
    let found = blocking(move || {
        Ok(match roots::resolve(&user.0, &dir) {
            Ok(folder) if folder.is_dir() => Ok(walk(&folder, recurse, 100_000)?),
            Ok(_) => Err(PathError::Missing),
            Err(error) => Err(error),
        })
    });
    let entries = match found.await {
        Ok(Ok(entries)) => entries,
        Ok(Err(PathError::Missing)) => return text(StatusCode::NOT_FOUND, "Directory not found"),
        Ok(Err(_)) => return text(StatusCode::FORBIDDEN, "Invalid directory"),
        Err(error) => return failed(error),
    };
    let files = entries.iter().filter(|e| !e.is_folder);
    let (full, split) = (is_true(query.get("full_info")), is_true(query.get("split")));
    let answer: Vec<Json> = files
        .map(|e| match (full, split) {
            (true, _) => info(&e.path, e),
            (_, true) => std::iter::once(e.path.as_str()).chain(e.path.split('/')).collect(),
            _ => json!(e.path),
        })
        .collect();
    answer::json(&answer)
}

/// `GET /v2/userdata?path=P`: files and folders below a folder.
pub(crate) async fn list_v2(State(app): State<App>, Query(query): Words, headers: HeaderMap) -> Response {
    let path = query.get("path").cloned().unwrap_or_default();
    let user = match user(&app, &headers) {
        Ok(user) => user,
        Err(response) => return response,
    };
    let base = path.trim_end_matches('/').to_owned();
    let found = blocking(move || {
        Ok(match roots::resolve(&user.0, &path) {
            Ok(folder) if folder.is_dir() => Ok(walk(&folder, true, 100_000)?),
            Ok(folder) if folder.exists() => Err(PathError::Bad),
            Ok(_) => Err(PathError::Missing),
            Err(error) => Err(error),
        })
    });
    let mut entries = match found.await {
        Ok(Ok(entries)) => entries,
        Ok(Err(PathError::Missing)) => return text(StatusCode::NOT_FOUND, "Requested path not found"),
        Ok(Err(PathError::Bad)) => return text(StatusCode::BAD_REQUEST, "Requested path is not a directory"),
        Ok(Err(_)) => return text(StatusCode::BAD_REQUEST, "Invalid path requested"),
        Err(error) => return failed(error),
    };
    entries.sort_by(|a, b| (!a.is_folder, &a.path).cmp(&(!b.is_folder, &b.path)));
    let answer: Vec<Json> = entries
        .iter()
        .map(|e| {
            let path = if base.is_empty() { e.path.clone() } else { format!("{base}/{}", e.path) };
            let name = e.path.rsplit('/').next().unwrap_or(&e.path);
            match e.is_folder {
                true => json!({"name": name, "path": path, "type": "directory"}),
                false => json!({"name": name, "path": path, "type": "file", "size": e.size, "modified": e.modified}),
            }
        })
        .collect();
    answer::json(&answer)
}

pub(crate) async fn read(State(app): State<App>, Path(file): Path<String>, headers: HeaderMap) -> Response {
    let user = match user(&app, &headers) {
        Ok(user) => user,
        Err(response) => return response,
    };
    let asked = file.clone();
    match blocking(move || Ok(roots::open(&user.0, &asked))).await {
        Ok(Ok(opened)) => {
            let mut response = send::send(opened, &file, &headers, send::Trust::Made);
            // A page of a user's own must not run as a page of this server.
            response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(SANDBOX));
            response
        }
        Ok(Err(error)) => status(error).into_response(),
        Err(error) => failed(error),
    }
}

pub(crate) async fn write(
    State(app): State<App>,
    Path(file): Path<String>,
    Query(query): Words,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let full = is_true(query.get("full_info"));
    let overwrite = query.get("overwrite").is_none_or(|o| o != "false");
    let user = match user(&app, &headers) {
        Ok(user) => user,
        Err(response) => return response,
    };
    let name = file.clone();
    let written = blocking(move || {
        let place = match place(&user.0, &name) {
            Ok(place) => place,
            Err(error) => return Ok(Err(error)),
        };
        if overwrite {
            store::replace(&place, &body)?;
        } else if !store::create(&place, &body)? {
            return Ok(Ok(None));
        }
        Ok(Ok(Some(Entry::of(&place)?)))
    });
    answer_written(written.await, &file, full)
}

pub(crate) async fn rename(
    State(app): State<App>,
    Path((file, dest)): Path<(String, String)>,
    Query(query): Words,
    headers: HeaderMap,
) -> Response {
    let full = is_true(query.get("full_info"));
    let overwrite = query.get("overwrite").is_none_or(|o| o != "false");
    let user = match user(&app, &headers) {
        Ok(user) => user,
        Err(response) => return response,
    };
    let name = dest.clone();
    let written = blocking(move || {
        let (from, to) = match (place(&user.0, &file), place(&user.0, &name)) {
            (Ok(from), Ok(to)) => (from, to),
            (Err(error), _) | (_, Err(error)) => return Ok(Err(error)),
        };
        if !from.is_file() {
            return Ok(Err(PathError::Missing));
        }
        if let Some(parent) = to.parent() {
            std::fs::create_dir_all(parent)?;
        }
        if overwrite {
            std::fs::rename(&from, &to)?;
        } else {
            // A second name is only given where there is none; then the first one is taken away.
            match std::fs::hard_link(&from, &to) {
                Ok(()) => std::fs::remove_file(&from)?,
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => return Ok(Ok(None)),
                Err(e) => return Err(e),
            }
        }
        Ok(Ok(Some(Entry::of(&to)?)))
    });
    answer_written(written.await, &dest, full)
}

pub(crate) async fn delete(State(app): State<App>, Path(file): Path<String>, headers: HeaderMap) -> Response {
    let user = match user(&app, &headers) {
        Ok(user) => user,
        Err(response) => return response,
    };
    let removed = blocking(move || {
        Ok(match place(&user.0, &file) {
            Ok(path) if path.is_file() => Ok(std::fs::remove_file(path)?),
            Ok(_) => Err(PathError::Missing),
            Err(error) => Err(error),
        })
    });
    match removed.await {
        Ok(Ok(())) => StatusCode::NO_CONTENT.into_response(),
        Ok(Err(error)) => status(error).into_response(),
        Err(error) => failed(error),
    }
}

/// The place of a file below the user's folder, never the folder itself.
fn place(root: &FilePath, name: &str) -> Result<PathBuf, PathError> {
    if names::relative(name)?.as_os_str().is_empty() {
        return Err(PathError::Bad);
    }
    roots::resolve(root, name)
}

fn answer_written(
    written: std::io::Result<Result<Option<Entry>, PathError>>,
    name: &str,
    full: bool,
) -> Response {
    match written {
        Ok(Ok(Some(entry))) if full => answer::json(&info(name, &entry)),
        Ok(Ok(Some(_))) => answer::json(&name),
        Ok(Ok(None)) => text(StatusCode::CONFLICT, "File already exists"),
        Ok(Err(error)) => status(error).into_response(),
        Err(error) => failed(error),
    }
}

fn status(error: PathError) -> StatusCode {
    error.status()
}

fn info(path: &str, entry: &Entry) -> Json {
    json!({"path": path, "size": entry.size, "modified": entry.modified, "created": entry.created})
}

/// Seconds since 1970, with a fraction.
pub(crate) fn seconds(time: std::io::Result<SystemTime>) -> f64 {
    time.ok().and_then(|t| t.duration_since(UNIX_EPOCH).ok()).map_or(0.0, |d| d.as_secs_f64())
}
