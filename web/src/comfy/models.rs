//! `/models`, `/embeddings`, `/experiment/models`, `/view_metadata`: what model files there are.
//!
//! Model folders are made of links on many machines (a shared disk, a download cache), so here links to files are
//! followed. What a request names must be one of the files that the list shows.

use std::collections::HashMap;
use std::io::Read;
use std::path::Path as FilePath;

use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value as Json, json};

use super::userdata::seconds;
use crate::answer::{self, failed};
use crate::app::App;
use crate::config::ModelFolder;
use crate::files::picture::{self, Channel, Preview};
use crate::files::{blocking, names};

/// Endings of files that hold weights.
const WEIGHTS: [&str; 8] = ["safetensors", "ckpt", "pt", "pt2", "bin", "pth", "sft", "gguf"];
/// Longest header of a safetensors file that is read.
const HEADER_CAP: u64 = 100 << 20;

/// A model file as the lists show it.
pub(crate) struct ModelFile {
    /// Relative to its folder.
    pub(crate) name: String,
    /// Which of the folder's paths holds it.
    pub(crate) path_index: usize,
    pub(crate) size: u64,
    pub(crate) modified: f64,
    pub(crate) created: f64,
}

/// Files of a folder, the first of each name, in the order of names.
pub(crate) fn files(folder: &ModelFolder) -> Vec<ModelFile> {
    let mut found: Vec<ModelFile> = Vec::new();
    for (path_index, root) in folder.paths.iter().enumerate() {
        collect(root, "", &folder.name, path_index, 0, &mut found);
    }
    found.sort_by(|a, b| a.name.cmp(&b.name).then(a.path_index.cmp(&b.path_index)));
    found.dedup_by(|b, a| a.name == b.name);
    found
}

fn collect(
    folder: &FilePath,
    prefix: &str,
    kind: &str,
    path_index: usize,
    depth: u32,
    found: &mut Vec<ModelFile>,
) {
    // Links may go round in a circle.
    if depth > 16 {
        return;
    }
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        let Ok(meta) = std::fs::metadata(entry.path()) else { continue };
        if name.starts_with('.') {
            continue;
        }
        let name = format!("{prefix}{name}");
        if meta.is_dir() {
            collect(&entry.path(), &format!("{name}/"), kind, path_index, depth + 1, found);
        } else if meta.is_file() && belongs(&name, kind) {
            let modified = seconds(meta.modified());
            let created = meta.created().map_or(modified, |c| seconds(Ok(c)));
            found.push(ModelFile { name, path_index, size: meta.len(), modified, created });
        }
    }
}

fn belongs(name: &str, kind: &str) -> bool {
    let extension =
        FilePath::new(name).extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
    match kind {
        "configs" => extension == "yaml",
        "custom_nodes" => false,
        _ => WEIGHTS.contains(&extension.as_str()),
    }
}

fn folder<'a>(app: &'a App, name: &str) -> Option<&'a ModelFolder> {
    app.config.models.iter().find(|f| f.name == name)
}

pub(crate) async fn folders(State(app): State<App>) -> Response {
    answer::json(&app.config.models.iter().map(|f| f.name.as_str()).collect::<Vec<_>>())
}

pub(crate) async fn in_folder(State(app): State<App>, Path(name): Path<String>) -> Response {
    let Some(folder) = folder(&app, &name).cloned() else { return StatusCode::NOT_FOUND.into_response() };
    match blocking(move || Ok(files(&folder))).await {
        Ok(files) => answer::json(&files.iter().map(|f| f.name.as_str()).collect::<Vec<_>>()),
        Err(error) => failed(error),
    }
}

pub(crate) async fn embeddings(State(app): State<App>) -> Response {
    let Some(folder) = folder(&app, "embeddings").cloned() else { return answer::json(&json!([])) };
    match blocking(move || Ok(files(&folder))).await {
        Ok(files) => answer::json(
            &files
                .iter()
                .map(|f| f.name.rsplit_once('.').map_or(f.name.as_str(), |(stem, _)| stem))
                .collect::<Vec<_>>(),
        ),
        Err(error) => failed(error),
    }
}

pub(crate) async fn experiment_folders(State(app): State<App>) -> Response {
    let shown = app.config.models.iter().filter(|f| !matches!(f.name.as_str(), "configs" | "custom_nodes"));
    answer::json(&shown.map(|f| json!({"name": f.name, "folders": f.paths})).collect::<Vec<_>>())
}

pub(crate) async fn experiment_folder(State(app): State<App>, Path(name): Path<String>) -> Response {
    let Some(folder) = folder(&app, &name).cloned() else { return StatusCode::NOT_FOUND.into_response() };
    let listed = blocking(move || Ok(files(&folder))).await;
    match listed {
        Ok(files) => answer::json(
            &files
                .iter()
                .map(|f| {
                    json!({"name": f.name, "pathIndex": f.path_index, "modified": f.modified, "created": f.created,
                           "size": f.size})
                })
                .collect::<Vec<Json>>(),
        ),
        Err(error) => failed(error),
    }
}

/// A picture beside a model file (`NAME.png`, `NAME.preview.png`), as WebP.
pub(crate) async fn preview(
    State(app): State<App>,
    Path((name, index, file)): Path<(String, usize, String)>,
) -> Response {
    let Some(root) = folder(&app, &name).and_then(|f| f.paths.get(index)).cloned() else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let limit = app.config.limits.pixels;
    let drawn = blocking(move || {
        let Ok(inside) = names::relative(&file) else { return Ok(None) };
        let stem = root.join(inside).with_extension("");
        for ending in ["preview.png", "png", "jpg", "jpeg", "webp", "preview.jpg", "preview.webp"] {
            let beside = std::path::PathBuf::from(format!("{}.{ending}", stem.display()));
            let Ok(bytes) = std::fs::read(beside) else { continue };
            let Ok(decoded) = picture::decode(&bytes, limit) else { continue };
            return Ok(picture::preview(&decoded, Preview { jpeg: false, quality: 90 }, Channel::Rgba).ok());
        }
        Ok(None)
    });
    match drawn.await {
        Ok(Some(bytes)) => ([(header::CONTENT_TYPE, "image/webp")], bytes).into_response(),
        Ok(None) => StatusCode::NOT_FOUND.into_response(),
        Err(error) => failed(error),
    }
}

/// `GET /view_metadata/{folder}?filename=`: the `__metadata__` of a safetensors header.
pub(crate) async fn metadata(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    let Some(filename) = query.get("filename").filter(|f| f.ends_with(".safetensors")).cloned() else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let Some(folder) = folder(&app, &name).cloned() else { return StatusCode::NOT_FOUND.into_response() };
    let found = blocking(move || {
        let Some(file) = files(&folder).into_iter().find(|f| f.name == filename) else { return Ok(None) };
        Ok(folder.paths.get(file.path_index).and_then(|root| header(&root.join(&file.name))))
    });
    match found.await {
        Ok(Some(metadata)) => answer::json(&metadata),
        Ok(None) => StatusCode::NOT_FOUND.into_response(),
        Err(error) => failed(error),
    }
}

fn header(path: &FilePath) -> Option<Json> {
    let mut file = std::fs::File::open(path).ok()?;
    let mut length = [0; 8];
    file.read_exact(&mut length).ok()?;
    let length = u64::from_le_bytes(length);
    if length > HEADER_CAP || length > file.metadata().ok()?.len() {
        return None;
    }
    let mut text = Vec::new();
    file.take(length).read_to_end(&mut text).ok()?;
    let mut header: Json = serde_json::from_slice(&text).ok()?;
    match header.get_mut("__metadata__")?.take() {
        Json::Object(metadata) if !metadata.is_empty() => Some(Json::Object(metadata)),
        _ => None,
    }
}
