//! A node's place is taken by the subgraph that it returned.

use super::board::{Effects, Phase};
use super::calls::{Made, merge};
use super::run::{Run, Stop};
use crate::cache::{By, Known, element};
use crate::events::EventKind;
use crate::graph::{GrowthLimits, NodeIx, Source};
use crate::node::{Expansion, NodeError};
use crate::validate::coerce_literals;
use crate::value::{Column, Value};

/// A node that expanded, until its subgraph has run.
pub(super) struct Pending {
    /// Its calls: values, or links into the subgraph.
    made: Vec<Made>,
    /// Output nodes of the subgraph: it is not done before they are.
    outputs: Vec<NodeIx>,
    /// All nodes of the subgraph.
    nodes: Vec<NodeIx>,
}

impl Pending {
    /// The nodes that it waits for.
    pub(super) fn links(&self) -> Vec<NodeIx> {
        let sources = self.made.iter().flat_map(|made| match made {
            Made::Sources(sources) => sources.as_slice(),
            Made::Values(_) | Made::Nothing => &[],
        });
        sources.filter_map(link).map(|(from, _)| from).chain(self.outputs.clone()).collect()
    }
}

fn link(source: &Source) -> Option<(NodeIx, usize)> {
    match source {
        Source::Wire { from, slot } | Source::Pair { from, slot, .. } => Some((*from, *slot)),
        Source::Value(_) => None,
    }
}

impl Run<'_> {
    /// Adds the subgraphs that some calls of a node returned, and stages what they need.
    pub(super) fn expand(
        &mut self,
        ix: NodeIx,
        mut made: Vec<Made>,
        expansions: &[(usize, Expansion)],
    ) -> Result<(), Stop> {
        let refused = |error: NodeError| Stop::Failed(ix, error);
        let class = self.board.graph.node(ix).class.clone();
        let known = self.known(ix);
        let limits =
            GrowthLimits { depth: self.engine.config.max_depth, nodes: self.engine.config.max_nodes };
        let mut new = Vec::new();
        for (call, expansion) in expansions {
            let grown = self.board.graph.grow(ix, *call, expansion, &self.engine.registry, limits);
            let grown = grown.map_err(|error| {
                refused(NodeError::failed(format!("{} {error}", class.name)).exception("ValueError"))
            })?;
            for &node in &grown.nodes {
                coerce_literals(self.board.graph.node_mut(node));
            }
            new.extend_from_slice(&grown.nodes);
            made[*call] = Made::Sources(grown.outputs);
        }
        for made in &made {
            made.check(&class).map_err(refused)?;
        }
        self.board.fit();
        let outputs: Vec<NodeIx> =
            new.iter().copied().filter(|ix| self.board.graph.node(*ix).class.schema.output_node).collect();
        let pending = Pending { made, outputs: outputs.clone(), nodes: new };
        let (new, wanted) = (&pending.nodes, pending.links());
        self.board.prepared.take_in(&self.board.graph, new, &wanted, &known);
        self.carry(ix, &pending);
        self.emit(EventKind::NodeExpanded { node: self.node_ref(ix), nodes: pending.nodes.len() });

        let mut effects = Effects::default();
        for output in &outputs {
            let own = self.board.canon(*output);
            self.board.state_mut(own).root = true;
            self.admit(own, &mut effects);
        }
        for (from, slot) in pending.reads() {
            if let Some(unknown) = self.board.add_use(from, slot) {
                self.admit(unknown, &mut effects);
            }
        }
        for from in &wanted {
            self.board.want(*from, &mut effects);
        }
        let mut waits = false;
        for from in &wanted {
            waits |= self.board.wait_for(ix, *from);
        }
        self.board.state_mut(ix).phase = Phase::Expanded;
        self.expanded.insert(ix, pending);
        self.revise(ix, &mut effects)?;
        // Only now: the subgraph may read what the node itself read.
        self.board.end_uses_of(ix, &mut effects);
        self.settle(effects);
        if !waits {
            self.gathered.push(ix);
        }
        Ok(())
    }

    /// The subgraph of a node has run: its outputs are the node's.
    pub(super) fn gather(&mut self, ix: NodeIx) {
        let Some(pending) = self.expanded.get(&ix) else { return };
        let class = self.board.graph.node(ix).class.clone();
        let columns = merge(&class, &pending.made, |source| {
            let (from, slot) = link(source)?;
            self.board.column(from, slot).cloned()
        });
        let reads = pending.reads();
        let nodes = pending.nodes.clone();
        self.finish(ix, columns);
        self.expanded.remove(&ix);
        // Whatever has not run by now was not needed.
        for ix in nodes.into_iter().chain([ix]) {
            self.spend(ix);
            // An equal node that was given the values once more, and has run or was not needed.
            let own = self.board.canon(ix);
            if own != ix && self.board.state(own).phase == Phase::Done {
                self.spend(own);
            }
        }
        let mut effects = Effects::default();
        for (from, slot) in reads {
            self.board.end_use(from, slot, &mut effects);
        }
        self.settle(effects);
    }

    /// Enters the values that a subgraph carries on in the ledger.
    fn carry(&mut self, ix: NodeIx, pending: &Pending) {
        let maker = self.node_ref(ix);
        let enter = |value: &Value| {
            let column = Column::One(value.clone());
            self.engine.holdings.take(&column, By::Job, &maker);
            column
        };
        let held = |value: &Value| value.as_json().is_none();
        for &node in &pending.nodes {
            let inputs = self.board.graph.node(node).inputs.iter();
            let values = inputs.filter_map(|input| match &input.source {
                Source::Value(value) if held(value) => Some(enter(value)),
                _ => None,
            });
            let values: Vec<Column> = values.collect();
            if !values.is_empty() {
                self.carried.insert(node, values);
                let own = self.board.canon(node);
                if own != node {
                    self.hand_over(node, own);
                }
            }
        }
        let promised = pending.made.iter().flat_map(|made| -> Vec<&Value> {
            match made {
                Made::Values(values) => values.iter().collect(),
                Made::Sources(sources) => sources
                    .iter()
                    .filter_map(|source| match source {
                        Source::Value(value) => Some(value),
                        Source::Wire { .. } | Source::Pair { .. } => None,
                    })
                    .collect(),
                Made::Nothing => Vec::new(),
            }
        });
        let promised: Vec<Column> = promised.filter(|value| held(value)).map(enter).collect();
        if !promised.is_empty() {
            // Its own inputs, if it stands in an expansion itself, are given back with these.
            self.carried.entry(ix).or_default().extend(promised);
        }
    }

    /// Gives back what a node carries: it will not be read again.
    pub(super) fn spend(&mut self, ix: NodeIx) {
        if let Some(columns) = self.carried.remove(&ix) {
            for column in &columns {
                self.engine.holdings.give(column, By::Job);
            }
            drop(columns);
            self.board.graph.spend(ix);
            self.dynamic.forget(&self.board.graph.node(ix).info.id);
        }
    }

    /// Where the payloads come from that a node was given, so that those that it carries on into
    /// its subgraph are signed by their own history.
    fn known(&self, ix: NodeIx) -> Known {
        let mut known = Known::new();
        for input in &self.board.graph.node(ix).inputs {
            let Some((from, slot)) = input.link() else { continue };
            let Some(column) = self.board.column(from, slot) else { continue };
            let made_by = self.board.prepared.signer.of(self.board.prepared.canon.of(from));
            for (place, value) in column.values().iter().enumerate() {
                if let Value::Payload(_) = value
                    && let Some(address) = value.address()
                {
                    known.entry(address).or_insert_with(|| element(made_by, slot, place));
                }
            }
        }
        known
    }
}

impl Pending {
    /// The values that it reads, once for each slot that is made from one.
    fn reads(&self) -> Vec<(NodeIx, usize)> {
        let sources = self.made.iter().flat_map(|made| match made {
            Made::Sources(sources) => sources.as_slice(),
            Made::Values(_) | Made::Nothing => &[],
        });
        sources.filter_map(link).collect()
    }
}
