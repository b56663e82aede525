//! The workflow with the nodes that expansions added, for nodes that look at it.

use std::sync::Arc;

use serde_json::Value as Json;

use crate::graph::{Graph, NodeIx, Source};
use crate::value::Value;
use crate::workflow::{InputValue, Link, NodeId, Workflow, WorkflowNode};

/// Built when it is first asked for, then kept up as the graph grows.
#[derive(Default)]
pub(super) struct DynPrompt {
    workflow: Option<Arc<Workflow>>,
    /// Nodes of the graph that are in it.
    built: usize,
    /// Nodes whose values are to be taken out once nobody looks at the workflow.
    spent: Vec<NodeId>,
}

impl DynPrompt {
    /// Takes the values out of a node that has given them back.
    pub(super) fn forget(&mut self, id: &NodeId) {
        self.spent.push(id.clone());
        let Some(all) = self.workflow.as_mut().and_then(Arc::get_mut) else { return };
        for id in self.spent.drain(..) {
            for input in all.nodes.get_mut(&id).into_iter().flat_map(|node| node.inputs.values_mut()) {
                if let InputValue::Value(_) = input {
                    *input = InputValue::Literal(Json::Null);
                }
            }
        }
    }

    pub(super) fn workflow(&mut self, graph: &Graph) -> Arc<Workflow> {
        let workflow = self.workflow.get_or_insert_with(|| {
            self.built = graph.submitted().len();
            Arc::new(Workflow::clone(graph.prompt()))
        });
        if self.built < graph.len() {
            let all = Arc::make_mut(workflow);
            for ix in (self.built..graph.len()).map(NodeIx::new) {
                let node = graph.node(ix);
                if node.again {
                    continue;
                }
                let mut entry = WorkflowNode::new(&*node.class.name);
                for input in &node.inputs {
                    let value = match &input.source {
                        Source::Value(Value::Plain(json)) => InputValue::Literal((**json).clone()),
                        Source::Value(value) => InputValue::Value(value.clone()),
                        Source::Wire { from, slot } | Source::Pair { from, slot, .. } => {
                            InputValue::Link(Link { node: graph.node(*from).info.id.clone(), slot: *slot })
                        }
                    };
                    entry.inputs.insert(input.name.to_string(), value);
                }
                all.nodes.insert(node.info.id.clone(), entry);
            }
            self.built = graph.len();
        }
        workflow.clone()
    }
}
