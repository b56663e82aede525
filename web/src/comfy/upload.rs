//! `POST /upload/image` and `/upload/mask`: files into the input, output or temp folder, under names that never
//! overwrite by accident.

use std::path::{Path, PathBuf};

use axum::extract::{FromRequest, Multipart, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value as Json, json};

use super::view::form_status;
use crate::answer::{self, failed};
use crate::app::App;
use crate::files::{PathError, blocking, names, picture, roots, store};

/// What the form held.
#[derive(Default)]
struct Form {
    image: Option<(String, Vec<u8>)>,
    kind: Option<String>,
    subfolder: String,
    overwrite: bool,
    original_ref: Option<String>,
}

pub(crate) async fn image(State(app): State<App>, request: Request) -> Response {
    match read(request).await {
        Ok(form) => save(app, form, false).await,
        Err(response) => response,
    }
}

pub(crate) async fn mask(State(app): State<App>, request: Request) -> Response {
    match read(request).await {
        Ok(form) => save(app, form, true).await,
        Err(response) => response,
    }
}

async fn read(request: Request) -> Result<Form, Response> {
    let mut parts = Multipart::from_request(request, &()).await.map_err(IntoResponse::into_response)?;
    let mut form = Form::default();
    while let Some(part) = parts.next_field().await.map_err(IntoResponse::into_response)? {
        let name = part.name().unwrap_or_default().to_owned();
        let filename = part.file_name().map(str::to_owned);
        let bytes = part.bytes().await.map_err(IntoResponse::into_response)?;
        let text = || String::from_utf8_lossy(&bytes).into_owned();
        match (name.as_str(), filename) {
            ("image", Some(filename)) => form.image = Some((filename, bytes.to_vec())),
            ("type", _) => form.kind = Some(text()),
            ("subfolder", _) => form.subfolder = text(),
            ("overwrite", _) => form.overwrite = matches!(text().as_str(), "true" | "1"),
            ("original_ref", _) => form.original_ref = Some(text()),
            _ => {}
        }
    }
    Ok(form)
}

async fn save(app: App, form: Form, is_mask: bool) -> Response {
    let kind = form.kind.unwrap_or_else(|| "input".to_owned());
    let Some(root) = app.folder(&kind) else { return StatusCode::BAD_REQUEST.into_response() };
    let Some((filename, bytes)) = form.image.filter(|(name, _)| !name.is_empty()) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let original = match form.original_ref.filter(|_| is_mask).map(|r| original(&app, &r)) {
        Some(Some(place)) => Some(place),
        Some(None) => return StatusCode::BAD_REQUEST.into_response(),
        None if is_mask => return StatusCode::BAD_REQUEST.into_response(),
        None => None,
    };
    let limit = app.config.limits.pixels;
    let (subfolder, overwrite) = (form.subfolder, form.overwrite);
    let answered_folder = subfolder.clone();
    let work = move || -> std::io::Result<Result<String, PathError>> {
        if let Err(error) = names::relative(&filename) {
            return Ok(Err(error));
        }
        std::fs::create_dir_all(&root)?;
        let path = match roots::resolve(&root, format!("{subfolder}/{filename}").trim_start_matches('/')) {
            Ok(path) => path,
            Err(error) => return Ok(Err(error)),
        };
        // An absolute subfolder is not made relative by the join above.
        if subfolder.starts_with('/') {
            return Ok(Err(PathError::Outside));
        }
        let bytes = match original {
            None => bytes,
            Some((root, path)) => match merged(&root, &path, &bytes, limit)? {
                Some(merged) => merged,
                // As ComfyUI: nothing is written, and the answer is the same.
                None => return Ok(Ok(filename)),
            },
        };
        if overwrite {
            store::replace(&path, &bytes)?;
            return Ok(Ok(filename));
        }
        place(&path, &filename, &bytes).map(Ok)
    };
    match blocking(work).await {
        Ok(Ok(name)) => answer::json(&json!({"name": name, "subfolder": answered_folder, "type": kind})),
        Ok(Err(error)) => form_status(error).into_response(),
        Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
            answer::text(StatusCode::BAD_REQUEST, format!("{error}\n"))
        }
        Err(error) => failed(error),
    }
}

/// Root and path of the picture that a mask is for; `None` when the reference is not one.
fn original(app: &App, reference: &str) -> Option<(PathBuf, String)> {
    let reference: Json = serde_json::from_str(reference).ok()?;
    let filename = reference.get("filename")?.as_str()?;
    let (filename, annotated) = super::view::split_annotation(filename);
    let kind = annotated.or_else(|| reference.get("type").and_then(Json::as_str)).unwrap_or("output");
    let subfolder = reference.get("subfolder").and_then(Json::as_str).unwrap_or_default();
    if filename.is_empty() || filename.starts_with('/') || subfolder.starts_with('/') {
        return None;
    }
    let path = if subfolder.is_empty() { filename.to_owned() } else { format!("{subfolder}/{filename}") };
    names::relative(&path).ok()?;
    Some((app.folder(kind)?, path))
}

fn merged(root: &Path, path: &str, mask: &[u8], limit: u64) -> std::io::Result<Option<Vec<u8>>> {
    let Ok(mut file) = roots::open(root, path) else { return Ok(None) };
    let mut original = Vec::new();
    std::io::Read::read_to_end(&mut file, &mut original)?;
    let invalid = |e| std::io::Error::new(std::io::ErrorKind::InvalidData, e);
    picture::with_alpha_of(&original, mask, limit).map(Some).map_err(invalid)
}

/// Writes under `filename`, or under `NAME (1).ext`, `NAME (2).ext` … when that is another picture. Equal bytes keep
/// the name they have.
fn place(path: &Path, filename: &str, bytes: &[u8]) -> std::io::Result<String> {
    let folder = path.parent().ok_or(std::io::ErrorKind::InvalidInput)?;
    let prefix = filename.rfind('/').map_or("", |slash| &filename[..=slash]);
    let base = &filename[prefix.len()..];
    let (stem, extension) = match base.rfind('.') {
        Some(dot) if dot > 0 => base.split_at(dot),
        _ => (base, ""),
    };
    for n in 0..u32::MAX {
        let name = if n == 0 { base.to_owned() } else { format!("{stem} ({n}){extension}") };
        let candidate = folder.join(&name);
        if store::create(&candidate, bytes)? || holds(&candidate, bytes) {
            return Ok(format!("{prefix}{name}"));
        }
    }
    Err(std::io::ErrorKind::AlreadyExists.into())
}

fn holds(path: &Path, bytes: &[u8]) -> bool {
    let same_length = std::fs::metadata(path).is_ok_and(|m| m.is_file() && m.len() == bytes.len() as u64);
    same_length && std::fs::read(path).is_ok_and(|there| there == bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_never_overwrite() {
        let folder = tempfile::tempdir().expect("a folder");
        let put = |bytes: &[u8]| place(&folder.path().join("a.b.png"), "a.b.png", bytes).expect("placed");
        assert_eq!(put(b"one"), "a.b.png");
        assert_eq!(put(b"one"), "a.b.png");
        assert_eq!(put(b"two"), "a.b (1).png");
        assert_eq!(put(b"three"), "a.b (2).png");
        assert_eq!(put(b"two"), "a.b (1).png");
        assert_eq!(std::fs::read(folder.path().join("a.b.png")).expect("a file"), b"one");
    }

    #[test]
    fn two_uploads_at_once_get_two_names() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut taken: Vec<String> = std::thread::scope(|scope| {
            let tasks: Vec<_> = (0..8u8)
                .map(|i| {
                    scope.spawn({
                        let path = folder.path().join("x.png");
                        move || place(&path, "x.png", &[i; 64]).expect("placed")
                    })
                })
                .collect();
            tasks.into_iter().map(|t| t.join().expect("no panic")).collect()
        });
        taken.sort();
        taken.dedup();
        assert_eq!(taken.len(), 8);
    }
}
