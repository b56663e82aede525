//! `VAE`: an autoencoder that may not be loaded yet.

use std::sync::Arc;

use candle_core::Tensor;
use ebb_engine::node::{Context, NodeError};
use ebb_engine::residency::{Component, ComponentSpec, Lease, LoadProgress, Loader};
use ebb_engine::value::Payload;
use ebb_models::LoadOptions;
use ebb_models::ops::blank;
use ebb_weights::WeightSource;

use super::autoencoder::{Autoencoder, Kind};
use super::counted::{CELLS, Counted};
use super::model::load_progress;
use super::model_error;
use super::tensors::Tensors;
use crate::compute::{Compute, InMemory};

/// An autoencoder: where its weights are. Cloning shares them.
#[derive(Clone)]
pub struct Vae(Arc<Weights>);

struct Weights {
    tensors: Tensors,
    spec: ComponentSpec,
    kind: Kind,
    compute: Arc<Compute>,
    outline: Autoencoder,
}

/// An autoencoder in memory.
pub struct LoadedVae(InMemory<Autoencoder>);

impl Component for LoadedVae {
    fn bytes(&self) -> u64 {
        self.0.bytes() as u64
    }
}

impl LoadedVae {
    /// The network.
    pub fn network(&self) -> &Autoencoder {
        &self.0
    }
}

impl Weights {
    fn read(&self, progress: &LoadProgress<'_>) -> Result<LoadedVae, NodeError> {
        let Self { tensors, spec, kind, compute, .. } = self;
        let mut report = load_progress(progress, spec.bytes);
        let options = LoadOptions { progress: Some(&mut report), ..LoadOptions::default() };
        let loaded = Autoencoder::load(*kind, compute.ops(), &tensors.source, options);
        Ok(LoadedVae(InMemory::new(loaded.map_err(|e| model_error(&spec.label, e))?)))
    }
}

impl Vae {
    /// The autoencoder in some tensors. Reads no weights.
    ///
    /// # Errors
    /// Where tensors are missing or have the wrong shape.
    pub fn new(source: WeightSource, compute: &Arc<Compute>) -> Result<Self, NodeError> {
        Self::of_kind(Kind::Kl, source, compute)
    }

    /// An autoencoder of a kind in some tensors. Reads no weights.
    ///
    /// # Errors
    /// Where tensors are missing or have the wrong shape.
    pub fn of_kind(kind: Kind, source: WeightSource, compute: &Arc<Compute>) -> Result<Self, NodeError> {
        let tensors = Tensors::of_file(source);
        let outline = Autoencoder::load(kind, &compute.counting(), &tensors.source, LoadOptions::default())
            .map_err(|e| model_error(&tensors.label("vae"), e))?;
        let spec = tensors.spec("vae", compute, outline.bytes() as u64);
        Ok(Self(Arc::new(Weights { tensors, spec, kind, compute: compute.clone(), outline })))
    }

    /// Its tensors.
    pub(crate) fn tensors(&self) -> &Tensors {
        &self.0.tensors
    }

    /// What is loaded for it.
    pub fn spec(&self) -> &ComponentSpec {
        &self.0.spec
    }

    /// Channels of its latents.
    pub fn latent_channels(&self) -> usize {
        self.0.outline.latent_channels()
    }

    /// Pixels along one side of a latent cell.
    pub fn scale(&self) -> usize {
        self.0.outline.scale()
    }

    /// The weights, loaded where they are not.
    ///
    /// # Errors
    /// Where the file cannot be read, there is no room, or the run is cancelled.
    pub fn load(&self, context: &Context) -> Result<Lease<LoadedVae>, NodeError> {
        context.component(&self.0.spec, |progress| self.0.read(progress))
    }

    /// Reads the weights before a node asks for them.
    pub fn loader(&self) -> Loader {
        let weights = Arc::clone(&self.0);
        Loader::new(move |progress| weights.read(progress))
    }

    /// What computes it.
    pub fn compute(&self) -> &Compute {
        &self.0.compute
    }

    /// Bytes of scratch that decoding `batch` latents of a size in cells takes.
    pub fn decode_scratch(&self, batch: usize, height: usize, width: usize) -> Option<u64> {
        // The pixels leave the pool, and become a picture in three steps, each of which holds two of them.
        let sides = [height * self.scale(), width * self.scale(), 3];
        let pixels = sides.iter().fold(batch as u64, |n, side| n.saturating_mul(*side as u64));
        let counted = Counted::of(batch, height, width, CELLS);
        let Counted { batch, height, width, .. } = counted;
        let network =
            self.count(&counted, |vae| vae.decode(&blank(&[batch, vae.latent_channels(), height, width])?))?;
        Some(network.saturating_add(pixels.saturating_mul(4 * 3)))
    }

    /// Bytes of scratch that encoding `batch` pictures of a size in pixels takes.
    pub fn encode_scratch(&self, batch: usize, height: usize, width: usize) -> Option<u64> {
        let sides = [height, width, 3];
        let counted = Counted::of(batch, height, width, CELLS * self.scale().pow(2));
        let Counted { batch, height, width, .. } = counted;
        let network = self.count(&counted, |vae| vae.encode(&blank(&[batch, 3, height, width])?))?;
        // The picture as the network takes it, and the step on the way there.
        let pixels = sides.iter().fold(batch as u64, |n, side| n.saturating_mul(*side as u64));
        Some(network.saturating_add(pixels.saturating_mul(4 * 2)))
    }

    fn count(
        &self,
        counted: &Counted,
        run: impl FnOnce(&Autoencoder) -> ebb_models::Result<Tensor>,
    ) -> Option<u64> {
        let ops = self.0.compute.counting();
        let vae =
            Autoencoder::load(self.0.kind, &ops, &self.0.tensors.source, LoadOptions::default()).ok()?;
        ops.reset_peak();
        run(&vae).ok()?;
        ops.peak_pages().map(|bytes| counted.whole(bytes))
    }
}

impl Payload for Vae {
    fn type_name(&self) -> &'static str {
        "VAE"
    }

    fn bytes(&self) -> u64 {
        0
    }

    fn summary(&self) -> String {
        self.0.spec.label.to_string()
    }
}
