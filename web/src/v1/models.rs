//! `GET /v1/models`: the model files by folder, and what each is. Only headers are read.

use axum::extract::State;
use axum::response::Response;
use ebb_weights::ModelFolders;
use ebb_weights::detect::{self, Inspection};
use serde_json::{Value as Json, json};

use crate::answer::{self, failed};
use crate::app::App;
use crate::files::blocking;

/// Every model file with its family, parts, types and bytes.
#[utoipa::path(get, path = "/v1/models", operation_id = "listModels", responses((status = 200, body = Object, description = "See docs/v1-editor-contract.md")))]
pub(crate) async fn list(State(app): State<App>) -> Response {
    let models = app.config.models.clone();
    let resident: Vec<(String, u64)> = app
        .workshop
        .residency()
        .map(|r| r.residents().iter().map(|r| (r.label.to_string(), r.bytes)).collect())
        .unwrap_or_default();
    let all = move || {
        let kinds = models.kinds().filter(|kind| !crate::comfy::models::is_no_model(kind));
        Ok(kinds.map(|kind| folder(&models, kind, &resident)).collect::<Vec<_>>())
    };
    match blocking(all).await {
        Ok(folders) => answer::json(&json!({"folders": folders})),
        Err(error) => failed(error),
    }
}

fn folder(models: &ModelFolders, kind: &str, resident: &[(String, u64)]) -> Json {
    let files = models.entries(kind).into_iter().map(|file| {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a time after 1970 in whole milliseconds"
        )]
        let modified = (file.modified * 1000.0) as u64;
        let mut shown = what_it_is(models, kind, &file.name);
        // Weights are called after their file and part.
        let base = file.name.rsplit('/').next().unwrap_or_default();
        let bytes: u64 =
            resident.iter().filter(|(label, _)| label.starts_with(base)).map(|(_, bytes)| bytes).sum();
        shown["name"] = json!(file.name);
        shown["bytes"] = json!(file.bytes);
        shown["modified"] = json!(modified);
        shown["resident_bytes"] = json!(bytes);
        shown
    });
    json!({"name": kind, "files": files.collect::<Vec<_>>()})
}

/// Read off the file's header; of a model in several files, off its denoiser's.
fn what_it_is(models: &ModelFolders, kind: &str, name: &str) -> Json {
    let opened = if kind == "diffusers" {
        let parts = ["unet", "transformer"].into_iter().map(|part| models.open_part(name, part));
        parts.collect::<Result<Vec<_>, _>>().map(|files| files.into_iter().flatten().next())
    } else {
        models.open(kind, name).map(Some)
    };
    let unknown = |error: Option<String>| json!({"family": null, "parts": [], "dtype": null, "error": error});
    match opened.and_then(|file| file.map(|file| detect::inspect(&file)).transpose()) {
        Ok(Some(found)) => described(&found),
        Ok(None) => unknown(Some("it has no unet and no transformer".to_owned())),
        Err(error) => unknown(Some(error.to_string())),
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
        std::fs::create_dir(dir.path().join("checkpoints")).unwrap();
        let file = dir.path().join("checkpoints/broken.safetensors");
        std::fs::write(file, b"\xff\xff\xff\xff\xff\xff\xff\xff{}").unwrap();
        let shown = folder(&ModelFolders::under(dir.path()), "checkpoints", &[]);
        let file = &shown["files"][0];
        assert_eq!((file["name"].as_str(), file["bytes"].as_u64()), (Some("broken.safetensors"), Some(10)));
        assert!(file["error"].as_str().is_some_and(|e| !e.is_empty()), "{file}");
        assert!(file["family"].is_null());
    }
}
