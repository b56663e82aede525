//! Walks a plan, revises it on lazy inputs and expansion, drops values, emits events.
//!
//! Light nodes run in the loop itself, computing ones one at a time on a thread for the device,
//! asynchronous ones beside them. The loop alone changes the board: who waits for whom,
//! and how many uses each value has left.

mod blame;
mod board;
mod calls;
mod dynamic;
mod ending;
mod expand;
mod invoke;
mod lazy;
mod revive;
mod run;
mod weights;

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value as Json;
use tokio::sync::Semaphore;

use crate::cache::{Cache, CachePolicy, Holdings};
use crate::events::{EventSink, JobError, Previews};
use crate::graph::Graph;
use crate::node::{Cancel, NodeRef, Origins, RunInfo, Savings};
use crate::plan::{Plan, Prepared, Room};
use crate::registry::Registry;
use crate::residency::Residency;
use crate::validate::{Rejection, Validated, validate};
use crate::workflow::{NodeId, Workflow};
use board::Board;
pub(crate) use invoke::said as panic_message;
use run::Run;

/// What an engine allows and keeps.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Which outputs are kept between runs.
    pub cache: CachePolicy,
    /// How deep expansions may be nested.
    pub max_depth: u32,
    /// How many nodes a job may have, those of expansions included.
    pub max_nodes: usize,
    /// How nodes may be made to fit a budget that is too small for their plain way.
    pub savings: Savings,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            cache: CachePolicy::default(),
            max_depth: 1_000,
            max_nodes: 1_000_000,
            savings: Savings::default(),
        }
    }
}

/// Runs workflows. One for a process; its runs share the cache, the residency manager, and take
/// turns on the device.
pub struct Engine {
    registry: Arc<Registry>,
    residency: Arc<Residency>,
    config: EngineConfig,
    holdings: Arc<Holdings>,
    cache: Arc<Mutex<Cache>>,
    /// Whoever holds the permit computes.
    device: Arc<Semaphore>,
}

/// A workflow to run.
pub struct Job {
    /// Its id, which every event carries.
    pub id: Arc<str>,
    /// The checked workflow.
    pub graph: Graph,
    /// What goes into a PNG's metadata beside the prompt.
    pub extra_pnginfo: Arc<Json>,
    /// What its nodes came from, where several workflows run as one.
    pub origins: Option<Arc<dyn Origins>>,
    /// Who listens.
    pub sink: Arc<dyn EventSink>,
    /// The flag that stops it.
    pub cancel: Cancel,
    /// What previews its nodes make.
    pub previews: Previews,
}

impl Job {
    /// A job that nobody listens to and nobody stops.
    pub fn new(id: &str, graph: Graph) -> Self {
        Self {
            id: id.into(),
            graph,
            extra_pnginfo: Arc::new(Json::Null),
            origins: None,
            sink: Arc::new(crate::events::Silent),
            cancel: Cancel::new(),
            previews: Previews::default(),
        }
    }

    /// Sets who listens.
    pub fn with_sink(mut self, sink: Arc<dyn EventSink>) -> Self {
        self.sink = sink;
        self
    }

    /// Sets the flag that stops it.
    pub fn with_cancel(mut self, cancel: Cancel) -> Self {
        self.cancel = cancel;
        self
    }
}

/// What a run did. Details come with its events.
#[derive(Clone, Debug)]
pub struct RunReport {
    /// Nodes that ran, in order; those whose outputs were in the cache are not among them.
    pub executed: Vec<NodeId>,
    /// The peak that the plan predicted, in bytes.
    pub predicted_peak: u64,
    /// The peak by the ledger, in bytes.
    pub ledger_peak: u64,
}

/// How a run ended before its end.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RunError {
    /// A node failed.
    #[error("node #{} ({}): {}", .0.node.id, .0.node.class, .0.message)]
    Failed(Arc<JobError>),
    /// It was asked to stop.
    #[error("the run was cancelled")]
    Interrupted {
        /// The node that was running, if one was.
        node: Option<Arc<NodeRef>>,
        /// Nodes that had run.
        executed: Vec<NodeId>,
    },
}

impl Engine {
    /// An engine that knows the nodes of a registry.
    pub fn new(registry: Arc<Registry>, residency: Arc<Residency>, config: EngineConfig) -> Self {
        let holdings = Arc::new(Holdings::new(residency.ledger().clone()));
        let cache = Cache::new(config.cache, holdings.clone(), residency.clock().clone());
        let cache = Arc::new(Mutex::new(cache));
        residency.attach(&cache);
        Self { registry, residency, config, holdings, cache, device: Arc::new(Semaphore::new(1)) }
    }

    /// The nodes that it knows.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// Who holds the weights and keeps the ledger.
    pub fn residency(&self) -> &Arc<Residency> {
        &self.residency
    }

    /// Checks a workflow; see [`validate`].
    ///
    /// # Errors
    /// Where no output can run.
    pub async fn validate(
        &self,
        workflow: Workflow,
        targets: Option<&[NodeId]>,
    ) -> Result<Validated, Rejection> {
        validate(workflow, &self.registry, targets).await
    }

    /// The plan of a checked workflow, given what the cache holds now.
    pub fn plan(&self, graph: &Graph) -> Plan {
        prepare(graph, &self.cache, self.config.cache, self.room(), None).plan
    }

    /// What the residency manager does with weights that nobody uses.
    fn room(&self) -> Room {
        Room {
            keeps_unused: self.residency.keeps_unused(),
            budget: self.residency.budget(),
            savings: self.config.savings,
            residents: self.residency.residents().into_iter().map(|r| (r.key, r.bytes)).collect(),
        }
    }

    /// Forgets every cached output.
    pub fn clear_cache(&self) {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// How many nodes' outputs are cached.
    pub fn cached(&self) -> usize {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Runs a job to its end. Must be called within a tokio runtime. Whatever way it ends, the
    /// ledger then shows of its outputs only what the cache holds.
    ///
    /// # Errors
    /// Where a node fails or the job is cancelled. The events say the same.
    pub async fn run(&self, job: Job) -> Result<RunReport, RunError> {
        let Job { id, graph, extra_pnginfo, origins, sink, cancel, previews } = job;
        self.residency.ledger().reset_peak();
        let run = self.residency.begin(&id, &sink);
        let _ends = Ends { residency: &self.residency, job: &id };
        // Planning asks nodes about files: that is no work for the threads that serve requests.
        let (cache, policy, room) = (self.cache.clone(), self.config.cache, self.room());
        let planned = tokio::task::spawn_blocking(move || {
            let prepared = prepare(&graph, &cache, policy, room, Some(run));
            (graph, prepared)
        });
        // It is not run if the runtime is shutting down.
        let Ok((graph, prepared)) = planned.await else {
            return Err(RunError::Interrupted { node: None, executed: Vec::new() });
        };
        let info = RunInfo {
            job: id.clone(),
            prompt: graph.prompt().clone(),
            extra_pnginfo,
            origins,
            sink,
            cancel: cancel.child(),
            residency: self.residency.clone(),
            previews,
        };
        Run::new(self, Arc::new(info), Board::new(graph, prepared)).go().await
    }
}

/// Tells that a job ended, however it did.
struct Ends<'a> {
    residency: &'a Residency,
    job: &'a Arc<str>,
}

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.residency.end(self.job);
    }
}

/// Signs and plans a graph. A run that begins, by its number, has the cache drop what the graph does not name.
fn prepare(
    graph: &Graph,
    cache: &Mutex<Cache>,
    policy: CachePolicy,
    room: Room,
    begins: Option<u64>,
) -> Prepared {
    let signer = Prepared::sign(graph);
    let cached: Vec<_> = {
        let mut cache = cache.lock().unwrap_or_else(PoisonError::into_inner);
        let signatures = graph.submitted().map(|ix| signer.of(ix));
        match begins {
            Some(run) => cache.begin(run, signatures),
            None => signatures.map(|signature| cache.sketches(&signature)).collect(),
        }
    };
    let keeps = matches!(policy, CachePolicy::LastRun | CachePolicy::Budget(_));
    Prepared::new(graph, signer, &cached, keeps, room)
}
