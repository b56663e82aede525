//! `GET /v1/models`: the model files by folder, and what each is. Only headers are read.

use std::path::Path;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use ebb_weights::ModelFile as Weights;
use ebb_weights::detect::{self, Inspection};
use serde_json::{Value as Json, json};

use crate::answer::{self, failed};
use crate::app::App;
use crate::comfy::models::files;
use crate::config::ModelFolder;
use crate::files::blocking;

/// Every model file with its family, parts, types and bytes.
#[utoipa::path(get, path = "/v1/models", operation_id = "listModels", responses((status = 200, body = Object, description = "See docs/v1-editor-contract.md")))]
pub(crate) async fn list(State(app): State<App>) -> Response {
    let folders: Vec<ModelFolder> = app
        .config
        .models
        .iter()
        .filter(|f| !matches!(f.name.as_str(), "configs" | "custom_nodes"))
        .cloned()
        .collect();
    let resident: Vec<(String, u64)> = app
        .workshop
        .residency()
        .map(|r| r.residents().iter().map(|r| (r.label.to_string(), r.bytes)).collect())
        .unwrap_or_default();
    match blocking(move || Ok(folders.iter().map(|f| folder(f, &resident)).collect::<Vec<_>>())).await {
        Ok(folders) => answer::json(&json!({"folders": folders})),
        Err(error) => failed(error),
    }
}

fn folder(folder: &ModelFolder, resident: &[(String, u64)]) -> Json {
    let files = files(folder).into_iter().map(|file| {
        let path = folder.paths[file.path_index].join(&file.name);
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a time after 1970 in whole milliseconds"
        )]
        let modified = (file.modified * 1000.0) as u64;
        let mut shown = what_it_is(&path);
        // Weights are called after their file and part.
        let base = file.name.rsplit('/').next().unwrap_or_default();
        let bytes: u64 =
            resident.iter().filter(|(label, _)| label.starts_with(base)).map(|(_, bytes)| bytes).sum();
        shown["name"] = json!(file.name);
        shown["bytes"] = json!(file.size);
        shown["modified"] = json!(modified);
        shown["resident_bytes"] = json!(bytes);
        shown
    });
    json!({"name": folder.name, "files": files.collect::<Vec<_>>()})
}

/// Read off the file's header.
fn what_it_is(path: &Path) -> Json {
    let opened: Result<Arc<Weights>, _> = Weights::open(path);
    match opened.and_then(|file| detect::inspect(&file)) {
        Ok(found) => described(&found),
        Err(error) => json!({"family": null, "parts": [], "dtype": null, "error": error.to_string()}),
    }
}

/// The family is that of the part that says most: the denoiser where there is one.
fn described(found: &Inspection) -> Json {
    let first = found.components.first();
    let parts: Vec<_> = found.components.iter().map(|c| c.part).collect();
    let dtype = found.components.iter().flat_map(|c| &c.dtypes).max_by_key(|(_, bytes)| *bytes);
    json!({
        "family": first.map(|c| c.family.id()),
        "parts": parts,
        "dtype": dtype.map(|(dtype, _)| dtype.to_string().to_lowercase()),
        "error": null,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_read_says_why() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("broken.safetensors"), b"\xff\xff\xff\xff\xff\xff\xff\xff{}").unwrap();
        let shown = folder(&ModelFolder { name: "checkpoints".into(), paths: vec![dir.path().into()] }, &[]);
        let file = &shown["files"][0];
        assert_eq!((file["name"].as_str(), file["bytes"].as_u64()), (Some("broken.safetensors"), Some(10)));
        assert!(file["error"].as_str().is_some_and(|e| !e.is_empty()), "{file}");
        assert!(file["family"].is_null());
    }
}
