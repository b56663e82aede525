//! What a call of a node gives back.

use serde_json::{Map, Value as Json};

use crate::value::Value;
use crate::workflow::{InputValue, Workflow};

/// A subgraph that takes the node's place.
#[derive(Clone, Debug)]
pub struct Expansion {
    /// The nodes, under ids of the node's own choosing; the engine makes them unique.
    pub graph: Workflow,
    /// What stands for each output: a link into the subgraph, or a value.
    pub outputs: Vec<InputValue>,
}

/// The outputs of a call.
#[derive(Clone, Debug)]
pub enum Outputs {
    /// One value a slot; a list slot holds a [`Value::List`].
    Values(Vec<Value>),
    /// A subgraph that will make them.
    Expand(Expansion),
}

/// What a call of a node gives back.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The outputs.
    pub outputs: Outputs,
    /// What a client shows: `{"images": [...]}`, `{"text": [...]}`. Lists of several calls are
    /// joined key by key.
    pub ui: Option<Map<String, Json>>,
}

impl Outcome {
    /// No outputs: an output node's.
    pub fn none() -> Self {
        Self::values(Vec::new())
    }

    /// One output.
    pub fn value(value: impl Into<Value>) -> Self {
        Self::values(vec![value.into()])
    }

    /// One payload.
    pub fn payload<P: crate::value::Payload>(payload: P) -> Self {
        Self::values(vec![Value::payload(payload)])
    }

    /// Several outputs.
    pub fn values(values: Vec<Value>) -> Self {
        Self { outputs: Outputs::Values(values), ui: None }
    }

    /// A subgraph in the node's place.
    pub fn expand(graph: Workflow, outputs: Vec<InputValue>) -> Self {
        Self { outputs: Outputs::Expand(Expansion { graph, outputs }), ui: None }
    }

    /// Adds what a client shows.
    pub fn with_ui(mut self, ui: Map<String, Json>) -> Self {
        self.ui = Some(ui);
        self
    }
}
