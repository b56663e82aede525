//! Events as the frames of ComfyUI's WebSocket, and recordings of those.

use ebb_engine::events::{Event, EventKind};
use ebb_engine::workflow::NodeId;
use serde_json::{Value as Json, json};

fn ids(ids: &[NodeId]) -> Vec<String> {
    let mut ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    ids.sort();
    ids
}

/// The frames that a client would get, progress aside.
pub(crate) fn of_events(events: &[Event]) -> Vec<Json> {
    let mut executed: Vec<NodeId> = Vec::new();
    let frame = |event: &Event| match &event.kind {
        EventKind::Cached { nodes } => {
            let nodes: Vec<String> = nodes.iter().map(ToString::to_string).collect();
            Some(json!({"type": "execution_cached", "nodes": nodes}))
        }
        EventKind::NodeStarted { node } => Some(json!({
            "type": "executing",
            "node": node.id.as_str(),
            "display_node": node.display.as_str(),
        })),
        EventKind::NodeFinished { node, ui, cached, .. } => {
            if !cached {
                executed.push(node.id.clone());
            }
            (ui.is_some() || *cached).then(|| {
                json!({
                    "type": "executed",
                    "node": node.id.as_str(),
                    "display_node": node.display.as_str(),
                    "output": without_names(ui.as_deref().map_or(Json::Null, |ui| json!(ui))),
                })
            })
        }
        EventKind::NodeBlocked { node, message, .. } => Some(json!({
            "type": "execution_error",
            "node_id": node.real.as_str(),
            "node_type": &*node.class,
            "executed": ids(&executed),
            "inputs": [],
            "exception_message": format!("Execution Blocked: {message}"),
        })),
        EventKind::Failed { error } => Some(json!({
            "type": "execution_error",
            "node_id": error.node.real.as_str(),
            "node_type": &*error.node.class,
            "executed": ids(&error.executed),
            "inputs": if error.kind == "cycle" { json!([]) } else { json!(error.inputs.keys().collect::<Vec<_>>()) },
        })),
        EventKind::Succeeded => Some(json!({"type": "execution_success"})),
        _ => None,
    };
    events.iter().filter_map(frame).collect()
}

/// The frames that were recorded for a prompt, in the same form.
pub(crate) fn recorded(steps: &[Json], prompt: &str) -> Vec<Json> {
    let messages = steps.iter().filter_map(|step| step["result"]["messages"].as_array()).flatten();
    let frame = |message: &Json| {
        let data = &message["data"];
        if data["prompt_id"] != prompt {
            return None;
        }
        let kind = message["type"].as_str()?;
        match kind {
            "execution_cached" => Some(json!({"type": kind, "nodes": data["nodes"]})),
            "executing" if !data["node"].is_null() => {
                Some(json!({"type": kind, "node": data["node"], "display_node": data["display_node"]}))
            }
            "executed" => Some(json!({
                "type": kind,
                "node": data["node"],
                "display_node": data["display_node"],
                "output": data["output"],
            })),
            "execution_error" => {
                let mut executed: Vec<String> = data["executed"]
                    .as_array()?
                    .iter()
                    .filter_map(|id| id.as_str().map(str::to_owned))
                    .collect();
                executed.sort();
                let mut frame = json!({
                    "type": kind,
                    "node_id": data["node_id"],
                    "node_type": data["node_type"],
                    "executed": executed,
                    "inputs": match &data["current_inputs"] {
                        Json::Object(inputs) => json!(inputs.keys().collect::<Vec<_>>()),
                        other => other.clone(),
                    },
                });
                // The words of other errors are each implementation's own.
                if data["exception_type"] == "ExecutionBlocked" {
                    frame["exception_message"] = data["exception_message"].clone();
                }
                Some(frame)
            }
            "execution_success" => Some(json!({"type": kind})),
            _ => None,
        }
    };
    messages.filter_map(frame).collect()
}

/// Temporary names hold five random letters.
fn without_names(mut ui: Json) -> Json {
    if let Some(images) = ui.get_mut("images").and_then(Json::as_array_mut) {
        for image in images {
            if let Some(name) = image["filename"].as_str()
                && let Some(rest) = name.strip_prefix("ComfyUI_temp_")
            {
                let letters = rest.find('_').unwrap_or(0);
                image["filename"] = json!(format!("ComfyUI_temp_<RAND>{}", &rest[letters..]));
            }
        }
    }
    ui
}

/// The same refusal: codes, messages, inputs, values. Words that come from the reference's
/// language runtime are not compared, nor is the order of the errors of one node.
pub(crate) fn same_rejection(expected: &Json, found: &Json, place: &str) {
    assert_eq!(settle(found, ""), settle(expected, ""), "{place}");
}

const WORDS: [&str; 4] = ["exception_message", "exception_type", "traceback", "details"];

fn settle(json: &Json, kind: &str) -> Json {
    let spoken = ["invalid_input_type", "exception_during_validation", "custom_validation_failed"];
    match json {
        Json::Object(map) => {
            let kind = map.get("type").and_then(Json::as_str).unwrap_or(kind);
            let own = |key: &str| WORDS.contains(&key) && (key != "details" || spoken.contains(&kind));
            let entries = map.iter().filter(|(key, _)| !own(key) && *key != "tooltip");
            Json::Object(entries.map(|(key, value)| (key.clone(), settle(value, kind))).collect())
        }
        Json::Array(items) => {
            let mut items: Vec<Json> = items.iter().map(|item| settle(item, kind)).collect();
            if items.iter().all(|item| item.get("extra_info").is_some()) {
                items.sort_by_key(Json::to_string);
            }
            Json::Array(items)
        }
        other => other.clone(),
    }
}
