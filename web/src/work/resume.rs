//! A sweep that was interrupted goes on with the cells that are missing: what its outputs showed is in the log.

use std::path::PathBuf;

use ebb_queue::JobStore;
use serde_json::{Map, Value as Json};

use crate::files::roots;

/// Events that are read from the store at once.
const PAGE: u64 = 1000;

/// What the outputs of a job showed so far, by node. An output whose file is gone is left out: it has to be made again.
pub(crate) fn shown_before(
    store: &dyn JobStore,
    job: &str,
    folder: impl Fn(&str) -> Option<PathBuf>,
) -> Map<String, Json> {
    let mut shown = Map::new();
    let mut seen = 0;
    loop {
        let events = match store.events_after(job, seen, PAGE) {
            Ok(events) => events,
            Err(error) => {
                tracing::warn!(job, %error, "the log cannot be read: the whole sweep runs again");
                return Map::new();
            }
        };
        let Some(last) = events.last() else { return shown };
        seen = last.seq;
        for event in events.iter().filter(|event| event.kind == "executed") {
            let data: Json = serde_json::from_str(event.data.get()).unwrap_or_default();
            let (Some(node), Some(Json::Object(ui))) = (data["node"].as_str(), data.get("output")) else {
                continue;
            };
            if ui.values().filter_map(Json::as_array).flatten().all(|item| there(item, &folder)) {
                shown.insert(node.to_owned(), Json::Object(ui.clone()));
            } else {
                shown.remove(node);
            }
        }
    }
}

/// Whether what an entry names is there; an entry that names no file is.
fn there(item: &Json, folder: &impl Fn(&str) -> Option<PathBuf>) -> bool {
    let text = |key: &str| item.get(key).and_then(Json::as_str);
    let Some(name) = text("filename") else { return true };
    let path = match text("subfolder").unwrap_or_default() {
        "" => name.to_owned(),
        subfolder => format!("{subfolder}/{name}"),
    };
    let root = text("type").and_then(folder);
    root.is_some_and(|root| roots::open(&root, &path).is_ok())
}
