//! An engine with all nodes, in this process.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result, anyhow};
use ebb_engine::cache::CachePolicy;
use ebb_engine::events::{Event, EventKind, EventSink};
use ebb_engine::execute::{Engine, EngineConfig, Job, RunReport};
use ebb_engine::node::Cancel;
use ebb_engine::registry::Registry;
use ebb_engine::residency::{Foresight, KeepLast, KeepNothing, Lru, Residency};
use ebb_engine::validate::Validated;
use ebb_engine::workflow::Workflow;
use ebb_kernels::{Kernels, Pool, Threads};
use ebb_models::ops::{Ops, Precision};
use ebb_nodes::{Compute, Environment, Folders};
use ebb_weights::ModelFolders;
use serde_json::{Value as Json, json};
use tokio::runtime::Runtime;

use crate::endings::Panics;
use crate::process::Watch;

/// What every command computes with.
#[derive(clap::Args)]
pub(crate) struct Setup {
    /// The folder that holds checkpoints/ and the like
    #[arg(long, global = true, default_value = "models")]
    pub(crate) models: PathBuf,
    /// The folder with the pictures that workflows load
    #[arg(long, global = true, default_value = "input")]
    pub(crate) input: PathBuf,
    /// What matrix products multiply in, as `ebb run` has it
    #[arg(long, global = true, value_enum, default_value_t = Products::Auto)]
    pub(crate) precision: Products,
}

impl Setup {
    /// The arguments that another process of this tool gets for the same.
    pub(crate) fn arguments(&self, command: &mut Command) {
        command.arg("--models").arg(&self.models).arg("--input").arg(&self.input);
        command.args(["--precision", if self.precision == Products::F32 { "f32" } else { "auto" }]);
    }
}

/// What matrix products multiply in.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Products {
    /// bf16 for denoisers where the processor multiplies it, f32 for the rest.
    Auto,
    /// f32.
    F32,
}

impl Products {
    fn compute(self, kernels: Kernels) -> Arc<Compute> {
        let bf16 = self == Self::Auto && kernels.path().multiplies_bf16();
        let ops = Ops::cpu(kernels, Precision::F32);
        if bf16 { Compute::denoising_in(&ops, Precision::Bf16) } else { Compute::new(ops, Precision::F32) }
    }
}

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
    /// Seconds that each node took, loads included, by its class.
    pub(crate) nodes: BTreeMap<String, f64>,
}

/// What becomes of weights that nobody uses.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Keep {
    /// They stay until room is needed, and what is needed last goes first: the default of a server.
    NextUse,
    /// They stay until room is needed, and what was used longest ago goes first.
    Lru,
    /// Those that the last job used stay.
    Last,
    /// They go at once.
    Nothing,
}

#[derive(Default)]
struct Loads(Mutex<(usize, f64, BTreeMap<String, f64>)>);

impl EventSink for Loads {
    fn emit(&self, event: Event) {
        let mut sum = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match event.kind {
            EventKind::Loaded { seconds, .. } => {
                sum.0 += 1;
                sum.1 += seconds;
            }
            EventKind::NodeFinished { node, seconds, .. } => {
                *sum.2.entry(node.class.to_string()).or_default() += (seconds * 1e4).round() / 1e4;
            }
            _ => {}
        }
    }
}

impl Bench {
    pub(crate) fn new(setup: &Setup, keep: Keep, budget: Option<u64>) -> Result<Self> {
        Self::caching(setup, keep, budget, CachePolicy::None)
    }

    /// One that keeps results as `cache` says.
    pub(crate) fn caching(
        setup: &Setup,
        keep: Keep,
        budget: Option<u64>,
        cache: CachePolicy,
    ) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
        let kernels = Kernels::new(Threads::new(threads)?, Pool::new())?;
        let environment = Environment {
            folders: Arc::new(Folders { input: setup.input.clone(), ..Folders::under(folder.path()) }),
            models: Arc::new(ModelFolders::under(setup.models.clone())),
            compute: setup.precision.compute(kernels),
        };
        let mut registry = Registry::new();
        ebb_nodes::register(&mut registry, &environment)?;
        registry.add(Panics)?;
        ebb_nodes::prepare();
        let residency = match keep {
            Keep::NextUse => Residency::new(Foresight, budget),
            Keep::Lru => Residency::new(Lru(usize::MAX), budget),
            Keep::Last => Residency::new(KeepLast, budget),
            Keep::Nothing => Residency::new(KeepNothing, budget),
        };
        residency.hand_on_pages(ebb_kernels::heap::hand_on);
        let config = EngineConfig { cache, ..EngineConfig::default() };
        let engine = Engine::new(Arc::new(registry), residency, config);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        Ok(Self { engine, runtime, _folder: folder })
    }

    /// The peak that the plan of a workflow promises.
    pub(crate) fn predicted(&self, workflow: Json) -> Result<u64> {
        Ok(self.engine.plan(&self.checked(workflow)?.graph).predicted_peak)
    }

    pub(crate) fn run(&self, workflow: Json) -> Result<Ran> {
        let loads = Arc::new(Loads::default());
        let watch = Watch::start();
        let begun = Instant::now();
        let report = self.run_told(workflow, loads.clone())?;
        let (seconds, most) = (begun.elapsed().as_secs_f64(), watch.most());
        let (count, loading, nodes) =
            std::mem::take(&mut *loads.0.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(Ran {
            seconds,
            loads: count,
            loading,
            predicted: report.predicted_peak,
            ledger: report.ledger_peak,
            most,
            nodes,
        })
    }

    /// Runs a workflow, and tells `sink` of it.
    pub(crate) fn run_told(&self, workflow: Json, sink: Arc<dyn EventSink>) -> Result<RunReport> {
        self.run_until(workflow, sink, Cancel::new())
    }

    /// Runs a workflow until it is done or cancelled, and tells `sink` of it.
    pub(crate) fn run_until(
        &self,
        workflow: Json,
        sink: Arc<dyn EventSink>,
        cancel: Cancel,
    ) -> Result<RunReport> {
        let job = Job::new("bench", self.checked(workflow)?.graph).with_sink(sink).with_cancel(cancel);
        self.runtime.block_on(self.engine.run(job)).context("the run failed")
    }

    fn checked(&self, workflow: Json) -> Result<Validated> {
        let workflow = Workflow::from_json(workflow)?;
        let valid = self.runtime.block_on(self.engine.validate(workflow, None));
        valid.map_err(|rejection| anyhow!("{}", rejection.to_json()))
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
