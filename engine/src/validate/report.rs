//! What validation answers.

use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::{Map, Value as Json, json};

use super::issue::Issue;
use crate::graph::Graph;
use crate::workflow::{NodeId, Workflow};

/// A workflow of which at least one output may run.
#[derive(Clone)]
pub struct Validated {
    /// The workflow with its literals coerced: what history and PNGs carry.
    pub workflow: Arc<Workflow>,
    /// Its graph.
    pub graph: Graph,
    /// The outputs that passed, in the order of the workflow.
    pub outputs: Vec<NodeId>,
    /// What is wrong with the other outputs.
    pub node_errors: NodeErrors,
}

/// A workflow of which nothing may run.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}{}{details}", if details.is_empty() { "" } else { ": " })]
pub struct Rejection {
    /// ComfyUI's code: `invalid_prompt`, `prompt_no_outputs`, `prompt_outputs_failed_validation`.
    pub code: &'static str,
    /// ComfyUI's message.
    pub message: String,
    /// ComfyUI's details.
    pub details: String,
    /// What is wrong with each node.
    pub node_errors: NodeErrors,
    /// Nodes that need each other, a list for each circle.
    pub cycles: Vec<Vec<NodeId>>,
    /// Nodes of no known class, in the order of the workflow.
    pub unknown: Vec<UnknownClass>,
    /// What is wrong beside `unknown`. ComfyUI's answer says nothing of it; a person wants to mend all at once.
    pub beside: NodeErrors,
}

/// A node whose class is not there.
#[derive(Clone, Debug)]
pub struct UnknownClass {
    /// The node.
    pub id: NodeId,
    /// Its class; none where the workflow names none.
    pub class: Option<String>,
    /// The class that a person may have meant.
    pub suggestion: Option<String>,
}

impl Rejection {
    pub(super) fn new(code: &'static str, message: impl Into<String>, details: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            details: details.into(),
            node_errors: NodeErrors::default(),
            cycles: Vec::new(),
            unknown: Vec::new(),
            beside: NodeErrors::default(),
        }
    }

    /// The answer's body: `{"error": {…}, "node_errors": {…}}`.
    pub fn to_json(&self) -> Json {
        json!({
            "error": {
                "type": self.code,
                "message": self.message,
                "details": self.details,
                "extra_info": {},
            },
            "node_errors": self.node_errors.to_json(),
        })
    }
}

/// What is wrong, by node. Only nodes with errors of their own appear.
#[derive(Clone, Debug, Default)]
pub struct NodeErrors(pub IndexMap<NodeId, NodeIssues>);

/// What is wrong with one node.
#[derive(Clone, Debug)]
pub struct NodeIssues {
    /// Its class.
    pub class: String,
    /// What is wrong.
    pub issues: Vec<Issue>,
    /// The outputs that cannot run because of it.
    pub dependent_outputs: Vec<NodeId>,
}

impl NodeErrors {
    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// ComfyUI's `node_errors`.
    pub fn to_json(&self) -> Json {
        let nodes = self.0.iter().map(|(id, node)| {
            let errors: Vec<Json> = node.issues.iter().map(Issue::to_json).collect();
            let outputs: Vec<&str> = node.dependent_outputs.iter().map(NodeId::as_str).collect();
            let entry =
                json!({"errors": errors, "dependent_outputs": outputs, "class_type": node.class.clone()});
            (id.as_str().to_owned(), entry)
        });
        Json::Object(nodes.collect::<Map<_, _>>())
    }
}
