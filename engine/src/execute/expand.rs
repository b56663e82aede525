//! A node's place is taken by the subgraph that it returned.

use super::board::{Effects, Phase};
use super::calls::{Made, merge};
use super::run::{Run, Stop};
use crate::cache::{Known, element};
use crate::events::EventKind;
use crate::graph::{GrowthLimits, NodeIx, Source};
use crate::node::{Expansion, NodeError};
use crate::value::Value;

/// A node that expanded, until its subgraph has run.
pub(super) struct Pending {
    /// Its calls: values, or links into the subgraph.
    made: Vec<Made>,
    /// Output nodes of the subgraph: it is not done before they are.
    outputs: Vec<NodeIx>,
}

impl Pending {
    /// The nodes that it waits for.
    pub(super) fn links(&self) -> Vec<NodeIx> {
        let sources = self.made.iter().flat_map(|made| match made {
            Made::Sources(sources) => sources.as_slice(),
            Made::Values(_) | Made::Nothing => &[],
        });
        sources.filter_map(|source| link(source)).map(|(from, _)| from).chain(self.outputs.clone()).collect()
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
            new.extend_from_slice(&grown.nodes);
            made[*call] = Made::Sources(grown.outputs);
        }
        for made in &made {
            made.check(&class).map_err(refused)?;
        }
        self.board.fit();
        let outputs: Vec<NodeIx> =
            new.iter().copied().filter(|ix| self.board.graph.node(*ix).class.schema.output_node).collect();
        let pending = Pending { made, outputs: outputs.clone() };
        let wanted = pending.links();
        self.board.prepared.take_in(&self.board.graph, &new, &wanted, &known);
        self.emit(EventKind::NodeExpanded { node: self.node_ref(ix), nodes: new.len() });

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
        self.revise(ix, &mut effects);
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
        self.finish(ix, columns);
        self.expanded.remove(&ix);
        let mut effects = Effects::default();
        for (from, slot) in reads {
            self.board.end_use(from, slot, &mut effects);
        }
        self.settle(effects);
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
