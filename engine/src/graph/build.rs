//! Workflow + registry → graph.

use std::sync::Arc;

use serde_json::json;

use super::{Graph, GraphInput, GraphNode, NodeIx, Source, Wire};
use crate::node::NodeRef;
use crate::registry::{Class, Registry};
use crate::value::Value;
use crate::workflow::{InputValue, NodeId, Workflow, WorkflowNode};

impl Graph {
    /// The graph of a workflow whose `outputs` passed validation. Every node with a known class
    /// becomes part of it; which of them are needed is the plan's business.
    pub(crate) fn build(workflow: Arc<Workflow>, registry: &Registry, outputs: &[NodeId]) -> Self {
        let mut graph = Self::default();
        graph.ids.reserve(workflow.nodes.len());
        for (id, node) in &workflow.nodes {
            let Some(class) = node.class_type.as_deref().and_then(|class| registry.get(class)) else {
                continue;
            };
            let info = Arc::new(NodeRef::top(id.clone(), class.name.clone()));
            graph.add(info, class.clone(), None);
        }
        graph.submitted = graph.len();
        for ix in graph.submitted() {
            let node = &workflow.nodes[&graph.dag[ix].info.id];
            graph.connect(ix, node, |graph, input| graph.find(&input.link()?.node));
        }
        graph.outputs = outputs.iter().filter_map(|id| graph.ids.get(id).copied()).collect();
        graph.prompt = workflow;
        graph
    }

    pub(super) fn add(&mut self, info: Arc<NodeRef>, class: Class, origin: Option<(NodeIx, u32)>) -> NodeIx {
        let id = info.id.clone();
        let node =
            GraphNode { info, class, inputs: Vec::new(), origin, spent: false, broken: false, again: false };
        let ix = self.dag.add_node(node);
        self.ids.insert(id, ix);
        ix
    }

    /// Resolves a node's inputs. `resolve` finds the place of a linked input's producer.
    pub(super) fn connect(
        &mut self,
        ix: NodeIx,
        node: &WorkflowNode,
        resolve: impl Fn(&Self, &InputValue) -> Option<NodeIx>,
    ) {
        let class = self.dag[ix].class.clone();
        let mut inputs = Vec::with_capacity(class.inputs.len());
        let mut broken = false;
        let mut take = |graph: &Self, name: &Arc<str>, value: &InputValue, lazy: bool, raw: bool| {
            let source = match value {
                InputValue::Literal(json) => Source::Value(Value::plain(json.clone())),
                InputValue::Value(value) => Source::Value(value.clone()),
                InputValue::BadLink(_) => {
                    broken = true;
                    return;
                }
                InputValue::Link(link) | InputValue::Outside(link) => {
                    let Some(from) = resolve(graph, value) else {
                        broken = true;
                        return;
                    };
                    if link.slot >= graph.dag[from].class.schema.outputs.len() {
                        broken = true;
                        return;
                    }
                    if raw {
                        let pair = Value::plain(json!([graph.dag[from].info.id.as_str(), link.slot]));
                        Source::Pair { from, slot: link.slot, pair }
                    } else {
                        Source::Wire { from, slot: link.slot }
                    }
                }
            };
            inputs.push(GraphInput { name: name.clone(), source, lazy });
        };
        for (declared, name) in class.schema.inputs.iter().zip(class.inputs.iter()) {
            if let Some(value) = node.inputs.get(&declared.name) {
                take(self, name, value, declared.lazy, declared.raw_link);
            }
        }
        if class.schema.accepts_undeclared {
            for (name, value) in &node.inputs {
                if class.schema.find(name).is_none() {
                    take(self, &Arc::from(name.as_str()), value, false, false);
                }
            }
        }
        for input in &inputs {
            if let Some((from, slot)) = input.link() {
                self.dag.add_edge(from, ix, Wire { slot: slot as u32, lazy: input.lazy });
            }
        }
        let node = &mut self.dag[ix];
        node.inputs = inputs;
        node.broken = broken;
    }
}
