//! A sweep as JSON: what requests, manifests and stored jobs hold.

use serde_json::{Map, Value as Json, json};

use super::axis::{Axis, AxisValue, Change};
use super::{Sweep, SweepError};
use crate::workflow::{InputValue, NodeId, Workflow};

impl Sweep {
    /// `{"prompt": API format, "axes": [{"label", "node", "input", "search", "values"}]}`.
    pub fn to_json(&self) -> Json {
        let axes = self.axes.iter().map(Axis::to_json);
        json!({"prompt": self.base.to_json(), "axes": axes.collect::<Vec<_>>()})
    }

    /// Reads what [`to_json`](Self::to_json) writes. Labels may be left out.
    ///
    /// # Errors
    /// Where the shape is another one, and as [`Sweep::new`].
    pub fn from_json(json: &Json) -> Result<Self, SweepError> {
        let base = Workflow::from_json(json.get("prompt").cloned().unwrap_or_default())?;
        let axes = json.get("axes").and_then(Json::as_array).ok_or(SweepError::NoAxis)?;
        Self::new(base, axes.iter().map(Axis::from_json).collect::<Result<_, _>>()?)
    }
}

impl Axis {
    fn to_json(&self) -> Json {
        let mut map = Map::new();
        map.insert("label".into(), json!(self.label));
        let (place, search) = match &self.change {
            Change::Input { node, input } => (Some((node, input)), None),
            Change::Replace { place, search } => {
                (place.as_ref().map(|(node, input)| (node, input)), Some(search))
            }
        };
        if let Some((node, input)) = place {
            map.insert("node".into(), json!(node.as_str()));
            map.insert("input".into(), json!(input));
        }
        if let Some(search) = search {
            map.insert("search".into(), json!(search));
        }
        let values = self.values.iter().map(|value| value.value.to_json());
        map.insert("values".into(), values.collect());
        Json::Object(map)
    }

    fn from_json(json: &Json) -> Result<Self, SweepError> {
        let text = |key: &str| json.get(key).and_then(Json::as_str).map(str::to_owned);
        let place = text("node").zip(text("input")).map(|(node, input)| (NodeId::from(node), input));
        let named = place.as_ref().map(|(node, input)| format!("{node}.{input}"));
        let change = match (text("search"), place) {
            (Some(search), place) => Change::Replace { place, search },
            (None, Some((node, input))) => Change::Input { node, input },
            (None, None) => return Err(SweepError::Shapeless { axis: json.to_string() }),
        };
        let label = text("label").or(named).or_else(|| text("search")).unwrap_or_default();
        let values = json.get("values").and_then(Json::as_array).cloned().unwrap_or_default();
        let values = values.into_iter().map(|value| match value {
            // A list is a link where the workflow has one, and wrapped where it is a literal.
            Json::Array(_) | Json::Object(_) => AxisValue::from(InputValue::from_json(value)),
            literal => AxisValue::from(literal),
        });
        Ok(Self { label, change, values: values.collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sweep_comes_back_as_it_was() {
        let written = json!({
            "prompt": {"1": {"inputs": {"text": "red", "size": {"__value__": [1, 2]}}, "class_type": "A"}},
            "axes": [
                {"label": "text", "node": "1", "input": "text", "values": ["a", "b"]},
                {"label": "1.size", "node": "1", "input": "size", "values": [{"__value__": [3, 4]}, ["1", 0]]},
                {"label": "red", "search": "red", "values": ["blue"]},
                {"label": "x", "node": "1", "input": "text", "search": "r", "values": ["b"]},
            ],
        });
        assert_eq!(Sweep::from_json(&written).unwrap().to_json(), written);
        let mut bare = written.clone();
        bare["axes"][1].as_object_mut().unwrap().remove("label");
        bare["axes"][2].as_object_mut().unwrap().remove("label");
        assert_eq!(Sweep::from_json(&bare).unwrap().to_json(), written);
    }

    #[test]
    fn another_shape_is_an_error() {
        let prompt = json!({"1": {"inputs": {}, "class_type": "A"}});
        for axes in [json!([]), json!(null), json!([{"values": [1]}]), json!([{"node": "1", "values": [1]}])]
        {
            assert!(Sweep::from_json(&json!({"prompt": prompt, "axes": axes})).is_err(), "{axes}");
        }
        assert!(Sweep::from_json(&json!({"prompt": 5, "axes": []})).is_err());
    }
}
