//! `UPSCALE_MODEL`: a network that enlarges pictures, which may not be loaded yet.

use std::sync::Arc;

use ebb_engine::node::{Context, NodeError};
use ebb_engine::residency::{Component, ComponentSpec, Lease};
use ebb_engine::value::Payload;
use ebb_models::LoadOptions;
use ebb_models::ops::blank;
use ebb_models::upscaler::Upscaler;
use ebb_weights::{ModelFile, WeightSource};

use super::model::load_progress;
use super::model_error;
use super::tensors::Tensors;
use crate::compute::{Compute, InMemory};

/// What training codes put before the names of a network's tensors.
const PREFIXES: [&str; 6] = ["", "params_ema.", "params.", "state_dict.", "module.", "model_state_dict."];

/// A network that enlarges pictures. Cloning shares the weights.
#[derive(Clone)]
pub struct UpscaleModel(Arc<Weights>);

struct Weights {
    tensors: Tensors,
    spec: ComponentSpec,
    compute: Arc<Compute>,
    scale: usize,
}

/// An upscale model in memory.
pub struct LoadedUpscaler(InMemory<Upscaler>);

impl Component for LoadedUpscaler {
    fn bytes(&self) -> u64 {
        self.0.bytes() as u64
    }
}

impl LoadedUpscaler {
    /// The network.
    pub fn network(&self) -> &Upscaler {
        &self.0
    }
}

impl UpscaleModel {
    /// The network in a file, recognised by its tensors. Reads no weights.
    ///
    /// # Errors
    /// Where the file holds no network that is known.
    pub fn new(file: &Arc<ModelFile>, compute: &Arc<Compute>) -> Result<Self, NodeError> {
        let whole = WeightSource::of_file(file);
        let mut first = None;
        for prefix in PREFIXES {
            let source = whole.under(prefix);
            if source.is_empty() {
                continue;
            }
            let tensors = Tensors::of_file(source);
            match Upscaler::load(&compute.counting(), &tensors.source, LoadOptions::default()) {
                Ok(outline) => {
                    let spec = tensors.spec("upscale model", compute, outline.bytes() as u64);
                    let (scale, compute) = (outline.scale(), compute.clone());
                    return Ok(Self(Arc::new(Weights { tensors, spec, compute, scale })));
                }
                Err(error) => first = first.or(Some(model_error(&tensors.label("upscale model"), error))),
            }
        }
        Err(first.unwrap_or_else(|| NodeError::model(format!("{}: holds no tensor", file.path().display()))))
    }

    /// How many times larger its results are.
    pub fn scale(&self) -> usize {
        self.0.scale
    }

    /// What is loaded for it.
    pub fn spec(&self) -> &ComponentSpec {
        &self.0.spec
    }

    /// What computes it.
    pub fn compute(&self) -> &Compute {
        &self.0.compute
    }

    /// The weights, loaded where they are not.
    ///
    /// # Errors
    /// Where the file cannot be read, there is no room, or the run is cancelled.
    pub fn load(&self, context: &Context) -> Result<Lease<LoadedUpscaler>, NodeError> {
        let Weights { tensors, spec, compute, .. } = &*self.0;
        context.component(spec, |progress| {
            let mut report = load_progress(progress, spec.bytes);
            let options = LoadOptions { progress: Some(&mut report), ..LoadOptions::default() };
            let loaded = Upscaler::load(compute.ops(), &tensors.source, options);
            Ok(LoadedUpscaler(InMemory::new(loaded.map_err(|e| model_error(&spec.label, e))?)))
        })
    }

    /// Bytes of scratch that enlarging a picture of a size takes.
    pub fn scratch(&self, height: usize, width: usize) -> Option<u64> {
        let ops = self.0.compute.counting();
        let network = Upscaler::load(&ops, &self.0.tensors.source, LoadOptions::default()).ok()?;
        ops.reset_peak();
        network.upscale(&blank(&[1, 3, height, width]).ok()?).ok()?;
        ops.peak_pages().map(|bytes| bytes as u64)
    }
}

impl Payload for UpscaleModel {
    fn type_name(&self) -> &'static str {
        "UPSCALE_MODEL"
    }

    fn bytes(&self) -> u64 {
        0
    }

    fn summary(&self) -> String {
        self.0.spec.label.to_string()
    }
}
