//! The workflow with the nodes that expansions added, for nodes that look at it.

use std::sync::Arc;

use crate::graph::{Graph, NodeIx, Source};
use crate::value::Value;
use crate::workflow::{InputValue, Link, Workflow, WorkflowNode};

/// Built when it is first asked for, then kept up as the graph grows.
#[derive(Default)]
pub(super) struct DynPrompt {
    workflow: Option<Arc<Workflow>>,
    /// Nodes of the graph that are in it.
    built: usize,
}

impl DynPrompt {
    pub(super) fn workflow(&mut self, graph: &Graph) -> Arc<Workflow> {
        let workflow = self.workflow.get_or_insert_with(|| {
            self.built = graph.submitted().len();
            Arc::new(Workflow::clone(graph.prompt()))
        });
        if self.built < graph.len() {
            let all = Arc::make_mut(workflow);
            for ix in (self.built..graph.len()).map(NodeIx::new) {
                let node = graph.node(ix);
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
