//! Memory after many runs, however they end: what the process holds beyond the ledger does not grow.
//!
//! One test in a process of its own, because it looks at the whole process. The full-size figures are in
//! `docs/memory.md`; `tools/memory` measures them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ebb_engine::cache::CachePolicy;
use ebb_engine::events::{Event, EventKind, EventSink, Silent};
use ebb_engine::execute::{Engine, EngineConfig, Job, RunError};
use ebb_engine::node::{Cancel, Context, Inputs, Node, NodeError, Outcome};
use ebb_engine::registry::Registry;
use ebb_engine::residency::{KeepLast, Residency};
use ebb_engine::schema::{Input, Schema};
use ebb_engine::workflow::Workflow;
use ebb_kernels::{Kernels, Pool, Threads};
use ebb_models::ops::{Ops, Precision};
use ebb_nodes::values::Latent;
use ebb_nodes::{Compute, Environment, Folders};
use ebb_weights::ModelFolders;
use serde_json::{Value as Json, json};

const MIB: f64 = (1 << 20) as f64;
/// The heap's gaps come and go by some ten MiB: over this many times they are less than what a leak would be.
const TIMES: u64 = 300;
const NAMES: [&str; 3] = ["one.safetensors", "two.safetensors", "three.safetensors"];

/// Breaks in the middle of its work, with memory in its hands.
struct Panics;

impl Node for Panics {
    fn schema(&self) -> Schema {
        Schema::new("Panics").input(Input::wire("latent", "LATENT")).output_node().compute()
    }

    fn execute(&self, context: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let _scratch = context.reserve("a lot", 8 << 20)?;
        let held = vec![1u8; 8 << 20];
        let latent = inputs.payload::<Latent>("latent")?;
        assert!(latent.samples.elem_count() > held.len(), "this node always panics");
        Ok(Outcome::none())
    }
}

/// Does something when the first weights are being read.
struct OnLoad<F>(F);

impl<F: Fn() + Send + Sync> EventSink for OnLoad<F> {
    fn emit(&self, event: Event) {
        if matches!(event.kind, EventKind::Loading { done, .. } if done > 0) {
            (self.0)();
        }
    }
}

/// Anonymous resident bytes; `None` where the system does not tell.
fn anonymous() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok()? * 1024.0)
}

fn slope(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    let (middle, mean) = ((n - 1.0) / 2.0, values.iter().sum::<f64>() / n);
    let over: f64 = values.iter().enumerate().map(|(i, v)| (i as f64 - middle) * (v - mean)).sum();
    let under: f64 = (0..values.len()).map(|i| (i as f64 - middle).powi(2)).sum();
    over / under
}

fn workflow(checkpoint: &str, seed: u64) -> Json {
    json!({
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": checkpoint}},
        "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "a red apple", "clip": ["1", 1]}},
        "4": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
        "5": {"class_type": "KSampler", "inputs": {
            "model": ["1", 0], "positive": ["2", 0], "negative": ["2", 0], "latent_image": ["4", 0],
            "seed": seed, "steps": 1, "cfg": 1.0, "sampler_name": "euler", "scheduler": "normal",
            "denoise": 1.0}},
        "6": {"class_type": "VAEDecode", "inputs": {"samples": ["5", 0], "vae": ["1", 2]}},
        "7": {"class_type": "PreviewAny", "inputs": {"source": ["6", 0]}},
    })
}

struct Soak {
    engine: Engine,
    models: PathBuf,
    idle: f64,
    seed: AtomicU64,
}

impl Soak {
    async fn run(&self, workflow: Json, sink: Arc<dyn EventSink>, cancel: &Cancel) -> Result<(), RunError> {
        let valid = self.engine.validate(Workflow::from_json(workflow).unwrap(), None).await.unwrap();
        let job = Job::new("soak", valid.graph).with_sink(sink).with_cancel(cancel.clone());
        self.engine.run(job).await.map(|_| ())
    }

    fn file(&self, name: &str) -> PathBuf {
        self.models.join("checkpoints").join(name)
    }

    fn seed(&self) -> u64 {
        self.seed.fetch_add(1, Ordering::Relaxed)
    }

    /// What the process holds beyond its idle self and what the ledger names.
    fn beyond(&self) -> Option<f64> {
        Some(anonymous()? - self.idle - self.engine.residency().ledger().total() as f64)
    }

    /// Holds what was seen against the bounds: at most 0.1 MiB a time, at most 64 MiB in the end.
    fn judge(&self, what: &str, seen: &[f64]) {
        // The first third warms up: threads, tables, the heap's gaps.
        let seen = &seen[seen.len() / 3..];
        let Some(last) = seen.last() else { return };
        println!("{what}: {:.3} MiB a time, {:.1} MiB beyond the ledger", slope(seen) / MIB, last / MIB);
        assert!(slope(seen) <= 0.1 * MIB, "{what}: grows by {:.3} MiB a time", slope(seen) / MIB);
        assert!(*last <= 64.0 * MIB, "{what}: {:.1} MiB are named by nobody", last / MIB);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_stays_where_it_was_however_runs_end() {
    let folder = tempfile::tempdir().unwrap();
    let models = folder.path().join("models");
    std::fs::create_dir_all(models.join("checkpoints")).unwrap();
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/checkpoints/tiny-emoji-sd1.safetensors");
    for name in NAMES {
        std::fs::copy(&demo, models.join("checkpoints").join(name)).unwrap();
    }
    ebb_kernels::heap::share();
    ebb_nodes::prepare();
    let kernels = Kernels::new(Threads::new(2).unwrap(), Pool::new()).unwrap();
    let environment = Environment {
        folders: Arc::new(Folders::under(folder.path())),
        models: Arc::new(ModelFolders::under(models.clone())),
        compute: Compute::new(Ops::cpu(kernels, Precision::F32), Precision::F32),
    };
    let mut registry = Registry::new();
    ebb_nodes::register(&mut registry, &environment).unwrap();
    registry.add(Panics).unwrap();
    // Room for one checkpoint of 17 MB and its work, not for two.
    let residency = Residency::new(KeepLast, Some(40 << 20));
    let config = EngineConfig { cache: CachePolicy::None, ..EngineConfig::default() };
    let engine = Engine::new(Arc::new(registry), residency, config);
    let idle = anonymous().unwrap_or(0.0);
    let soak = Soak { engine, models, idle, seed: AtomicU64::new(0) };

    let mut seen = Vec::new();
    // Threads, tables, and the heap's gaps come to rest first.
    for time in 0..3 * NAMES.len() * NAMES.len() {
        let workflow = workflow(NAMES[time % 3], soak.seed());
        soak.run(workflow, Arc::new(Silent), &Cancel::new()).await.unwrap();
    }
    for time in 0..TIMES as usize {
        let workflow = workflow(NAMES[time % 3], soak.seed());
        soak.run(workflow, Arc::new(Silent), &Cancel::new()).await.unwrap();
        seen.extend(soak.beyond());
    }
    soak.judge("switches", &seen);

    soak.engine.residency().evict_all();
    seen.clear();
    let victim = soak.file("broken.safetensors");
    for _ in 0..TIMES {
        std::fs::copy(&demo, &victim).unwrap();
        let cut = victim.clone();
        let sink = OnLoad(move || {
            let file = std::fs::OpenOptions::new().write(true).open(&cut).unwrap();
            file.set_len(1 << 20).unwrap();
        });
        let workflow = workflow("broken.safetensors", soak.seed());
        let ended = soak.run(workflow, Arc::new(sink), &Cancel::new()).await;
        assert!(matches!(ended, Err(RunError::Failed(_))), "a file that is cut short is an error: {ended:?}");
        seen.extend(soak.beyond());
    }
    soak.judge("failed loads", &seen);

    seen.clear();
    for time in 0..TIMES as usize {
        soak.engine.residency().evict_all();
        let cancel = Cancel::new();
        let stop = cancel.clone();
        let sink = OnLoad(move || stop.cancel());
        let ended = soak.run(workflow(NAMES[time % 3], soak.seed()), Arc::new(sink), &cancel).await;
        assert!(matches!(ended, Err(RunError::Interrupted { .. })), "{ended:?}");
        seen.extend(soak.beyond());
    }
    soak.judge("cancelled loads", &seen);

    // A hundred backtraces would fill the log, and their symbols the memory.
    std::panic::set_hook(Box::new(|_| {}));
    seen.clear();
    for time in 0..TIMES as usize {
        let mut workflow = workflow(NAMES[time % 3], soak.seed());
        workflow["7"] = json!({"class_type": "Panics", "inputs": {"latent": ["5", 0]}});
        let ended = soak.run(workflow, Arc::new(Silent), &Cancel::new()).await;
        assert!(matches!(ended, Err(RunError::Failed(_))), "{ended:?}");
        seen.extend(soak.beyond());
    }
    soak.judge("panicking nodes", &seen);

    // Nothing is lost: with the weights gone, the ledger is empty.
    soak.engine.residency().evict_all();
    assert_eq!(soak.engine.residency().ledger().total(), 0);
}
