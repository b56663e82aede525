//! What checks and runs prompts, as the server sees it. The engine is behind it, and stand-ins are in tests.

use std::collections::HashSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use ebb_engine::events::{EventSink, Previews};
use ebb_engine::node::Cancel;
use ebb_engine::residency::Residency;
use serde_json::{Map, Value as Json};

/// A future that borrows from the workshop.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A prompt that was checked and can run.
#[derive(Debug, Clone)]
pub struct Checked {
    /// The prompt with its values coerced.
    pub prompt: Json,
    /// Output nodes that passed.
    pub outputs: Vec<String>,
    /// Errors of those that did not.
    pub node_errors: Json,
    /// Model components that it will need.
    pub components: Vec<String>,
}

/// A prompt that was refused.
#[derive(Debug, Clone)]
pub struct Refused {
    /// `{"type", "message", "details", "extra_info"}`.
    pub error: Json,
    /// Errors by node.
    pub node_errors: Json,
}

/// A job to run.
#[derive(Debug, Clone)]
pub struct Run {
    /// The job's id.
    pub id: Arc<str>,
    /// The prompt as [`Checked`] gave it.
    pub prompt: Json,
    /// Output nodes to run.
    pub outputs: Vec<String>,
    /// `extra_pnginfo` of the submission.
    pub extra_pnginfo: Json,
    /// The sweep that the prompt holds all cells of, as [`Sweep::to_json`] writes it.
    ///
    /// [`Sweep::to_json`]: ebb_engine::workflow::sweep::Sweep::to_json
    pub sweep: Option<Json>,
    /// What previews its nodes make.
    pub previews: Previews,
}

/// What a prompt would take.
#[derive(Debug, Clone, Default)]
pub struct Cost {
    /// Steps that would run.
    pub steps: usize,
    /// Steps if no work were shared, and none were in the cache.
    pub steps_alone: usize,
    /// Loads of weights, in their order: key, name and bytes.
    pub loads: Vec<(String, String, u64)>,
    /// Output nodes that would run or are cached.
    pub outputs: usize,
    /// The predicted peak, in bytes.
    pub peak: u64,
}

/// Checks and runs prompts.
pub trait Workshop: Send + Sync + 'static {
    /// Descriptions of all nodes, or of one class; `{}` for a class that is not there. File lists are read anew.
    fn object_info(&self, class: Option<&str>) -> Map<String, Json>;

    /// Checks a prompt. `targets`: only these output nodes. Looks at files, so it is called from a blocking thread of a
    /// runtime.
    fn check(&self, prompt: Json, targets: Option<Vec<String>>) -> Result<Checked, Refused>;

    /// What would run, in the shape of `docs/v1-editor-contract.md`; `None` where nothing plans.
    fn plan(&self, prompt: Json, targets: Option<Vec<String>>) -> Later<'_, Result<Option<Json>, Refused>> {
        let _ = (prompt, targets);
        Box::pin(std::future::ready(Ok(None)))
    }

    /// What a prompt would take; nothing where nothing plans.
    fn cost(&self, prompt: Json, targets: Option<Vec<String>>) -> Later<'_, Result<Cost, Refused>> {
        let _ = (prompt, targets);
        Box::pin(std::future::ready(Ok(Cost::default())))
    }

    /// Runs a job to its end, which is the last event: succeeded, failed or interrupted.
    fn run(&self, job: Run, events: Arc<dyn EventSink>, cancel: Cancel) -> Later<'_, ()>;

    /// Gives back memory: model components, and with `cache` the outputs of earlier jobs too.
    fn free(&self, models: bool, cache: bool);

    /// Tells which components the jobs that wait will need, in the order in which they will run.
    fn foresee(&self, waiting: Vec<(String, Vec<String>)>) {
        let _ = waiting;
    }

    /// Names of the model components that are in memory.
    fn resident(&self) -> HashSet<String>;

    /// The process's ledger of memory.
    fn residency(&self) -> Option<Arc<Residency>> {
        None
    }
}
