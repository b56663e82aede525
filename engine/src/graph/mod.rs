//! A checked workflow with its links resolved: what plans are made of.
//!
//! The nodes of the submitted workflow come first, in its order; expansions add theirs behind
//! them while a job runs. Edges of the underlying [`petgraph`] graph go from producer to consumer.

mod build;
mod expand;

use std::collections::HashMap;
use std::sync::Arc;

use petgraph::graph::DiGraph;

use crate::node::NodeRef;
use crate::registry::Class;
use crate::value::Value;
use crate::workflow::{NodeId, Workflow};

pub(crate) use expand::GrowthLimits;
pub use expand::{ExpandError, Grown};

/// A node's place in a [`Graph`].
pub type NodeIx = petgraph::graph::NodeIndex<u32>;

/// Where an input comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A literal, or a value that an expansion put there.
    Value(Value),
    /// An output of a node.
    Wire {
        /// The node that makes it.
        from: NodeIx,
        /// Which of its outputs.
        slot: usize,
    },
    /// An output of a node that is waited for, but handed over as the `["id", slot]` pair.
    Pair {
        /// The node that makes it.
        from: NodeIx,
        /// Which of its outputs.
        slot: usize,
        /// The pair.
        pair: Value,
    },
}

/// An input of a node in a graph.
#[derive(Clone, Debug)]
pub struct GraphInput {
    /// Its name.
    pub name: Arc<str>,
    /// Where it comes from.
    pub source: Source,
    /// The node asks for it itself.
    pub lazy: bool,
}

impl GraphInput {
    /// The producer and its slot, if the input is linked.
    pub fn link(&self) -> Option<(NodeIx, usize)> {
        match self.source {
            Source::Wire { from, slot } | Source::Pair { from, slot, .. } => Some((from, slot)),
            Source::Value(_) => None,
        }
    }
}

/// A node in a graph.
#[derive(Clone)]
pub struct GraphNode {
    /// Who it is.
    pub info: Arc<NodeRef>,
    /// What it declares and does.
    pub class: Class,
    /// Its inputs: declared ones in the order of the schema, then undeclared ones if it takes them.
    pub inputs: Vec<GraphInput>,
    /// The node that expanded into it, and how deep in expansions it stands.
    pub origin: Option<(NodeIx, u32)>,
    /// It carried values of the node that expanded, and has given them back.
    pub spent: bool,
    /// A link leads nowhere. Such a node is in nobody's way as long as no output needs it.
    pub broken: bool,
    /// It stands for a node that expanded before, and is called once more for the values of its subgraph alone.
    pub(crate) again: bool,
}

/// A wire of a graph.
#[derive(Clone, Copy, Debug)]
pub struct Wire {
    /// Which output of the producer.
    pub slot: u32,
    /// Whether the consumer asks for it itself.
    pub lazy: bool,
}

/// A checked workflow with its links resolved.
#[derive(Clone, Default)]
pub struct Graph {
    dag: DiGraph<GraphNode, Wire, u32>,
    ids: HashMap<NodeId, NodeIx>,
    outputs: Vec<NodeIx>,
    submitted: usize,
    prompt: Arc<Workflow>,
}

impl Graph {
    /// The node at a place.
    pub fn node(&self, ix: NodeIx) -> &GraphNode {
        &self.dag[ix]
    }

    /// The node of an id.
    pub fn find(&self, id: &NodeId) -> Option<NodeIx> {
        self.ids.get(id).copied()
    }

    /// The output nodes that are to run, in the order of the workflow.
    pub fn outputs(&self) -> &[NodeIx] {
        &self.outputs
    }

    /// How many nodes there are, those of expansions included.
    pub fn len(&self) -> usize {
        self.dag.node_count()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.dag.node_count() == 0
    }

    /// The nodes of the submitted workflow, in its order.
    pub fn submitted(&self) -> impl ExactSizeIterator<Item = NodeIx> + Clone + use<> {
        (0..self.submitted).map(NodeIx::new)
    }

    /// Every node, in the order in which they came.
    pub fn indices(&self) -> impl ExactSizeIterator<Item = NodeIx> + Clone + use<> {
        (0..self.dag.node_count()).map(NodeIx::new)
    }

    /// The workflow as submitted, coerced.
    pub fn prompt(&self) -> &Arc<Workflow> {
        &self.prompt
    }

    /// Takes the payloads out of a node that will not read them again.
    pub(crate) fn spend(&mut self, ix: NodeIx) {
        let node = &mut self.dag[ix];
        for input in &mut node.inputs {
            if let Source::Value(value) = &mut input.source
                && value.as_json().is_none()
            {
                *value = Value::plain(serde_json::Value::Null);
                node.spent = true;
            }
        }
    }

    pub(crate) fn node_mut(&mut self, ix: NodeIx) -> &mut GraphNode {
        &mut self.dag[ix]
    }

    /// Adds a copy of a node that expanded, to be called once more. No id leads to it.
    pub(crate) fn call_again(&mut self, of: NodeIx) -> NodeIx {
        let node = GraphNode { again: true, ..self.dag[of].clone() };
        let links: Vec<_> = node.inputs.iter().filter_map(|i| Some((i.link()?, i.lazy))).collect();
        let ix = self.dag.add_node(node);
        for ((from, slot), lazy) in links {
            self.dag.add_edge(from, ix, Wire { slot: slot as u32, lazy });
        }
        ix
    }

    /// Gives a spent node the values again that it carried.
    pub(crate) fn refill(&mut self, ix: NodeIx, values: &[(&str, Value)]) {
        let node = &mut self.dag[ix];
        for input in &mut node.inputs {
            if let Some((_, value)) = values.iter().find(|(name, _)| *name == &*input.name) {
                input.source = Source::Value(value.clone());
            }
        }
        node.spent = false;
    }

    /// The graph as petgraph's algorithms take it.
    pub fn dag(&self) -> &DiGraph<GraphNode, Wire, u32> {
        &self.dag
    }
}
