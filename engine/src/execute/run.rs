//! One run of a plan: begins what is ready, takes what comes back, until all is done.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use serde_json::{Map, Value as Json};
use tokio::task::{AbortHandle, JoinSet};

use super::board::{Board, Effects, Phase, Slot};
use super::calls::{Call, Columns, Made, calls, gather, merge, merge_ui};
use super::dynamic::DynPrompt;
use super::expand::Pending;
use super::invoke::{self, Given, Reply, Said};
use super::lazy::Asked;
use super::weights::Ahead;
use super::{Engine, RunError, RunReport};
use crate::cache::{By, Entry};
use crate::events::EventKind;
use crate::graph::NodeIx;
use crate::node::{Context, NodeError, NodeRef, Outputs, RunInfo, Sketch};
use crate::schema::{Hidden, Work};
use crate::validate::objection;
use crate::value::Column;
use crate::workflow::NodeId;

/// How long light nodes may run one after the other before others get the thread.
const SLICE: Duration = Duration::from_millis(2);

/// Why a run ends before its end.
pub(super) enum Stop {
    /// It was asked to.
    Cancelled(Option<NodeIx>),
    /// A node failed.
    Failed(NodeIx, NodeError),
    /// Nodes wait for each other.
    Cycle,
}

pub(super) struct Run<'e> {
    pub(super) engine: &'e Engine,
    pub(super) info: Arc<RunInfo>,
    pub(super) board: Board,
    /// Expanded nodes, and what will become of them.
    pub(super) expanded: HashMap<NodeIx, Pending>,
    pub(super) dynamic: DynPrompt,
    pub(super) tasks: JoinSet<Reply>,
    /// Weights that later steps will use, and those that are read ahead for them.
    pub(super) ahead: Ahead,
    /// Asynchronous nodes under way: these can be dropped where they wait.
    pub(super) waiting: HashMap<NodeIx, AbortHandle>,
    /// The node on the compute thread.
    pub(super) computing: Option<NodeIx>,
    pub(super) begun: HashMap<NodeIx, Instant>,
    uis: HashMap<NodeIx, Arc<Map<String, Json>>>,
    origins: HashMap<NodeIx, Arc<NodeRef>>,
    pub(super) executed: Vec<NodeId>,
    /// Values that nodes of expansions carry, by node; and those that an expanded node will give.
    pub(super) carried: HashMap<NodeIx, Vec<Column>>,
    /// Expanded nodes whose subgraph has run.
    pub(super) gathered: Vec<NodeIx>,
}

impl<'e> Run<'e> {
    pub(super) fn new(engine: &'e Engine, info: Arc<RunInfo>, board: Board) -> Self {
        Self {
            engine,
            info,
            board,
            expanded: HashMap::new(),
            dynamic: DynPrompt::default(),
            tasks: JoinSet::new(),
            ahead: Ahead::default(),
            waiting: HashMap::new(),
            computing: None,
            begun: HashMap::new(),
            uis: HashMap::new(),
            origins: HashMap::new(),
            executed: Vec::new(),
            carried: HashMap::new(),
            gathered: Vec::new(),
        }
    }

    pub(super) fn emit(&self, kind: EventKind) {
        self.info.residency.sample();
        self.info.sink.emit(crate::events::Event { job: self.info.job.clone(), kind });
    }

    pub(super) fn node_ref(&self, ix: NodeIx) -> Arc<NodeRef> {
        self.board.graph.node(ix).info.clone()
    }

    /// Runs to the end, and leaves nothing behind but what the cache holds.
    pub(super) async fn go(mut self) -> Result<RunReport, RunError> {
        let ended = self.walk().await;
        if ended.is_err() {
            self.info.cancel.cancel();
            for (_, task) in self.waiting.drain() {
                task.abort();
            }
            // What computes sees the flag at its next check; its memory is its own until then.
            while self.tasks.join_next().await.is_some() {}
        }
        self.ahead.end().await;
        let ended = ended.map_err(|stop| self.stopped(stop));
        self.clean_up();
        match ended {
            Ok(()) => {
                self.emit(EventKind::Succeeded);
                let executed = std::mem::take(&mut self.executed);
                let ledger_peak = self.info.residency.ledger().peak();
                let predicted_peak = self.board.prepared.plan.predicted_peak;
                Ok(RunReport { executed, predicted_peak, ledger_peak })
            }
            Err(error) => {
                match &error {
                    RunError::Failed(error) => self.emit(EventKind::Failed { error: error.clone() }),
                    RunError::Interrupted { node, executed } => {
                        self.emit(EventKind::Interrupted { node: node.clone(), executed: executed.clone() })
                    }
                }
                Err(error)
            }
        }
    }

    async fn walk(&mut self) -> Result<(), Stop> {
        self.open();
        if let Some((node, refusal)) = &self.board.prepared.plan.refusal {
            let steps = &self.board.prepared.plan.steps;
            if let Some(step) = steps.iter().find(|step| step.node == *node) {
                return Err(Stop::Failed(step.ix, NodeError::memory(refusal.to_string())));
            }
        }
        let mut slice = Instant::now();
        loop {
            if self.info.cancel.is_cancelled() {
                let at = self.under_way().or_else(|| self.board.next());
                return Err(Stop::Cancelled(at));
            }
            if let Some(ix) = self.gathered.pop() {
                self.gather(ix);
            } else if let Some(ix) = self.board.next_async() {
                self.begin(ix)?;
            } else if self.computing.is_none()
                && let Some(ix) = self.board.next()
            {
                self.begin(ix)?;
                while let Some(reply) = self.tasks.try_join_next() {
                    self.take(reply)?;
                }
                if slice.elapsed() > SLICE {
                    tokio::task::yield_now().await;
                    slice = Instant::now();
                }
            } else if self.tasks.is_empty() {
                return if self.board.unfinished == 0 { Ok(()) } else { Err(Stop::Cycle) };
            } else {
                let stop = self.info.cancel.clone();
                tokio::select! {
                    Some(reply) = self.tasks.join_next() => self.take(reply)?,
                    () = self.ahead.one_is_there() => self.read_ahead(),
                    () = stop.cancelled() => {}
                }
                slice = Instant::now();
            }
        }
    }

    /// Says what is cached, and stages what the outputs need.
    fn open(&mut self) {
        let steps = self.board.prepared.plan.steps.len();
        let predicted_peak = self.board.prepared.plan.predicted_peak;
        self.ahead.promised = predicted_peak;
        self.emit(EventKind::Started { steps, predicted_peak });
        let cached = self.board.prepared.plan.cached.iter().map(|node| node.id.clone()).collect();
        self.emit(EventKind::Cached { nodes: cached });
        let mut effects = Effects::default();
        let outputs = self.board.graph.outputs().to_vec();
        for &ix in &outputs {
            let own = self.board.canon(ix);
            self.board.state_mut(own).root = true;
            self.admit(ix, &mut effects);
        }
        for &ix in &outputs {
            let own = self.board.canon(ix);
            if self.board.state(own).from_cache {
                self.say_cached(ix, own);
            }
            self.board.want(ix, &mut effects);
        }
        let order: Vec<NodeIx> = self.board.prepared.plan.steps.iter().map(|step| step.ix).collect();
        self.board.rank(&order, &mut effects);
        self.look_ahead(&order);
        self.settle(effects);
    }

    /// Makes a node possible; the cache's values are taken up on the way.
    pub(super) fn admit(&mut self, ix: NodeIx, effects: &mut Effects) {
        let Self { board, engine, uis, origins, .. } = self;
        board.admit(ix, effects, &mut |board, ix| {
            let signature = board.prepared.signer.of(ix);
            let mut cache = engine.cache.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(entry) = cache.get(&signature) else { return false };
            let state = board.state_mut(ix);
            state.slots.resize(entry.outputs.len().max(state.slots.len()), Slot::default());
            for (slot, column) in state.slots.iter_mut().zip(entry.outputs.iter()) {
                if slot.column.is_none() {
                    engine.holdings.take(column, By::Job, &entry.origin);
                    slot.column = Some(column.clone());
                }
            }
            if let Some(ui) = entry.ui {
                uis.insert(ix, ui);
            }
            origins.insert(ix, entry.origin);
            true
        });
    }

    fn under_way(&self) -> Option<NodeIx> {
        self.computing.or_else(|| self.waiting.keys().min().copied())
    }

    /// Begins a node: asks it for its lazy inputs if it has some, then runs it.
    fn begin(&mut self, ix: NodeIx) -> Result<(), Stop> {
        self.board.state_mut(ix).phase = Phase::Running;
        self.begun.insert(ix, Instant::now());
        self.emit(EventKind::NodeStarted { node: self.node_ref(ix) });
        self.think(ix)
    }

    /// Has what was staged planned, and says so.
    ///
    /// # Errors
    /// Where a node that was staged cannot run as it is: that is the fault of the node that expanded into it.
    pub(super) fn revise(&mut self, cause: NodeIx, effects: &mut Effects) -> Result<(), Stop> {
        for &ix in &effects.staged {
            self.check(cause, ix)?;
        }
        let (order, added_peak) = if effects.staged.is_empty() {
            (Vec::new(), 0)
        } else {
            self.board.prepared.revise(&self.board.graph, &effects.staged)
        };
        let predicted_peak = self.info.residency.ledger().total().saturating_add(added_peak);
        self.ahead.promised = self.ahead.promised.max(predicted_peak);
        let node = self.node_ref(cause);
        self.emit(EventKind::PlanRevised { node, added: order.len(), predicted_peak });
        self.board.rank(&order, effects);
        self.look_ahead(&order);
        Ok(())
    }

    /// Checks a node as validation checks those of a workflow.
    fn check(&self, cause: NodeIx, ix: NodeIx) -> Result<(), Stop> {
        let Some(objection) = objection(&self.board.graph, ix) else { return Ok(()) };
        let node = self.board.graph.node(ix);
        let blamed = node.origin.map_or(cause, |(parent, _)| parent);
        let message = format!(
            "{} expanded into a subgraph whose node `{}` ({}) cannot run: {objection}",
            self.board.graph.node(blamed).class.name,
            node.info.id,
            node.class.name
        );
        Err(Stop::Failed(blamed, NodeError::failed(message).exception("ValueError")))
    }

    pub(super) fn columns(&self, ix: NodeIx) -> Columns {
        let asked = &self.board.state(ix).asked;
        gather(&self.board.graph.node(ix).inputs, |place, input| {
            if input.lazy && !asked.contains(&(place as u32)) {
                return None;
            }
            let (from, slot) = input.link()?;
            self.board.column(from, slot).cloned()
        })
    }

    pub(super) fn context(&mut self, ix: NodeIx) -> Context {
        let node = self.board.graph.node(ix);
        let wants = node.class.schema.hidden.iter().any(|(_, hidden)| *hidden == Hidden::DynPrompt);
        let dynamic = wants.then(|| self.dynamic.workflow(&self.board.graph));
        let savings = self.board.prepared.savings_of(ix);
        Context::new(self.info.clone(), self.node_ref(ix), dynamic).with_savings(savings)
    }

    pub(super) fn execute(&mut self, ix: NodeIx) -> Result<(), Stop> {
        if self.board.graph.node(ix).spent {
            let message = "its outputs are gone, and it cannot make them again because it stood in an \
                           expansion that is over; link to a node outside of that expansion, or keep a cache";
            return Err(Stop::Failed(ix, NodeError::failed(message)));
        }
        self.reached(ix);
        let context = self.context(ix);
        let class = self.board.graph.node(ix).class.clone();
        let columns = self.columns(ix);
        let read: u64 = columns.iter().filter_map(|(_, column)| Some(column.as_ref()?.bytes())).sum();
        let calls = calls(&class, &columns);
        drop(columns);
        // Where every call is blocked, the node's own code has no part in it.
        let work = if calls.iter().any(|call| matches!(call, Call::Run(_))) {
            class.schema.work
        } else {
            Work::Light
        };
        let forecast = self.board.prepared.forecasts.of(ix);
        let made: u64 = forecast.map_or(0, |forecast| forecast.outputs.iter().map(Sketch::bytes).sum());
        // Tensors between inputs and outputs are taken without asking: most nodes have no more than this of them.
        let around = read.saturating_add(made).saturating_mul(2);
        match work {
            Work::Light => {
                let room = context.residency().system_room(&class.name, around);
                let given = room.and_then(|()| invoke::run(&*class.node, &context, calls));
                self.ran(ix, given)
            }
            Work::Async => {
                let task = invoke::run_async(class.node, context, calls);
                let mut task = Box::pin(async move { Reply { ix, said: Said::Done(task.await) } });
                // The node gets to where it first waits before any other begins: what it says on the way comes
                // before them. The task that takes it over polls it again, so this waker is never needed.
                let mut first = std::task::Context::from_waker(std::task::Waker::noop());
                if let Poll::Ready(reply) = task.as_mut().poll(&mut first) {
                    self.waiting.insert(ix, self.tasks.spawn(std::future::ready(reply)));
                    return Ok(());
                }
                self.waiting.insert(ix, self.tasks.spawn(task));
                Ok(())
            }
            Work::Compute => {
                self.info.residency.step(&self.node_ref(ix), &self.info.job);
                let device = self.engine.device.clone();
                self.computing = Some(ix);
                self.ahead.step_begins();
                self.read_ahead();
                self.tasks.spawn(async move {
                    let stop = context.cancel().clone();
                    let turn = tokio::select! {
                        turn = device.acquire_owned() => turn.ok(),
                        () = stop.cancelled() => None,
                    };
                    let work = move || {
                        let given = match &turn {
                            Some(_) => context
                                .residency()
                                .system_room(&class.name, around)
                                .and_then(|()| invoke::run(&*class.node, &context, calls)),
                            None => Err(NodeError::cancelled()),
                        };
                        drop(turn);
                        given
                    };
                    let said = tokio::task::spawn_blocking(work).await;
                    let said = said.unwrap_or_else(|_| Err(NodeError::cancelled()));
                    Reply { ix, said: Said::Done(said) }
                });
                Ok(())
            }
        }
    }

    /// Takes what a node that ran elsewhere answers.
    fn take(&mut self, reply: Result<Reply, tokio::task::JoinError>) -> Result<(), Stop> {
        // Only a task that was aborted gives no reply, and that happens at the end of a run.
        let Ok(Reply { ix, said }) = reply else { return Ok(()) };
        self.waiting.remove(&ix);
        if self.computing == Some(ix) {
            self.computing = None;
            self.ahead.step_ends();
        }
        match said {
            Said::Done(given) => self.ran(ix, given),
            Said::Needs(names) => {
                let names = names.map_err(|error| self.failed(ix, error))?;
                match self.asked(ix, &names)? {
                    Asked::Nothing => self.execute(ix),
                    Asked::There => self.think(ix),
                    Asked::Deferred => Ok(()),
                }
            }
        }
    }

    /// A node has run: its outputs are there, or a subgraph that will make them.
    fn ran(&mut self, ix: NodeIx, given: Result<Vec<Given>, NodeError>) -> Result<(), Stop> {
        self.used(ix);
        let given = given.map_err(|error| self.failed(ix, error))?;
        let class = self.board.graph.node(ix).class.clone();
        let mut uis = Vec::new();
        let mut made = Vec::with_capacity(given.len());
        let mut expansions = Vec::new();
        for (call, given) in given.into_iter().enumerate() {
            match given {
                Given::Blocked(why) => {
                    if let Some(message) = why {
                        self.emit(EventKind::NodeBlocked {
                            node: self.node_ref(ix),
                            message,
                            executed: self.executed.clone(),
                        });
                    }
                    made.push(Made::Nothing);
                }
                Given::Outcome(outcome) => {
                    uis.extend(outcome.ui);
                    match outcome.outputs {
                        Outputs::Values(values) => made.push(Made::Values(values)),
                        Outputs::Expand(expansion) => {
                            expansions.push((call, expansion));
                            made.push(Made::Sources(Vec::new()));
                        }
                    }
                }
            }
        }
        if let Some(ui) = merge_ui(uis) {
            self.uis.insert(ix, ui);
        }
        if self.board.graph.node(ix).again {
            return self.refill(ix, &expansions);
        }
        if !expansions.is_empty() {
            return self.expand(ix, made, &expansions);
        }
        for made in &made {
            made.check(&class).map_err(|error| self.failed(ix, error))?;
        }
        let columns = merge(&class, &made, |_| None);
        drop(made);
        self.finish(ix, columns);
        Ok(())
    }

    /// A node's outputs are there.
    pub(super) fn finish(&mut self, ix: NodeIx, columns: Vec<Column>) {
        let origin = self.node_ref(ix);
        self.executed.push(origin.id.clone());
        let bytes = columns.iter().map(Column::bytes).sum();
        let outputs: Arc<[Column]> = columns.into();
        for column in outputs.iter() {
            self.engine.holdings.take(column, By::Job, &origin);
        }
        let ui = self.uis.get(&ix).cloned();
        let signature = self.board.prepared.signer.of(ix);
        let seconds = self.begun.remove(&ix).map_or(0.0, |begun| begun.elapsed().as_secs_f64());
        let entry = Entry {
            outputs: outputs.clone(),
            ui: ui.clone(),
            origin: origin.clone(),
            sketches: self.board.prepared.forecasts.sketches(ix),
            inner: self.board.graph.node(ix).origin.is_some(),
            seconds,
        };
        self.engine.cache.lock().unwrap_or_else(PoisonError::into_inner).put(signature, entry);
        if bytes > 0 {
            self.info.residency.fit();
        }
        let node = origin.clone();
        self.emit(EventKind::NodeFinished { node, origin, ui, cached: false, seconds, bytes });

        let mut effects = Effects::default();
        self.board.unfinished -= 1;
        let state = self.board.state_mut(ix);
        state.phase = Phase::Done;
        state.slots.resize(outputs.len(), Slot::default());
        let mut replaced = Vec::new();
        for (slot, (held, column)) in state.slots.iter_mut().zip(outputs.iter()).enumerate() {
            if held.uses > 0 {
                replaced.extend(held.column.replace(column.clone()));
            } else {
                effects.dropped.push((ix, slot, column.clone()));
            }
        }
        let (waiters, equal) = (std::mem::take(&mut state.waiters), std::mem::take(&mut state.equal));
        for column in replaced {
            self.engine.holdings.give(&column, By::Job);
        }
        drop(outputs);
        for other in equal {
            self.say_cached(other, ix);
        }
        if self.board.graph.node(ix).origin.is_some() && !self.expanded.contains_key(&ix) {
            self.spend(ix);
        }
        // A node that expanded ended its uses when its subgraph was there.
        if !self.expanded.contains_key(&ix) {
            self.board.end_uses_of(ix, &mut effects);
        }
        self.settle(effects);
        self.wake(waiters);
    }

    /// Something is done that others have waited for.
    pub(super) fn wake(&mut self, waiters: Vec<NodeIx>) {
        for waiter in waiters {
            let state = self.board.state_mut(waiter);
            state.waiting -= 1;
            if state.waiting == 0 {
                match state.phase {
                    Phase::Expanded => self.gathered.push(waiter),
                    _ => self.board.make_ready(waiter),
                }
            }
        }
    }

    /// Acts on what has changed on the board.
    pub(super) fn settle(&mut self, effects: Effects) {
        let Effects { dropped, admitted, settled, .. } = effects;
        for (ix, slot, column) in dropped {
            self.drop_value(ix, slot, column);
        }
        // What the cache gave and nobody reads.
        for ix in admitted {
            if self.board.state(ix).from_cache {
                for slot in 0..self.board.state(ix).slots.len() {
                    let held = &mut self.board.state_mut(ix).slots[slot];
                    if held.uses == 0
                        && let Some(column) = held.column.take()
                    {
                        self.drop_value(ix, slot, column);
                    }
                }
            }
        }
        for (ix, own) in settled {
            self.say_cached(ix, own);
        }
    }

    fn drop_value(&self, ix: NodeIx, slot: usize, column: Column) {
        self.engine.holdings.give(&column, By::Job);
        let signature = self.board.prepared.signer.of(ix);
        let cached = self.engine.cache.lock().unwrap_or_else(PoisonError::into_inner).contains(&signature);
        let bytes = column.bytes();
        drop(column);
        if !cached {
            self.emit(EventKind::ValueDropped { node: self.node_ref(ix), slot, bytes });
        }
    }

    /// A node gets its outputs from the cache or from an equal node.
    fn say_cached(&self, ix: NodeIx, own: NodeIx) {
        let origin = self.origins.get(&own).cloned().unwrap_or_else(|| self.node_ref(own));
        let ui = self.uis.get(&own).cloned();
        let node = self.node_ref(ix);
        self.emit(EventKind::NodeFinished { node, origin, ui, cached: true, seconds: 0.0, bytes: 0 });
    }

    fn clean_up(&mut self) {
        for column in self.board.drain() {
            self.engine.holdings.give(&column, By::Job);
        }
        for column in std::mem::take(&mut self.carried).into_values().flatten() {
            self.engine.holdings.give(&column, By::Job);
        }
        self.expanded.clear();
    }
}

impl Drop for Run<'_> {
    /// A run that is dropped halfway gives back what it holds as well.
    fn drop(&mut self) {
        // Whatever still computes or reads for it stops at its next check.
        self.info.cancel.cancel();
        self.clean_up();
        self.engine.cache.lock().unwrap_or_else(PoisonError::into_inner).end();
    }
}
