//! How a job ended, as history shows it, and the files that it made.

use std::io::Read;
use std::path::PathBuf;

use ebb_engine::node::NodeRef;
use ebb_queue::{NewResult, Outcome};
use serde_json::value::RawValue;
use serde_json::{Map, Value as Json, json};
use sha2::{Digest, Sha256};

use crate::files::roots;

/// What is gathered while a job runs.
#[derive(Debug, Default)]
pub(crate) struct Record {
    /// UI values by node id.
    pub(crate) outputs: Map<String, Json>,
    /// Display, parent and real ids by node id.
    pub(crate) meta: Map<String, Json>,
    /// `execution_start`, `execution_cached` and how it ended.
    pub(crate) messages: Vec<(String, Json)>,
    /// The error frame.
    pub(crate) error: Option<Json>,
    /// Every output was made.
    pub(crate) completed: bool,
}

impl Record {
    /// A node showed something.
    pub(crate) fn output(&mut self, node: &NodeRef, ui: &Map<String, Json>) {
        let id = node.id.as_str().to_owned();
        self.outputs.insert(id.clone(), Json::Object(ui.clone()));
        self.meta.insert(
            id.clone(),
            json!({"node_id": id, "display_node": node.display.as_str(),
                   "parent_node": node.parent.as_ref().map(|p| p.as_str()), "real_node_id": node.real.as_str()}),
        );
    }

    /// The history entry's parts.
    pub(crate) fn outcome(&self) -> Outcome {
        let status = json!({
            "status_str": if self.completed { "success" } else { "error" },
            "completed": self.completed,
            "messages": self.messages,
        });
        Outcome {
            outputs: raw(&Json::Object(self.outputs.clone())),
            status: raw(&status),
            meta: raw(&Json::Object(self.meta.clone())),
            error: self.error.as_ref().map(raw),
        }
    }

    /// The files that the outputs name, with digests of what is in them. A file that is gone is left out.
    pub(crate) fn results(&self, folder: impl Fn(&str) -> Option<PathBuf>) -> Vec<NewResult> {
        let mut results = Vec::new();
        for (node_id, ui) in &self.outputs {
            for (kind, items) in ui.as_object().into_iter().flatten() {
                for item in items.as_array().into_iter().flatten() {
                    results.extend(file(node_id, kind, item, &folder));
                }
            }
        }
        results
    }
}

fn file(
    node_id: &str,
    kind: &str,
    item: &Json,
    folder: impl Fn(&str) -> Option<PathBuf>,
) -> Option<NewResult> {
    let text = |key: &str| item.get(key).and_then(Json::as_str);
    let (filename, subfolder, place) =
        (text("filename")?, text("subfolder").unwrap_or_default(), text("type")?);
    let path = if subfolder.is_empty() { filename.to_owned() } else { format!("{subfolder}/{filename}") };
    let mut file = roots::open(&folder(place)?, &path).ok()?;
    let (mut digest, mut bytes, mut buffer) = (Sha256::new(), 0, vec![0; 1 << 16]);
    loop {
        match file.read(&mut buffer).ok()? {
            0 => break,
            n => {
                digest.update(&buffer[..n]);
                bytes += n as u64;
            }
        }
    }
    Some(NewResult {
        node_id: node_id.to_owned(),
        kind: kind.to_owned(),
        folder: place.to_owned(),
        subfolder: subfolder.to_owned(),
        filename: filename.to_owned(),
        sha256: digest.finalize().iter().map(|b| format!("{b:02x}")).collect(),
        bytes,
    })
}

/// JSON as text that is kept.
pub(crate) fn raw(value: &Json) -> Box<RawValue> {
    // A value of this type always prints, and what it prints is JSON.
    RawValue::from_string(value.to_string()).unwrap_or_default()
}
