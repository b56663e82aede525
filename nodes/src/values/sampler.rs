//! What custom sampling takes apart: `SAMPLER`, `SIGMAS`, `NOISE`, `GUIDER`.

use std::sync::Arc;

use candle_core::Tensor;
use ebb_engine::node::NodeError;
use ebb_engine::value::Payload;
use ebb_sampling::Sampler;
use ebb_sampling::guidance::Guidance;
use ebb_sampling::noise::prepare_noise;

use super::{Conditioning, Latent, Model, OrNode, sampling_error};

/// A sampler that a node chose, for the nodes that take noise, sigmas and guidance apart.
#[derive(Clone, Debug)]
pub struct ChosenSampler(pub Sampler);

impl Payload for ChosenSampler {
    fn type_name(&self) -> &'static str {
        "SAMPLER"
    }

    fn bytes(&self) -> u64 {
        0
    }

    fn summary(&self) -> String {
        self.0.name().to_owned()
    }
}

/// A schedule: falling sigmas, one more than there are steps.
#[derive(Clone, Debug, PartialEq)]
pub struct Sigmas(pub Vec<f64>);

impl Payload for Sigmas {
    fn type_name(&self) -> &'static str {
        "SIGMAS"
    }

    fn bytes(&self) -> u64 {
        (self.0.len() * size_of::<f64>()) as u64
    }

    fn summary(&self) -> String {
        format!("{:?}", self.0)
    }
}

/// The noise that sampling starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noise {
    /// What PyTorch draws for a seed.
    Seeded(u64),
    /// None: the latent brings its own.
    Disabled,
}

impl Noise {
    /// The seed, for samplers that add noise on their way.
    pub fn seed(self) -> u64 {
        match self {
            Self::Seeded(seed) => seed,
            Self::Disabled => 0,
        }
    }

    /// The noise for a latent, of the shape of its `samples`.
    ///
    /// # Errors
    /// Where the batch indices do not fit the samples.
    pub fn for_latent(self, latent: &Latent, samples: &Tensor) -> Result<Tensor, NodeError> {
        let Self::Seeded(seed) = self else { return samples.zeros_like().or_node() };
        let index: Option<Vec<usize>> =
            latent.batch_index.as_ref().map(|index| index.iter().map(|i| *i as usize).collect());
        prepare_noise(samples, seed, index.as_deref()).map_err(sampling_error)
    }
}

impl Payload for Noise {
    fn type_name(&self) -> &'static str {
        "NOISE"
    }

    fn bytes(&self) -> u64 {
        0
    }

    fn summary(&self) -> String {
        format!("{self:?}")
    }
}

/// A model with its prompts, and how they are weighed.
#[derive(Clone)]
pub struct Guider {
    /// The denoiser.
    pub model: Arc<Model>,
    /// The prompts.
    pub guidance: Guidance,
    /// Tokens of the longest prompt.
    pub tokens: usize,
    bytes: u64,
}

impl Guider {
    /// Weighs prompts; `all` are those that `guidance` holds.
    pub fn new(model: Arc<Model>, guidance: Guidance, all: &[&Conditioning]) -> Self {
        let tokens = all.iter().map(|prompt| prompt.longest()).max().unwrap_or(0).max(1);
        let bytes = all.iter().map(|prompt| prompt.bytes()).sum();
        Self { model, guidance, tokens, bytes }
    }
}

impl Payload for Guider {
    fn type_name(&self) -> &'static str {
        "GUIDER"
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn summary(&self) -> String {
        self.model.summary()
    }
}
