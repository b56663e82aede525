//! The weights that a run's steps will use: told to the residency manager, and read ahead while a step computes.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::task::JoinSet;

use super::run::Run;
use crate::graph::NodeIx;
use crate::node::{Context, RunInfo, Sketch};
use crate::residency::{ComponentKey, ComponentSpec, Meanwhile};

/// Weights that lie ahead.
#[derive(Default)]
pub(super) struct Ahead {
    /// Steps that will use weights, by their place in the order.
    steps: BTreeMap<u64, NodeIx>,
    /// The read that is under way.
    reading: JoinSet<()>,
    /// The run as reads ahead see it: they can be stopped without it.
    info: Option<Arc<RunInfo>>,
    /// The peak that the plan promises, in bytes: reading ahead must not raise it.
    pub(super) promised: u64,
    /// Whether the step that reads run beside is still at it.
    computing: Arc<AtomicBool>,
    /// What was tried beside that step: a file that cannot be read is not read again and again.
    tried: HashSet<ComponentKey>,
}

impl Ahead {
    /// A step begins to compute, for the reads that run beside it.
    pub(super) fn step_begins(&mut self) {
        self.computing = Arc::new(AtomicBool::new(true));
        self.tried.clear();
    }

    /// The step has ended.
    pub(super) fn step_ends(&self) {
        self.computing.store(false, Ordering::Relaxed);
    }

    /// Waits until something has been read ahead; for ever, if nothing is.
    pub(super) async fn one_is_there(&mut self) {
        if self.reading.join_next().await.is_none() {
            std::future::pending::<()>().await;
        }
    }

    /// Stops what is read ahead, and waits for its end: the run must leave nothing behind.
    pub(super) async fn end(&mut self) {
        if let Some(info) = &self.info {
            info.cancel.cancel();
        }
        while self.reading.join_next().await.is_some() {}
    }
}

impl Run<'_> {
    /// The weights that a node will use, in the way that the plan chose for it.
    fn uses(&self, ix: NodeIx) -> &[ComponentSpec] {
        let Some(forecast) = self.board.prepared.forecasts.of(ix) else { return &[] };
        let savings = self.board.prepared.savings_of(ix);
        let way = forecast.ways.iter().find(|way| !savings.is_empty() && *way.savings == *savings);
        way.map_or(&forecast.uses, |way| &way.uses)
    }

    /// Steps have got their places in the order: whose weights they will use is known from now on.
    pub(super) fn look_ahead(&mut self, order: &[NodeIx]) {
        for &ix in order {
            let uses = self.uses(ix);
            if !uses.is_empty() {
                let place = self.board.state(ix).rank;
                self.info.residency.will_use(&self.info.job, place, &self.board.graph.node(ix).info, uses);
                self.ahead.steps.insert(place, ix);
            }
        }
    }

    /// A step begins: it reads its weights itself.
    pub(super) fn reached(&mut self, ix: NodeIx) {
        if !self.uses(ix).is_empty() {
            self.ahead.steps.remove(&self.board.state(ix).rank);
        }
    }

    /// A step has ended, and its own use of the weights lies behind.
    pub(super) fn used(&self, ix: NodeIx) {
        let uses = self.uses(ix);
        if !uses.is_empty() {
            self.info.residency.used(&self.info.job, self.board.state(ix).rank, uses);
        }
    }

    /// While a step computes, has the next weights read that the plan needs and that are not in memory, if that
    /// raises the peak neither above the budget nor above what the plan promises.
    pub(super) fn read_ahead(&mut self) {
        let Some(computing) = self.computing.filter(|_| self.ahead.reading.is_empty()) else { return };
        let forecasts = &self.board.prepared.forecasts;
        let residency = &self.info.residency;
        let next = self.ahead.steps.values().find_map(|ix| {
            let spec = self.uses(*ix).iter().find(|spec| !residency.has(&spec.key))?;
            let loaders = forecasts.of(*ix)?.loaders.iter();
            let loader = loaders.filter(|(key, _)| *key == spec.key).map(|(_, loader)| loader.clone()).next();
            Some((*ix, spec.clone(), loader))
        });
        let Some((ix, spec, Some(loader))) = next else { return };
        if self.info.cancel.is_cancelled() || self.ahead.tried.contains(&spec.key) {
            return;
        }
        self.ahead.tried.insert(spec.key.clone());
        let forecast = forecasts.of(computing);
        let meanwhile = Meanwhile {
            own: self.uses(computing).iter().map(|spec| spec.key.clone()).collect(),
            scratch: forecast.map_or(0, |forecast| forecast.scratch),
            outputs: forecast.map_or(0, |forecast| forecast.outputs.iter().map(Sketch::bytes).sum()),
            promised: self.ahead.promised,
            computing: self.ahead.computing.clone(),
        };
        let run = self.ahead.info.get_or_insert_with(|| {
            let RunInfo { job, prompt, extra_pnginfo, origins, sink, cancel, residency, previews } =
                &*self.info;
            Arc::new(RunInfo {
                job: job.clone(),
                prompt: prompt.clone(),
                extra_pnginfo: extra_pnginfo.clone(),
                origins: origins.clone(),
                sink: sink.clone(),
                cancel: cancel.child(),
                residency: residency.clone(),
                previews: *previews,
            })
        });
        let context = Context::new(run.clone(), self.board.graph.node(ix).info.clone(), None);
        self.ahead.reading.spawn_blocking(move || {
            context.residency().prefetch(&context, &spec, &loader, &meanwhile);
        });
    }
}
