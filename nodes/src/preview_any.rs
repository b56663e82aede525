//! `PreviewAny`.

use ebb_engine::node::{Context, Inputs, Node, NodeError, Outcome};
use ebb_engine::schema::{Input, Schema};
use ebb_engine::value::Value;
use serde_json::{Map, Value as Json};

use crate::pixels::png::ascii_json;

/// Shows any value as text.
pub(crate) struct PreviewAny;

/// Texts as they are, other plain values as Python writes them, the rest by what it is.
fn text(value: &Value) -> String {
    match value {
        Value::Plain(json) => match &**json {
            Json::String(text) => text.clone(),
            Json::Null => "None".to_owned(),
            Json::Bool(true) => "True".to_owned(),
            Json::Bool(false) => "False".to_owned(),
            other => ascii_json(other),
        },
        Value::Payload(payload) => format!("{} {}", payload.type_name(), payload.summary()).trim().to_owned(),
        Value::List(values) => {
            format!("[{}]", values.iter().map(text).collect::<Vec<_>>().join(", "))
        }
        Value::Blocked(_) => String::new(),
    }
}

impl Node for PreviewAny {
    fn schema(&self) -> Schema {
        Schema::new("PreviewAny")
            .module("comfy_extras.nodes_preview_any")
            .display("Preview Any")
            .category("utils")
            .input(Input::wire("source", "*"))
            .output_node()
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let shown = Json::String(text(inputs.value("source")?));
        Ok(Outcome::none().with_ui(Map::from_iter([("text".to_owned(), Json::Array(vec![shown]))])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_written_as_comfyui_writes_them() {
        for (json, expected) in [
            (json!("a b"), "a b"),
            (json!(true), "True"),
            (json!(null), "None"),
            (json!(1.5), "1.5"),
            (json!({"a": 1}), "{\"a\": 1}"),
        ] {
            assert_eq!(text(&Value::plain(json)), expected);
        }
    }
}
