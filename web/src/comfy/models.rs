//! `/models`, `/embeddings`, `/experiment/models`, `/view_metadata`: what model files there are.
//!
//! The lists are those of [`ModelFolders`], so what they show is what a workflow may name.

use std::collections::HashMap;
use std::io::Read;
use std::path::Path as FilePath;

use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ebb_weights::{Metadata, ModelFolders, open_beneath};
use serde_json::{Value as Json, json};

use crate::answer::{self, failed};
use crate::app::App;
use crate::files::picture::{self, Channel, Preview};
use crate::files::{blocking, names};

/// The metadata of a safetensors file that holds its pictures: a list of texts in base64.
const COVERS: &str = "ssmd_cover_images";

/// Whether what a kind of folder holds is something else than models.
pub(crate) fn is_no_model(kind: &str) -> bool {
    matches!(kind, "configs" | "custom_nodes")
}

pub(crate) async fn folders(State(app): State<App>) -> Response {
    answer::json(&app.config.models.kinds().collect::<Vec<_>>())
}

pub(crate) async fn in_folder(State(app): State<App>, Path(kind): Path<String>) -> Response {
    let models = app.config.models.clone();
    if !models.has_kind(&kind) {
        return StatusCode::NOT_FOUND.into_response();
    }
    match blocking(move || Ok(models.list(&kind))).await {
        Ok(names) => answer::json(&names),
        Err(error) => failed(error),
    }
}

pub(crate) async fn embeddings(State(app): State<App>) -> Response {
    let models = app.config.models.clone();
    match blocking(move || Ok(models.list("embeddings"))).await {
        Ok(names) => {
            let stems =
                names.iter().map(|name| name.rsplit_once('.').map_or(name.as_str(), |(stem, _)| stem));
            answer::json(&stems.collect::<Vec<_>>())
        }
        Err(error) => failed(error),
    }
}

pub(crate) async fn experiment_folders(State(app): State<App>) -> Response {
    let models = &app.config.models;
    let shown = models.kinds().filter(|kind| !is_no_model(kind));
    answer::json(&shown.map(|kind| json!({"name": kind, "folders": models.roots(kind)})).collect::<Vec<_>>())
}

pub(crate) async fn experiment_folder(State(app): State<App>, Path(kind): Path<String>) -> Response {
    let models = app.config.models.clone();
    if !models.has_kind(&kind) {
        return StatusCode::NOT_FOUND.into_response();
    }
    match blocking(move || Ok(models.entries(&kind))).await {
        Ok(entries) => answer::json(
            &entries
                .iter()
                .map(|e| {
                    json!({"name": e.name, "pathIndex": e.root, "modified": e.modified,
                           "created": e.created.unwrap_or(e.modified), "size": e.bytes})
                })
                .collect::<Vec<Json>>(),
        ),
        Err(error) => failed(error),
    }
}

/// A picture beside a model file (`NAME.png`, `NAME.preview.png`) or inside it, as WebP.
pub(crate) async fn preview(
    State(app): State<App>,
    Path((kind, index, file)): Path<(String, usize, String)>,
) -> Response {
    let models = app.config.models.clone();
    let Some(root) = models.roots(&kind).get(index).cloned() else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let limit = app.config.limits.pixels;
    let drawn = blocking(move || {
        let Ok(inside) = names::relative(&file) else { return Ok(None) };
        let decoded = beside(&root, &inside)
            .chain(covers(&models, &kind, &file))
            .find_map(|bytes| picture::decode(&bytes, limit).ok());
        let webp = Preview { jpeg: false, quality: 90 };
        Ok(decoded.and_then(|decoded| picture::preview(&decoded, webp, Channel::Rgba).ok()))
    });
    match drawn.await {
        Ok(Some(bytes)) => ([(header::CONTENT_TYPE, "image/webp")], bytes).into_response(),
        Ok(None) => StatusCode::NOT_FOUND.into_response(),
        Err(error) => failed(error),
    }
}

/// The picture files that are called after a model file.
fn beside(root: &FilePath, file: &FilePath) -> impl Iterator<Item = Vec<u8>> {
    let endings = ["preview.png", "png", "jpg", "jpeg", "webp", "preview.jpg", "preview.webp"];
    endings.into_iter().filter_map(|ending| {
        let mut bytes = Vec::new();
        open_beneath(root, &file.with_extension(ending)).ok()?.read_to_end(&mut bytes).ok()?;
        Some(bytes)
    })
}

/// The pictures that a model file carries.
fn covers(models: &ModelFolders, kind: &str, name: &str) -> impl Iterator<Item = Vec<u8>> {
    let text = metadata_of(models, kind, name).and_then(|mut metadata| metadata.remove(COVERS));
    let covers: Vec<String> = text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    covers.into_iter().filter_map(|cover| BASE64.decode(cover).ok())
}

/// `GET /view_metadata/{folder}?filename=`: the `__metadata__` of a safetensors header.
pub(crate) async fn metadata(
    State(app): State<App>,
    Path(kind): Path<String>,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    let Some(name) = query.get("filename").cloned() else { return StatusCode::NOT_FOUND.into_response() };
    let models = app.config.models.clone();
    match blocking(move || Ok(metadata_of(&models, &kind, &name))).await {
        Ok(Some(metadata)) if !metadata.is_empty() => answer::json(&metadata),
        Ok(_) => StatusCode::NOT_FOUND.into_response(),
        Err(error) => failed(error),
    }
}

fn metadata_of(models: &ModelFolders, kind: &str, name: &str) -> Option<Metadata> {
    name.ends_with(".safetensors").then(|| models.open(kind, name).ok())?.map(|file| file.metadata().clone())
}
