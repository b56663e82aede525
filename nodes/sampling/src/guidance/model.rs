//! The raw model, as guidance sees it.

use candle_core::Tensor;

use super::conditioning::{Conditioning, Opaque};
use super::inputs::{ModelInput, ModelInputs};
use crate::Result;

/// Which of the prompts that are weighed against each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Side {
    /// What the picture should show.
    Positive,
    /// What it should not show.
    Negative,
    /// Between the two, where guidance weighs three.
    Middle,
}

impl Side {
    /// The name that families switch on (`prompt_type`). A middle prompt is treated as a negative one.
    pub fn prompt_type(self) -> &'static str {
        match self {
            Self::Positive => "positive",
            Self::Negative | Self::Middle => "negative",
        }
    }
}

/// One call of the model, for one or more entries at once.
#[derive(Clone, Copy, Debug)]
pub struct ModelCall<'a> {
    /// The latents, scaled as the model wants them. As many chunks as there are `sides`.
    pub x: &'a Tensor,
    /// The same before they were scaled.
    pub x_unscaled: &'a Tensor,
    /// The noise level, one for all.
    pub sigma: f64,
    /// The timestep that the model reads at that level.
    pub timestep: f64,
    /// The prompts and everything else, as a batch that fits `x`.
    pub inputs: &'a ModelInputs,
    /// The ControlNet of these entries.
    pub control: Option<&'a Opaque>,
    /// Changes of the model's layers: of these entries, then those of a hook.
    pub patches: &'a [Opaque],
    /// To which side each chunk of the batch belongs.
    pub sides: &'a [Side],
}

/// What a family may look at to make its inputs.
#[derive(Clone, Copy, Debug)]
pub struct InputContext<'a> {
    /// For which side.
    pub side: Side,
    /// The noise that sampling starts from; its shape is the latent's.
    pub noise: &'a Tensor,
    /// The latent that sampling starts from, in the model's scale.
    pub latent: &'a Tensor,
    /// Where the latent may change, in its size.
    pub denoise_mask: Option<&'a Tensor>,
    /// The job's seed.
    pub seed: u64,
}

/// A model that predicts noise, velocity or whatever its
/// [`Prediction`](crate::model_sampling::Prediction) says.
pub trait Model {
    /// The raw output for a batch of latents, in their shape.
    fn predict(&mut self, call: &ModelCall<'_>) -> Result<Tensor>;

    /// The model's inputs for an entry. The default passes the prompt as `c_crossattn` and the pooled
    /// prompt as `y`.
    fn inputs(&mut self, entry: &Conditioning, context: &InputContext<'_>) -> Result<ModelInputs> {
        let _ = context;
        let mut inputs = ModelInputs::new();
        if let Some(prompt) = &entry.cross_attn {
            inputs.insert("c_crossattn".into(), ModelInput::CrossAttn(prompt.clone()));
        }
        if let Some(pooled) = &entry.pooled {
            inputs.insert("y".into(), ModelInput::Regular(pooled.clone()));
        }
        Ok(inputs)
    }

    /// Told before each evaluation of all sides.
    fn begin(&mut self) {}

    /// How many entries of latents of this shape may run in one call, for memory's sake. At least 1.
    fn largest_batch(&self, shape: &[usize]) -> usize {
        let _ = shape;
        usize::MAX
    }
}
