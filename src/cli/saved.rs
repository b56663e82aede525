//! The files that a run left behind, as its nodes tell their clients.

use std::path::PathBuf;

use ebb_nodes::Folders;
use serde_json::{Map, Value as Json};

/// The files that a node's `ui` names, in its order: lists of `{filename, subfolder, type}`.
pub(super) fn files(ui: &Map<String, Json>, folders: &Folders) -> Vec<PathBuf> {
    let entries = ui.values().filter_map(Json::as_array).flatten();
    let text = |entry: &Json, key: &str| entry.get(key).and_then(Json::as_str).map(str::to_owned);
    let path = |entry: &Json| {
        let folder = match text(entry, "type").as_deref() {
            Some("output") => &folders.output,
            Some("temp") => &folders.temp,
            Some("input") => &folders.input,
            _ => return None,
        };
        Some(folder.join(text(entry, "subfolder").unwrap_or_default()).join(text(entry, "filename")?))
    };
    entries.filter_map(path).collect()
}
