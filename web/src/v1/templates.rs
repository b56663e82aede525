//! `GET /v1/templates`: the example workflows that come with Ebb.

use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use ebb_weights::ModelFolders;
use serde_json::{Value as Json, json};

use super::error::error;
use crate::answer::{self, failed};
use crate::app::App;
use crate::files::blocking;

struct Template {
    name: &'static str,
    workflow: &'static str,
    /// A PNG.
    thumbnail: Option<&'static [u8]>,
}

mod built {
    use super::Template;
    include!(concat!(env!("OUT_DIR"), "/templates.rs"));
}

/// Titles, descriptions and categories by name.
static WORDS: &str = include_str!("../../templates/words.json");

/// All templates, and whether the models of each are there.
#[utoipa::path(get, path = "/v1/templates", operation_id = "listTemplates", responses((status = 200, body = Object, description = "See docs/v1-editor-contract.md")))]
pub(crate) async fn list(State(app): State<App>) -> Response {
    let folders = app.config.models.clone();
    match blocking(move || Ok(all(&folders))).await {
        Ok(all) => answer::json(&all),
        Err(error) => failed(error),
    }
}

fn all(folders: &ModelFolders) -> Vec<Json> {
    let there: Vec<String> = folders.kinds().flat_map(|kind| folders.list(kind)).collect();
    let words: Json = serde_json::from_str(WORDS).unwrap_or_default();
    built::TEMPLATES
        .iter()
        .map(|t| {
            let models = models(t.workflow);
            let ready = models.iter().all(|name| there.contains(name));
            let said = &words[t.name];
            json!({
                "name": t.name,
                "title": said["title"].as_str().unwrap_or(t.name),
                "description": said["description"].as_str().unwrap_or_default(),
                "category": said["category"].as_str().unwrap_or_default(),
                "thumbnail": t.thumbnail.map(|_| format!("/v1/templates/{}.png", t.name)),
                "url": format!("/v1/templates/{}.json", t.name),
                "models": models,
                "ready": ready,
            })
        })
        .collect()
}

/// Names of weight files among the values of a workflow.
fn models(workflow: &str) -> Vec<String> {
    let workflow: Json = serde_json::from_str(workflow).unwrap_or_default();
    let nodes = workflow.as_object().into_iter().flat_map(|nodes| nodes.values());
    let values = nodes.flat_map(|n| n["inputs"].as_object().into_iter().flat_map(|i| i.values()));
    let mut names: Vec<String> = values
        .filter_map(Json::as_str)
        .filter(|v| v.ends_with(".safetensors") || v.ends_with(".gguf"))
        .map(str::to_owned)
        .collect();
    names.sort();
    names.dedup();
    names
}

/// A template's workflow (`NAME.json`) or picture (`NAME.png`).
#[utoipa::path(get, path = "/v1/templates/{file}", operation_id = "getTemplate", params(("file" = String, Path)), responses((status = 200, body = Object, description = "The workflow"), (status = 404, description = "There is no such template")))]
pub(crate) async fn one(Path(file): Path<String>) -> Response {
    let named = |name: &str| built::TEMPLATES.iter().find(|t| t.name == name);
    if let Some(template) = file.strip_suffix(".json").and_then(named) {
        return ([(header::CONTENT_TYPE, "application/json; charset=utf-8")], template.workflow)
            .into_response();
    }
    match file.strip_suffix(".png").and_then(named).and_then(|t| t.thumbnail) {
        Some(picture) => ([(header::CONTENT_TYPE, "image/png")], picture).into_response(),
        None => error(
            StatusCode::NOT_FOUND,
            "no_such_template",
            format!("there is no template {file}"),
            Json::Null,
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_is_json_and_has_words() {
        let words: Json = serde_json::from_str(WORDS).unwrap();
        assert!(!built::TEMPLATES.is_empty());
        for template in built::TEMPLATES {
            assert!(serde_json::from_str::<Json>(template.workflow).is_ok(), "{}", template.name);
            assert!(words[template.name]["title"].is_string(), "{} has no title", template.name);
        }
    }

    #[test]
    fn models_that_are_not_there_are_named() {
        let all = all(&ModelFolders::default());
        assert!(all.iter().all(|t| t["ready"] == json!(false)));
        assert_eq!(all[0]["models"], json!(["tiny-emoji-sd1.safetensors"]));
    }
}
