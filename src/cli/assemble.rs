//! From arguments to an engine.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ebb_engine::cache::CachePolicy;
use ebb_engine::execute::{Engine, EngineConfig};
use ebb_engine::node::Savings;
use ebb_engine::registry::{DuplicateClass, Registry};
use ebb_engine::residency::pressure::{self, System};
use ebb_engine::residency::{Foresight, KeepLast, KeepNothing, Lru, Residency};
use ebb_kernels::{Kernels, Pool, Threads};
use ebb_models::ops::{Compute as Device, Ops, Precision};
use ebb_nodes::{Compute, Environment, Folders};
use ebb_weights::ModelFolders;

use super::failure::{Done, Failure};
use super::memory::MemoryLimit;
use super::options::{CacheChoice, EngineOptions, FolderOptions, PrecisionChoice};

/// How often the rest of the machine is looked at.
const PRESSURE: Duration = Duration::from_secs(1);

impl FolderOptions {
    pub(super) fn pictures(&self) -> Folders {
        let below = Folders::under(&self.base_directory);
        Folders {
            input: self.input.clone().unwrap_or(below.input),
            output: self.output.clone().unwrap_or(below.output),
            // `temp` below it, as ComfyUI has it: what is emptied is never a folder that holds anything else.
            temp: self.temp.as_ref().map_or(below.temp, |folder| folder.join("temp")),
        }
    }

    pub(super) fn model_root(&self) -> PathBuf {
        self.models.clone().unwrap_or_else(|| self.base_directory.join("models"))
    }

    pub(super) fn models(&self) -> Done<ModelFolders> {
        let mut folders = ModelFolders::under(self.model_root());
        let found = self.base_directory.join("extra_model_paths.yaml");
        let found = (self.extra_model_paths.is_empty() && found.is_file()).then_some(found);
        for config in self.extra_model_paths.iter().chain(&found) {
            folders.add_config(config).map_err(Failure::other)?;
        }
        Ok(folders)
    }
}

/// The nodes, with what computes for them.
pub(super) fn registry(folders: &FolderOptions, options: Option<&EngineOptions>) -> Done<Registry> {
    let threads = match options {
        // Only described, never run.
        None => 1,
        Some(options) => match options.threads {
            Some(threads) => threads.get(),
            None => std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get),
        },
    };
    // Whatever else of the process computes in parallel shares these workers.
    let kernels = Kernels::new(Threads::of_process(threads)?, Pool::new())?;
    let models = Arc::new(folders.models()?);
    let precision = options.map_or(PrecisionChoice::F32, |options| options.precision);
    let ops = match options.map(|options| options.device) {
        None => Ops::cpu(kernels, Precision::F32),
        Some(device) => ops(kernels, device)?,
    };
    let compute = compute(&ops, precision).with_small_decoders(models.clone());
    let environment = Environment { folders: Arc::new(folders.pictures()), models, compute };
    let mut registry = Registry::new();
    ebb_nodes::register(&mut registry, &environment)?;
    Ok(registry)
}

/// What computes: these kernels, or candle's operators on another device.
fn ops(kernels: Kernels, device: Device) -> Done<Ops> {
    if let Some(feature) = device.lacks() {
        return Err(Failure::other(format!(
            "this build of ebb cannot compute on {device}: build it with `--features {feature}`"
        )));
    }
    let opened = device.open().map_err(|error| Failure::other(format!("--device {device}: {error}")))?;
    Ok(match opened {
        None => Ops::cpu(kernels, Precision::F32),
        Some(device) => Ops::candle(device, Precision::F32),
    })
}

/// What computes, in a precision.
fn compute(ops: &Ops, precision: PrecisionChoice) -> Arc<Compute> {
    let ops = ops.in_precision(Precision::F32);
    match precision {
        PrecisionChoice::Auto if ops.multiplies_bf16() => Compute::denoising_in(&ops, Precision::Bf16),
        PrecisionChoice::Auto | PrecisionChoice::F32 => Compute::new(ops, Precision::F32),
        PrecisionChoice::Bf16 => Compute::new(ops.in_precision(Precision::Bf16), Precision::Bf16),
    }
}

/// Adds nodes to those of the product.
pub(super) type MoreNodes = fn(&mut Registry) -> Result<(), DuplicateClass>;

/// The engine. `cache` is what is kept where the user does not say.
pub(super) fn engine(
    folders: &FolderOptions,
    options: &EngineOptions,
    cache: CachePolicy,
) -> Done<Arc<Engine>> {
    engine_with(folders, options, cache, |_| Ok(()))
}

/// [`engine`] with more nodes than the product's own.
pub(super) fn engine_with(
    folders: &FolderOptions,
    options: &EngineOptions,
    cache: CachePolicy,
    more: MoreNodes,
) -> Done<Arc<Engine>> {
    ebb_kernels::heap::share();
    if !ebb_kernels::heap::put_by() {
        tracing::warn!("the system has nothing to put by for when memory runs out");
    }
    let mut registry = registry(folders, Some(options))?;
    more(&mut registry)?;
    let budget = options.memory.bytes();
    let residency = match options.cache {
        Some(CacheChoice::Nothing) => Residency::new(KeepNothing, budget),
        Some(CacheChoice::Lru(count)) => Residency::new(Lru(count), budget),
        Some(CacheChoice::Last) => Residency::new(KeepLast, budget),
        Some(CacheChoice::Budget(_)) => Residency::new(Foresight, budget),
        // A process that keeps no outputs ends with its run: what no step needs again would only take memory.
        None if cache == CachePolicy::None => Residency::new(KeepNothing, budget),
        None => Residency::new(Foresight, budget),
    };
    residency.ask_system(ebb_kernels::heap::has);
    residency.hand_on_pages(ebb_kernels::heap::hand_on);
    if options.memory == MemoryLimit::Auto
        && let Err(error) = pressure::watch(&residency, System::default(), PRESSURE)
    {
        tracing::warn!("pressure of other programs on memory is not watched: {error}");
    }
    let cache = match options.cache {
        Some(CacheChoice::Nothing) => CachePolicy::None,
        Some(CacheChoice::Lru(count)) => CachePolicy::Lru(count),
        Some(CacheChoice::Last) => CachePolicy::LastRun,
        Some(CacheChoice::Budget(bytes)) => CachePolicy::Budget(bytes),
        None => cache,
    };
    let config = EngineConfig {
        cache,
        savings: Savings { narrow: options.allow_quantize, ..options.savings.0 },
        max_depth: options.max_depth,
        max_nodes: options.max_job_nodes,
    };
    Ok(Arc::new(Engine::new(Arc::new(registry), residency, config)))
}

/// A runtime for the engine: its loop and asynchronous nodes; computing has threads of its own.
pub(super) fn runtime() -> Done<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}
