//! `/object_info`.

use axum::extract::{Path, State};
use axum::response::Response;
use serde_json::{Map, Value as Json, json};

use crate::answer::{self, failed};
use crate::app::App;
use crate::files::blocking;

/// Loaders whose descriptions the official front end takes for granted (its `modelToNode` store looks them up by name
/// without a check, and then no loader can be created at all).
const TAKEN_FOR_GRANTED: [&str; 10] = [
    "CheckpointLoaderSimple",
    "ImageOnlyCheckpointLoader",
    "LoraLoader",
    "LoraLoaderModelOnly",
    "VAELoader",
    "ControlNetLoader",
    "UNETLoader",
    "UpscaleModelLoader",
    "StyleModelLoader",
    "GLIGENLoader",
];

pub(crate) async fn all(State(app): State<App>) -> Response {
    let official = app.config.front_end.is_some();
    let described = blocking(move || {
        let mut info = app.workshop.object_info(None);
        if official {
            fill_in(&mut info);
        }
        Ok(answer::json(&info))
    });
    described.await.unwrap_or_else(failed)
}

/// Lists of files are read anew each time, so an upload can be chosen at once.
pub(crate) async fn one(State(app): State<App>, Path(class): Path<String>) -> Response {
    match blocking(move || Ok(app.workshop.object_info(Some(&class)))).await {
        Ok(info) => answer::json(&info),
        Err(error) => failed(error),
    }
}

/// Describes those that are missing, as deprecated, which the front end hides from its search. A prompt with one of them
/// is refused like any other with a class that is not there.
fn fill_in(info: &mut Map<String, Json>) {
    for name in TAKEN_FOR_GRANTED {
        info.entry(name).or_insert_with(|| {
            json!({
                "input": {"required": {}}, "input_order": {"required": []},
                "output": [], "output_is_list": [], "output_name": [],
                "name": name, "display_name": name, "category": "not in Ebb", "python_module": "nodes",
                "description": "Ebb does not have this node. It is listed because the front end looks its name up.",
                "output_node": false, "deprecated": true,
            })
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_missing_is_filled_in() {
        let mut info = Map::from_iter([("VAELoader".to_owned(), json!({"name": "VAELoader"}))]);
        fill_in(&mut info);
        assert_eq!(info.len(), TAKEN_FOR_GRANTED.len());
        assert_eq!(info["VAELoader"], json!({"name": "VAELoader"}));
        assert_eq!(info["GLIGENLoader"]["deprecated"], true);
    }
}
