//! Lazy inputs: a node is asked what it needs, and waits for it.

use super::board::{Effects, Phase};
use super::calls::calls;
use super::invoke::{self, Reply, Said};
use super::run::{Run, Stop};
use crate::events::EventKind;
use crate::graph::NodeIx;
use crate::node::NodeError;
use crate::schema::Work;

/// What came of asking a node for its lazy inputs.
pub(super) enum Asked {
    /// It needs no more.
    Nothing,
    /// It needs some, and they are there.
    There,
    /// It waits for some.
    Deferred,
}

impl Run<'_> {
    /// Asks a node which lazy inputs it needs until it needs no more.
    pub(super) fn think(&mut self, ix: NodeIx) -> Result<(), Stop> {
        loop {
            if self.open_lazy(ix).next().is_none() {
                return self.execute(ix);
            }
            let context = self.context(ix);
            let class = self.board.graph.node(ix).class.clone();
            let calls = calls(&class, &self.columns(ix));
            if class.schema.work == Work::Async {
                let asked = invoke::needs_async(class.node, context, calls);
                let task = async move { Reply { ix, said: Said::Needs(asked.await) } };
                self.waiting.insert(ix, self.tasks.spawn(task));
                return Ok(());
            }
            let names =
                invoke::needs(&*class.node, &context, &calls).map_err(|error| self.failed(ix, error))?;
            drop(calls);
            match self.asked(ix, &names)? {
                Asked::Nothing => return self.execute(ix),
                Asked::There => {}
                Asked::Deferred => return Ok(()),
            }
        }
    }

    /// Lazy links that were not asked for, by place.
    fn open_lazy(&self, ix: NodeIx) -> impl Iterator<Item = usize> {
        let asked = &self.board.state(ix).asked;
        let inputs = self.board.graph.node(ix).inputs.iter().enumerate();
        inputs
            .filter(|(_, input)| input.lazy && input.link().is_some())
            .map(|(place, _)| place)
            .filter(|place| !asked.contains(&(*place as u32)))
    }

    /// Stages the lazy inputs that a node named.
    pub(super) fn asked(&mut self, ix: NodeIx, names: &[String]) -> Result<Asked, Stop> {
        let graph = &self.board.graph;
        let node = graph.node(ix);
        let there = |name: &str| {
            node.class.schema.find(name).is_some() || node.inputs.iter().any(|input| *input.name == *name)
        };
        if let Some(unknown) = names.iter().find(|name| !there(name)) {
            let message = format!(
                "asks for an input `{unknown}` that it neither declares nor has: a defect of the node"
            );
            return Err(self.failed(ix, NodeError::failed(message)));
        }
        let named = self.open_lazy(ix).filter(|place| {
            let name = &*graph.node(ix).inputs[*place].name;
            names.iter().any(|wanted| wanted == name)
        });
        let places: Vec<usize> = named.collect();
        if places.is_empty() {
            return Ok(Asked::Nothing);
        }
        let mut effects = Effects::default();
        let mut wants = Vec::new();
        for place in places {
            self.board.state_mut(ix).asked.push(place as u32);
            let input = &self.board.graph.node(ix).inputs[place];
            let name = input.name.to_string();
            if let Some((from, _)) = input.link() {
                self.board.want(from, &mut effects);
                if self.board.wait_for(ix, from) {
                    wants.push(name);
                }
            }
        }
        if wants.is_empty() {
            self.settle(effects);
            return Ok(Asked::There);
        }
        self.board.state_mut(ix).phase = Phase::Staged;
        self.emit(EventKind::NodeDeferred { node: self.node_ref(ix), wants });
        self.revise(ix, &mut effects)?;
        self.settle(effects);
        Ok(Asked::Deferred)
    }
}
