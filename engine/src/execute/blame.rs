//! Nodes that wait for each other: which ones, and whose fault it is.

use std::collections::HashMap;

use super::board::{Board, Phase};
use crate::graph::NodeIx;

impl Board {
    /// Nothing is ready, yet not all is done: the circle, and the node to blame. A circle that an
    /// expansion made is the fault of the node that expanded.
    pub(super) fn find_cycle(
        &self,
        pending: &dyn Fn(NodeIx) -> Vec<NodeIx>,
    ) -> Option<(Vec<NodeIx>, NodeIx)> {
        let mut path = vec![self.stuck().next()?];
        let mut places = HashMap::from([(path[0], 0)]);
        let cycle = loop {
            let at = *path.last()?;
            let next = self.waits_for(at, pending)?;
            if let Some(begin) = places.get(&next) {
                break path.split_off(*begin);
            }
            places.insert(next, path.len());
            path.push(next);
        };
        let deepest =
            cycle.iter().filter_map(|ix| self.graph.node(*ix).origin).max_by_key(|(_, depth)| *depth);
        let blamed = deepest.map_or(cycle[0], |(parent, _)| parent);
        Some((cycle, blamed))
    }

    /// One of the nodes that a stuck one waits for.
    fn waits_for(&self, ix: NodeIx, pending: &dyn Fn(NodeIx) -> Vec<NodeIx>) -> Option<NodeIx> {
        let state = self.state(ix);
        let undone = |ix: &NodeIx| self.state(*ix).phase != Phase::Done;
        if state.phase == Phase::Expanded {
            return pending(ix).into_iter().map(|ix| self.prepared.canon.of(ix)).find(undone);
        }
        let inputs = self.graph.node(ix).inputs.iter().zip(0u32..);
        inputs
            .filter(|(input, place)| !input.lazy || state.asked.contains(place))
            .filter_map(|(input, _)| input.link())
            .map(|(from, _)| self.prepared.canon.of(from))
            .find(undone)
    }
}
