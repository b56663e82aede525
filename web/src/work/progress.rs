//! The cumulative picture of a running job that `progress_state` frames carry: every node that began, in that order.

use std::collections::HashMap;

use ebb_engine::node::NodeRef;
use serde_json::{Map, Value as Json, json};

use crate::ws::frames::number;

#[derive(Debug, Clone)]
struct Node {
    value: Json,
    max: Json,
    state: &'static str,
    about: NodeRef,
}

/// Nodes of a running job.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    order: Vec<String>,
    nodes: HashMap<String, Node>,
}

impl Progress {
    /// A node begins, or begins again after its lazy inputs.
    pub(crate) fn start(&mut self, about: &NodeRef) {
        self.put(about, json!(0.0), json!(1.0), "running");
    }

    /// A node comes along.
    pub(crate) fn step(&mut self, about: &NodeRef, value: f64, max: f64) {
        self.put(about, number(value), number(max), "running");
    }

    /// A node is done; it has done all that it said it would.
    pub(crate) fn finish(&mut self, about: &NodeRef) {
        let max = self.nodes.get(about.id.as_str()).map_or(json!(1), |n| n.max.clone());
        self.put(about, max.clone(), max, "finished");
    }

    /// A node failed where it was.
    pub(crate) fn fail(&mut self, about: &NodeRef) {
        if let Some(node) = self.nodes.get_mut(about.id.as_str()) {
            node.state = "error";
        }
    }

    fn put(&mut self, about: &NodeRef, value: Json, max: Json, state: &'static str) {
        let node = Node { value, max, state, about: about.clone() };
        if self.nodes.insert(about.id.as_str().to_owned(), node).is_none() {
            self.order.push(about.id.as_str().to_owned());
        }
    }

    /// The frame's data.
    pub(crate) fn data(&self, job: &str) -> Json {
        let nodes: Map<String, Json> = self
            .order
            .iter()
            .filter_map(|id| Some((id.clone(), self.nodes.get(id)?)))
            .map(|(id, n)| {
                let entry = json!({
                    "value": n.value, "max": n.max, "state": n.state, "node_id": n.about.id.as_str(), "prompt_id": job,
                    "display_node_id": n.about.display.as_str(),
                    "parent_node_id": n.about.parent.as_ref().map(|p| p.as_str()),
                    "real_node_id": n.about.real.as_str(),
                });
                (id, entry)
            })
            .collect();
        json!({"prompt_id": job, "nodes": nodes})
    }
}
