//! Who waits for whom, and how many uses each value has left.
//!
//! A node goes from *unknown* to *possible* when something that may run links to it, and to
//! *staged* when something that will run needs it. Every link of a possible node counts as one
//! use of the value that it reads; the use ends when the node has run, or when nothing is left
//! that could ask for it. At zero uses a value is dropped.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use crate::graph::{Graph, NodeIx};
use crate::plan::Prepared;
use crate::value::Column;

/// How far a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) enum Phase {
    /// Nothing that may run links to it.
    #[default]
    Unknown,
    /// It may run: its links count as uses.
    Possible,
    /// It will run: it waits for its producers, or is ready.
    Staged,
    /// It runs, or thinks about its lazy inputs.
    Running,
    /// It expanded, and waits for what its outputs are made from.
    Expanded,
    /// It has run, or came from the cache.
    Done,
}

/// An output slot.
#[derive(Clone, Default)]
pub(super) struct Slot {
    pub(super) column: Option<Column>,
    pub(super) uses: u32,
}

/// Where a node stands.
#[derive(Default)]
pub(super) struct State {
    pub(super) phase: Phase,
    /// Producers that have not run yet.
    pub(super) waiting: u32,
    /// Nodes that wait for this one.
    pub(super) waiters: Vec<NodeIx>,
    pub(super) slots: Vec<Slot>,
    /// Lazy inputs that were asked for, by place.
    pub(super) asked: Vec<u32>,
    /// Equal nodes that are to be told when it is done.
    pub(super) equal: Vec<NodeIx>,
    /// As an equal node: it was announced.
    pub(super) announced: bool,
    /// Its outputs came from the cache.
    pub(super) from_cache: bool,
    /// Wanted for its effect: it runs even if nobody reads its outputs.
    pub(super) root: bool,
    /// As a spent node that is to run once more: the call that gives it its values again.
    pub(super) revived_by: Option<NodeIx>,
    /// Its place in the order; what a revision adds comes before what was there.
    pub(super) rank: u64,
}

/// What a change of the board brings about; the run acts on it.
#[derive(Default)]
pub(super) struct Effects {
    /// Values whose last use has ended.
    pub(super) dropped: Vec<(NodeIx, usize, Column)>,
    /// Nodes that have become possible: the cache may have them.
    pub(super) admitted: Vec<NodeIx>,
    /// Nodes that have become part of the work.
    pub(super) staged: Vec<NodeIx>,
    /// Equal nodes whose work is done already.
    pub(super) settled: Vec<(NodeIx, NodeIx)>,
    /// Staged nodes that wait for nobody.
    free: Vec<NodeIx>,
}

/// The state of every node of a run.
pub(super) struct Board {
    pub(super) graph: Graph,
    pub(super) prepared: Prepared,
    states: Vec<State>,
    ready: BinaryHeap<Reverse<(u64, NodeIx)>>,
    ready_async: BinaryHeap<Reverse<(u64, NodeIx)>>,
    /// Revisions so far: what they add runs before what was there.
    revision: u32,
    /// Staged nodes that are not done.
    pub(super) unfinished: usize,
    /// Repeated calls of nodes that expanded: who is called again, and the spent nodes that wait for it.
    pub(super) revivals: HashMap<NodeIx, (NodeIx, Vec<NodeIx>)>,
}

impl Board {
    pub(super) fn new(graph: Graph, prepared: Prepared) -> Self {
        let mut board = Self {
            graph,
            prepared,
            states: Vec::new(),
            ready: BinaryHeap::new(),
            ready_async: BinaryHeap::new(),
            revision: 0,
            unfinished: 0,
            revivals: HashMap::new(),
        };
        board.fit();
        board
    }

    /// Makes room for the nodes that the graph has gained.
    pub(super) fn fit(&mut self) {
        self.states.resize_with(self.graph.len(), State::default);
    }

    pub(super) fn state(&self, ix: NodeIx) -> &State {
        &self.states[ix.index()]
    }

    pub(super) fn state_mut(&mut self, ix: NodeIx) -> &mut State {
        &mut self.states[ix.index()]
    }

    /// The node that does the work of `ix`.
    pub(super) fn canon(&mut self, ix: NodeIx) -> NodeIx {
        self.prepared.canon.assign(ix, &self.prepared.signer)
    }

    fn slot_mut(&mut self, ix: NodeIx, slot: usize) -> &mut Slot {
        let slots = &mut self.states[ix.index()].slots;
        if slots.len() <= slot {
            slots.resize(slot + 1, Slot::default());
        }
        &mut slots[slot]
    }

    /// The column of a link.
    pub(super) fn column(&self, ix: NodeIx, slot: usize) -> Option<&Column> {
        let ix = self.prepared.canon.of(ix);
        self.states[ix.index()].slots.get(slot)?.column.as_ref()
    }

    /// Makes a node possible, and all that it links to. `lookup` gives what the cache has of a
    /// node: such a one is done, and what it was made from is not looked at.
    pub(super) fn admit(
        &mut self,
        ix: NodeIx,
        effects: &mut Effects,
        lookup: &mut dyn FnMut(&mut Self, NodeIx) -> bool,
    ) {
        let mut open = vec![self.canon(ix)];
        while let Some(ix) = open.pop() {
            if self.states[ix.index()].phase != Phase::Unknown {
                continue;
            }
            effects.admitted.push(ix);
            if lookup(self, ix) {
                let state = &mut self.states[ix.index()];
                state.phase = Phase::Done;
                state.from_cache = true;
                continue;
            }
            self.states[ix.index()].phase = Phase::Possible;
            if self.graph.node(ix).spent {
                open.extend(self.revive(ix));
            }
            for place in 0..self.graph.node(ix).inputs.len() {
                if let Some((from, slot)) = self.graph.node(ix).inputs[place].link() {
                    open.extend(self.add_use(from, slot));
                }
            }
        }
    }

    /// Counts one more use of a value. Gives its maker if that has to be made possible first.
    pub(super) fn add_use(&mut self, from: NodeIx, slot: usize) -> Option<NodeIx> {
        let from = self.canon(from);
        self.slot_mut(from, slot).uses += 1;
        let state = &mut self.states[from.index()];
        if state.phase == Phase::Done && state.slots[slot].column.is_none() {
            // It was made and dropped before anyone knew of this use: it has to run once more.
            state.phase = Phase::Unknown;
            state.from_cache = false;
            state.asked.clear();
        }
        (state.phase == Phase::Unknown).then_some(from)
    }

    /// Ends one use of a value.
    pub(super) fn end_use(&mut self, from: NodeIx, slot: usize, effects: &mut Effects) {
        let mut open = vec![(from, slot)];
        while let Some((from, slot)) = open.pop() {
            let from = self.canon(from);
            let held = self.slot_mut(from, slot);
            held.uses = held.uses.saturating_sub(1);
            if held.uses > 0 {
                continue;
            }
            if let Some(column) = held.column.take() {
                effects.dropped.push((from, slot, column));
            }
            let state = &mut self.states[from.index()];
            if state.phase == Phase::Possible && !state.root && state.slots.iter().all(|slot| slot.uses == 0)
            {
                // Nobody is left who could ask for it.
                state.phase = Phase::Unknown;
                open.extend(self.graph.node(from).inputs.iter().filter_map(|input| input.link()));
                open.extend(self.let_rest(from));
            }
        }
    }

    /// Ends the uses of a node that has run.
    pub(super) fn end_uses_of(&mut self, ix: NodeIx, effects: &mut Effects) {
        for place in 0..self.graph.node(ix).inputs.len() {
            if let Some((from, slot)) = self.graph.node(ix).inputs[place].link() {
                self.end_use(from, slot, effects);
            }
        }
    }

    /// Makes a possible node part of the work, and all that it needs.
    pub(super) fn want(&mut self, ix: NodeIx, effects: &mut Effects) {
        let mut open = vec![ix];
        while let Some(ix) = open.pop() {
            let own = self.canon(ix);
            if own != ix && !self.states[own.index()].from_cache && !self.states[ix.index()].announced {
                self.states[ix.index()].announced = true;
                match self.states[own.index()].phase {
                    Phase::Done => effects.settled.push((ix, own)),
                    _ => self.states[own.index()].equal.push(ix),
                }
                let strict = self.graph.node(ix).inputs.iter().filter(|input| !input.lazy);
                open.extend(strict.filter_map(|input| input.link()).map(|(from, _)| from));
            }
            if self.states[own.index()].phase != Phase::Possible {
                continue;
            }
            self.states[own.index()].phase = Phase::Staged;
            self.unfinished += 1;
            effects.staged.push(own);
            for place in 0..self.graph.node(own).inputs.len() {
                let input = &self.graph.node(own).inputs[place];
                if let Some((from, _)) = input.link().filter(|_| !input.lazy) {
                    open.push(from);
                    self.wait_for(own, from);
                }
            }
            if let Some(call) = self.states[own.index()].revived_by {
                open.push(call);
                self.wait_for(own, call);
            }
            if self.states[own.index()].waiting == 0 {
                effects.free.push(own);
            }
        }
    }

    /// Has a node wait for another one, unless that is done. True if it waits.
    pub(super) fn wait_for(&mut self, ix: NodeIx, from: NodeIx) -> bool {
        let from = self.canon(from);
        if self.states[from.index()].phase == Phase::Done {
            return false;
        }
        self.states[from.index()].waiters.push(ix);
        self.states[ix.index()].waiting += 1;
        true
    }

    /// Gives what was staged its place in the order, and lets go what waits for nobody.
    /// Gives the peak that the new part adds.
    pub(super) fn rank(&mut self, order: &[NodeIx], effects: &mut Effects) {
        let base = u64::from(u32::MAX - self.revision) << 32;
        for (ix, place) in order.iter().zip(0u64..) {
            self.states[ix.index()].rank = base | place;
        }
        self.revision += 1;
        for ix in std::mem::take(&mut effects.free) {
            self.make_ready(ix);
        }
    }

    pub(super) fn make_ready(&mut self, ix: NodeIx) {
        let entry = Reverse((self.states[ix.index()].rank, ix));
        match self.graph.node(ix).class.schema.work {
            crate::schema::Work::Async => self.ready_async.push(entry),
            _ => self.ready.push(entry),
        }
    }

    /// The next node that waits on the world rather than on the processor.
    pub(super) fn next_async(&mut self) -> Option<NodeIx> {
        self.ready_async.pop().map(|Reverse((_, ix))| ix)
    }

    /// The next node to compute.
    pub(super) fn next(&mut self) -> Option<NodeIx> {
        self.ready.pop().map(|Reverse((_, ix))| ix)
    }

    /// Every value that is still there, at the end of a run.
    pub(super) fn drain(&mut self) -> Vec<Column> {
        let slots = self.states.iter_mut().flat_map(|state| &mut state.slots);
        slots.filter_map(|slot| slot.column.take()).collect()
    }

    /// Nodes that are part of the work and not done.
    pub(super) fn stuck(&self) -> impl Iterator<Item = NodeIx> {
        self.graph
            .indices()
            .filter(|ix| matches!(self.states[ix.index()].phase, Phase::Staged | Phase::Expanded))
    }
}
