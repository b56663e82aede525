//! A node of an expansion that is over has to run once more, but it gave back the values that it carried.
//!
//! Then the node that expanded is called once more too, for nothing but these values: its subgraph stands
//! already. Without a cache this is the price of not keeping every value that any later expansion might link to.

use super::board::{Board, Effects, Phase};
use super::run::{Run, Stop};
use crate::cache::{By, Known};
use crate::events::EventKind;
use crate::graph::{NodeIx, Source};
use crate::node::{Expansion, NodeError};
use crate::value::{Column, Value};
use crate::workflow::{InputValue, NodeId};

impl Board {
    /// Has the node called again that expanded into a spent one. Gives that call, if it has to be made possible.
    pub(super) fn revive(&mut self, ix: NodeIx) -> Option<NodeIx> {
        let (parent, _) = self.graph.node(ix).origin?;
        let waiting = |call: &NodeIx| matches!(self.state(*call).phase, Phase::Possible | Phase::Staged);
        let open = self.revivals.iter().find(|(call, (of, _))| *of == parent && waiting(call));
        let (call, new) = match open {
            Some((call, _)) => (*call, false),
            None => {
                let call = self.graph.call_again(parent);
                self.prepared.signer.extend(&self.graph, &Known::new());
                self.prepared.canon.alone(call);
                self.fit();
                (call, true)
            }
        };
        self.revivals.entry(call).or_insert((parent, Vec::new())).1.push(ix);
        self.state_mut(ix).revived_by = Some(call);
        new.then_some(call)
    }

    /// Nobody needs a spent node any more: the call that was to revive it may not be needed either. Gives the values
    /// that the call would have read.
    pub(super) fn let_rest(&mut self, ix: NodeIx) -> Vec<(NodeIx, usize)> {
        let Some(call) = self.state_mut(ix).revived_by.take() else { return Vec::new() };
        let Some((_, waiting)) = self.revivals.get_mut(&call) else { return Vec::new() };
        waiting.retain(|other| *other != ix);
        if !waiting.is_empty() || self.state(call).phase != Phase::Possible {
            return Vec::new();
        }
        self.revivals.remove(&call);
        self.state_mut(call).phase = Phase::Unknown;
        let mut reads: Vec<_> =
            self.graph.node(call).inputs.iter().filter_map(|input| input.link()).collect();
        reads.extend(self.let_rest(call));
        reads
    }
}

impl Run<'_> {
    /// Another node does the work of one: if that one is spent, it gets the values, else they are given back.
    pub(super) fn hand_over(&mut self, node: NodeIx, own: NodeIx) {
        let graph = &self.board.graph;
        if !graph.node(own).spent || self.board.state(own).phase != Phase::Done {
            return self.spend(node);
        }
        let values = graph.node(node).inputs.iter().filter_map(|input| match &input.source {
            Source::Value(value) if value.as_json().is_none() => Some((&*input.name, value.clone())),
            _ => None,
        });
        let values: Vec<(String, Value)> = values.map(|(name, value)| (name.to_owned(), value)).collect();
        let values: Vec<(&str, Value)> =
            values.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
        self.board.graph.refill(own, &values);
        if let Some(columns) = self.carried.remove(&node) {
            self.carried.entry(own).or_default().extend(columns);
        }
        self.board.graph.spend(node);
        self.dynamic.forget(&self.board.graph.node(node).info.id);
    }

    /// A node was called again: the spent nodes of its subgraph get their values.
    pub(super) fn refill(&mut self, call: NodeIx, expansions: &[(usize, Expansion)]) -> Result<(), Stop> {
        let Some((_, spent)) = self.board.revivals.remove(&call) else { return Ok(()) };
        let maker = self.node_ref(call);
        for ix in spent {
            let id = self.node_ref(ix).id.clone();
            let values = carried(maker.id.as_str(), id.as_str(), expansions).ok_or_else(|| {
                let message = format!(
                    "{} was called once more for the values that node `{id}` carried, and did not expand into that node \
                     again; link to a node outside of that expansion, or keep a cache",
                    maker.class
                );
                Stop::Failed(call, NodeError::failed(message))
            })?;
            let held = values.iter().filter(|(_, value)| value.as_json().is_none());
            let columns: Vec<Column> = held.map(|(_, value)| Column::One(value.clone())).collect();
            for column in &columns {
                self.engine.holdings.take(column, By::Job, &maker);
            }
            self.carried.entry(ix).or_default().extend(columns);
            self.board.graph.refill(ix, &values);
            self.board.state_mut(ix).revived_by = None;
        }
        self.executed.push(maker.id.clone());
        let seconds = self.begun.remove(&call).map_or(0.0, |begun| begun.elapsed().as_secs_f64());
        let (node, origin) = (maker.clone(), maker);
        self.emit(EventKind::NodeFinished { node, origin, ui: None, cached: false, seconds, bytes: 0 });
        self.spend(call);
        let mut effects = Effects::default();
        self.board.unfinished -= 1;
        let state = self.board.state_mut(call);
        state.phase = Phase::Done;
        let waiters = std::mem::take(&mut state.waiters);
        self.board.end_uses_of(call, &mut effects);
        self.settle(effects);
        self.wake(waiters);
        Ok(())
    }
}

/// The values that an expansion puts into the node of an id (`PARENT.CALL.0.ID`).
fn carried<'a>(
    parent: &str,
    id: &str,
    expansions: &'a [(usize, Expansion)],
) -> Option<Vec<(&'a str, Value)>> {
    let (call, inner) = id.strip_prefix(parent)?.strip_prefix('.')?.split_once('.')?;
    let (call, inner) = (call.parse::<usize>().ok()?, inner.strip_prefix("0.")?);
    let (_, expansion) = expansions.iter().find(|(number, _)| *number == call)?;
    let node = expansion.graph.nodes.get(&NodeId::from(inner))?;
    let values = node.inputs.iter().filter_map(|(name, input)| match input {
        InputValue::Value(value) => Some((name.as_str(), value.clone())),
        _ => None,
    });
    Some(values.collect())
}
