//! A subgraph takes a node's place.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Graph, NodeIx, Source};
use crate::node::{Expansion, NodeRef};
use crate::registry::Registry;
use crate::workflow::{InputValue, Link, NodeId};

/// The nodes that an expansion added.
#[derive(Debug)]
pub struct Grown {
    /// Their places, in the order of the subgraph.
    pub nodes: Vec<NodeIx>,
    /// What stands for each output of the node that expanded.
    pub outputs: Vec<Source>,
}

/// Why an expansion was refused. The node that expanded is to blame.
#[derive(Debug, thiserror::Error)]
pub enum ExpandError {
    /// A class that this process does not know.
    #[error("expanded into a node `{id}` of class `{class}`, which does not exist")]
    UnknownClass {
        /// The node in the subgraph.
        id: NodeId,
        /// Its class.
        class: String,
    },
    /// A link into nothing.
    #[error("expanded into a subgraph in which {place} links to {link:?}, which does not exist")]
    BadLink {
        /// Where the link stands.
        place: String,
        /// The link.
        link: Link,
    },
    /// Expansions inside of expansions inside of …
    #[error(
        "expansions are nested {depth} deep, more than the limit of {limit}; if the loop is meant to run that long, \
         raise the limit with --max-depth"
    )]
    TooDeep {
        /// How deep.
        depth: u32,
        /// How deep is allowed.
        limit: u32,
    },
    /// More nodes than are allowed.
    #[error(
        "expanded into {added} nodes on top of {there}, more than the limit of {limit} nodes a job; if the \
         loop is meant to be that large, raise the limit with --max-job-nodes"
    )]
    TooLarge {
        /// Nodes of the subgraph.
        added: usize,
        /// Nodes that were there.
        there: usize,
        /// How many are allowed.
        limit: usize,
    },
}

/// Limits on what expansions may add.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GrowthLimits {
    pub(crate) depth: u32,
    pub(crate) nodes: usize,
}

impl Graph {
    /// Adds a subgraph that call number `call` of a node returned. Ids become
    /// `PARENT.CALL.0.ID`; links to ids of the subgraph stay inside, others lead to nodes that
    /// were there before.
    pub(crate) fn grow(
        &mut self,
        parent: NodeIx,
        call: usize,
        expansion: &Expansion,
        registry: &Registry,
        limits: GrowthLimits,
    ) -> Result<Grown, ExpandError> {
        let depth = self.dag[parent].origin.map_or(0, |(_, depth)| depth) + 1;
        if depth > limits.depth {
            return Err(ExpandError::TooDeep { depth, limit: limits.depth });
        }
        let (added, there) = (expansion.graph.nodes.len(), self.len());
        if there + added > limits.nodes {
            return Err(ExpandError::TooLarge { added, there, limit: limits.nodes });
        }
        let classes = expansion.graph.nodes.iter().map(|(id, node)| {
            let class = node.class_type.as_deref().unwrap_or("");
            registry
                .get(class)
                .ok_or_else(|| ExpandError::UnknownClass { id: id.clone(), class: class.to_owned() })
        });
        let classes: Vec<_> = classes.collect::<Result<_, _>>()?;

        let above = self.dag[parent].info.clone();
        let mut inner: HashMap<&NodeId, NodeIx> = HashMap::with_capacity(added);
        let mut nodes = Vec::with_capacity(added);
        for ((id, node), class) in expansion.graph.nodes.iter().zip(classes) {
            // A copy may stand for another node than its parent: loops show the original.
            let display = match node.extra.get("override_display_id").and_then(|id| id.as_str()) {
                Some(id) => {
                    let shown = NodeId::from(id);
                    self.find(&shown).map_or(shown, |ix| self.dag[ix].info.display.clone())
                }
                None => above.display.clone(),
            };
            let info = NodeRef {
                id: NodeId::from(format!("{}.{call}.0.{id}", above.id)),
                display,
                parent: Some(above.id.clone()),
                real: above.real.clone(),
                class: class.name.clone(),
            };
            let ix = self.add(Arc::new(info), class.clone(), Some((parent, depth)));
            inner.insert(id, ix);
            nodes.push(ix);
        }
        let resolve = |graph: &Self, input: &InputValue| match input {
            InputValue::Link(link) => inner.get(&link.node).copied().or_else(|| graph.find(&link.node)),
            other => graph.find(&other.link()?.node),
        };
        for (&ix, (id, node)) in nodes.iter().zip(&expansion.graph.nodes) {
            self.connect(ix, node, resolve);
            if self.dag[ix].broken {
                let bad = node.inputs.values().find_map(|input| {
                    let link = input.link()?;
                    self.dangles(resolve(self, input), link.slot).then_some(link)
                });
                let link = bad.cloned().unwrap_or_else(|| Link::new("", 0));
                return Err(ExpandError::BadLink { place: format!("node `{id}`"), link });
            }
        }
        let outputs = expansion.outputs.iter().enumerate().map(|(slot, output)| match output {
            InputValue::Link(link) | InputValue::Outside(link) => match resolve(self, output) {
                Some(from) if !self.dangles(Some(from), link.slot) => {
                    Ok(Source::Wire { from, slot: link.slot })
                }
                _ => Err(ExpandError::BadLink { place: format!("output {slot}"), link: link.clone() }),
            },
            InputValue::Value(value) => Ok(Source::Value(value.clone())),
            InputValue::Literal(json) => Ok(Source::Value(json.clone().into())),
            InputValue::BadLink(items) => Ok(Source::Value(serde_json::Value::Array(items.clone()).into())),
        });
        let outputs = outputs.collect::<Result<_, _>>()?;
        Ok(Grown { nodes, outputs })
    }

    fn dangles(&self, from: Option<NodeIx>, slot: usize) -> bool {
        from.is_none_or(|from| slot >= self.dag[from].class.schema.outputs.len())
    }
}
