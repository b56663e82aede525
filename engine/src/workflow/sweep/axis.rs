//! What one axis varies.

use serde_json::Value as Json;

use super::SweepError;
use crate::workflow::{InputValue, NodeId, Workflow};

/// An axis: what it changes, and the values that it takes.
#[derive(Clone, Debug)]
pub struct Axis {
    /// Its name, for people.
    pub label: String,
    /// What it changes.
    pub change: Change,
    /// What it takes, in order.
    pub values: Vec<AxisValue>,
}

/// What an axis changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// An input of a node: the value stands there instead.
    Input {
        /// The node.
        node: NodeId,
        /// The input.
        input: String,
    },
    /// A text within texts: the value takes its place.
    Replace {
        /// The only input to look at; every text of the workflow where there is none.
        place: Option<(NodeId, String)>,
        /// The text.
        search: String,
    },
}

/// A value of an axis.
#[derive(Clone, Debug)]
pub struct AxisValue {
    /// The value, for people.
    pub label: String,
    /// The value.
    pub value: InputValue,
}

impl From<Json> for AxisValue {
    fn from(json: Json) -> Self {
        InputValue::Literal(json).into()
    }
}

impl From<InputValue> for AxisValue {
    fn from(value: InputValue) -> Self {
        let label = match &value {
            InputValue::Literal(Json::String(text)) => text.clone(),
            other => other.to_json().to_string(),
        };
        Self { label, value }
    }
}

impl Axis {
    /// An axis over an input.
    pub fn input(label: &str, node: NodeId, input: &str, values: Vec<AxisValue>) -> Self {
        Self { label: label.into(), change: Change::Input { node, input: input.into() }, values }
    }

    /// An axis that replaces a text, in one input or wherever it occurs.
    pub fn replace(label: &str, place: Option<(NodeId, String)>, search: &str, values: Vec<String>) -> Self {
        let values = values.into_iter().map(|value| Json::String(value).into()).collect();
        Self { label: label.into(), change: Change::Replace { place, search: search.into() }, values }
    }

    /// Whether it changes anything.
    pub(super) fn check(&self, workflow: &Workflow) -> Result<(), SweepError> {
        let label = || self.label.clone();
        let node = match &self.change {
            Change::Input { node, .. } | Change::Replace { place: Some((node, _)), .. } => Some(node),
            Change::Replace { place: None, .. } => None,
        };
        if let Some(node) = node.filter(|node| !workflow.nodes.contains_key(*node)) {
            return Err(SweepError::NoNode { label: label(), node: node.clone() });
        }
        if let Change::Replace { search, .. } = &self.change {
            if let Some(value) = self.values.iter().find(|value| text(&value.value).is_none()) {
                return Err(SweepError::NotText { label: label(), value: value.label.clone() });
            }
            let mut copy = workflow.clone();
            let found = self.texts(&mut copy).into_iter().any(|text| text.contains(search.as_str()));
            if search.is_empty() || !found {
                return Err(SweepError::NotFound { label: label(), search: search.clone() });
            }
        }
        Ok(())
    }

    /// Sets its value in a workflow.
    pub(super) fn apply(&self, value: usize, workflow: &mut Workflow) {
        let Some(value) = self.values.get(value) else { return };
        match &self.change {
            Change::Input { node, input } => {
                if let Some(node) = workflow.nodes.get_mut(node) {
                    node.inputs.insert(input.clone(), value.value.clone());
                }
            }
            Change::Replace { search, .. } => {
                let Some(by) = text(&value.value) else { return };
                for text in self.texts(workflow) {
                    if text.contains(search.as_str()) {
                        *text = text.replace(search.as_str(), by);
                    }
                }
            }
        }
    }

    /// The texts that a replacement looks at.
    fn texts<'w>(&self, workflow: &'w mut Workflow) -> Vec<&'w mut String> {
        let Change::Replace { place, .. } = &self.change else { return Vec::new() };
        let wanted = |id: &NodeId, input: &String| {
            place.as_ref().is_none_or(|(node, name)| node == id && name == input)
        };
        let mut texts = Vec::new();
        for (id, node) in &mut workflow.nodes {
            for (name, input) in &mut node.inputs {
                if let InputValue::Literal(Json::String(text)) = input
                    && wanted(id, name)
                {
                    texts.push(text);
                }
            }
        }
        texts
    }
}

pub(super) fn text(input: &InputValue) -> Option<&str> {
    match input {
        InputValue::Literal(Json::String(text)) => Some(text),
        _ => None,
    }
}
