//! An engine with all nodes, in this process.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result, anyhow};
use ebb_engine::cache::CachePolicy;
use ebb_engine::events::{Event, EventKind, EventSink};
use ebb_engine::execute::{Engine, EngineConfig, Job};
use ebb_engine::node::Cancel;
use ebb_engine::registry::Registry;
use ebb_engine::residency::{Foresight, KeepNothing, Residency};
use ebb_engine::workflow::Workflow;
use ebb_kernels::{Kernels, Pool, Threads};
use ebb_models::ops::{Ops, Precision};
use ebb_nodes::{Compute, Environment, Folders};
use ebb_weights::ModelFolders;
use serde_json::{Value as Json, json};
use tokio::runtime::Runtime;

use crate::process::Watch;

/// The engine and where its files are.
pub(crate) struct Bench {
    pub(crate) engine: Engine,
    runtime: Runtime,
    _folder: tempfile::TempDir,
}

/// What a run did.
pub(crate) struct Ran {
    pub(crate) seconds: f64,
    /// Components that were loaded.
    pub(crate) loads: usize,
    /// Seconds that their loads took.
    pub(crate) loading: f64,
    pub(crate) predicted: u64,
    pub(crate) ledger: u64,
    /// The most anonymous bytes while it ran.
    pub(crate) most: u64,
}

/// What becomes of weights that nobody uses.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    Last,
    Nothing,
}

#[derive(Default)]
struct Loads(Mutex<(usize, f64)>);

impl EventSink for Loads {
    fn emit(&self, event: Event) {
        if let EventKind::Loaded { seconds, .. } = event.kind {
            let mut sum = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            sum.0 += 1;
            sum.1 += seconds;
        }
    }
}

impl Bench {
    pub(crate) fn new(models: &Path, keep: Keep, budget: Option<u64>) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
        let kernels = Kernels::new(Threads::new(threads)?, Pool::new())?;
        let environment = Environment {
            folders: Arc::new(Folders::under(folder.path())),
            models: Arc::new(ModelFolders::under(models)),
            compute: Compute::new(Ops::cpu(kernels, Precision::F32), Precision::F32),
        };
        let mut registry = Registry::new();
        ebb_nodes::register(&mut registry, &environment)?;
        let residency = match keep {
            Keep::Last => Residency::new(Foresight, budget),
            Keep::Nothing => Residency::new(KeepNothing, budget),
        };
        let config = EngineConfig { cache: CachePolicy::None, ..EngineConfig::default() };
        let engine = Engine::new(Arc::new(registry), residency, config);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        Ok(Self { engine, runtime, _folder: folder })
    }

    pub(crate) fn run(&self, workflow: Json) -> Result<Ran> {
        self.run_with(workflow, &Cancel::new())
    }

    pub(crate) fn run_with(&self, workflow: Json, cancel: &Cancel) -> Result<Ran> {
        let workflow = Workflow::from_json(workflow)?;
        let valid = self
            .runtime
            .block_on(self.engine.validate(workflow, None))
            .map_err(|rejection| anyhow!("{}", rejection.to_json()))?;
        let loads = Arc::new(Loads::default());
        let watch = Watch::start();
        let begun = Instant::now();
        let job = Job::new("bench", valid.graph).with_sink(loads.clone()).with_cancel(cancel.clone());
        let ended = self.runtime.block_on(self.engine.run(job));
        let (seconds, most) = (begun.elapsed().as_secs_f64(), watch.most());
        let report = ended.context("the run failed")?;
        let (count, loading) = *loads.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Ran {
            seconds,
            loads: count,
            loading,
            predicted: report.predicted_peak,
            ledger: report.ledger_peak,
            most,
        })
    }
}

/// A text-to-image workflow: one picture of a size in pixels from a checkpoint.
pub(crate) fn text_to_image(checkpoint: &str, side: u64, steps: u64, seed: u64) -> Json {
    json!({
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": checkpoint}},
        "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "a red apple", "clip": ["1", 1]}},
        "3": {"class_type": "CLIPTextEncode", "inputs": {"text": "", "clip": ["1", 1]}},
        "4": {"class_type": "EmptyLatentImage", "inputs": {"width": side, "height": side, "batch_size": 1}},
        "5": {"class_type": "KSampler", "inputs": {
            "model": ["1", 0], "positive": ["2", 0], "negative": ["3", 0], "latent_image": ["4", 0],
            "seed": seed, "steps": steps, "cfg": 4.0, "sampler_name": "euler", "scheduler": "normal",
            "denoise": 1.0}},
        "6": {"class_type": "VAEDecode", "inputs": {"samples": ["5", 0], "vae": ["1", 2]}},
        "7": {"class_type": "SaveImage", "inputs": {"images": ["6", 0], "filename_prefix": "memory"}},
    })
}
