//! What every denoiser is to the samplers, whatever its family.

use std::sync::Arc;

use candle_core::Tensor;

use crate::{
    Result,
    ops::{Act, Ops},
};

/// One call's inputs, for a batch of `n` samples.
#[derive(Clone, Copy)]
pub struct Input<'a> {
    /// The scaled latent, NCHW f32, with any channels that the family concatenates to it.
    pub x: &'a Tensor,
    /// One timestep a sample, in the family's own units.
    pub timesteps: &'a [f32],
    /// Text tokens, `[n, tokens, channels]`.
    pub context: &'a Tensor,
    /// Pooled text and sizes, `[n, channels]`, where the family has them.
    pub y: Option<&'a Tensor>,
    /// Distilled guidance, one a sample, where the family has it.
    pub guidance: Option<&'a [f32]>,
    /// Residuals of control networks.
    pub control: Option<&'a Residuals>,
}

impl<'a> Input<'a> {
    /// The inputs that every family has.
    pub fn new(x: &'a Tensor, timesteps: &'a [f32], context: &'a Tensor) -> Self {
        Self { x, timesteps, context, y: None, guidance: None, control: None }
    }
}

/// What control networks add inside a UNet, in the order of its blocks.
#[derive(Clone, Default)]
pub struct Residuals {
    /// Added after each input block (T2I adapters).
    pub input: Vec<Option<Arc<Act>>>,
    /// Added after the middle block.
    pub middle: Option<Arc<Act>>,
    /// Added to each skip connection, in the order of the *input* blocks that made them.
    pub output: Vec<Option<Arc<Act>>>,
}

/// A denoiser's memory of one sampling run: what it computed from a prompt and need not compute at every step.
/// Drop it when the run ends; its bytes go with it.
#[derive(Default)]
pub struct Session {
    prompts: Vec<Prompt>,
}

/// Keys and values of one context, an activation for each cross-attention of the model.
pub(crate) struct Prompt {
    shape: Vec<usize>,
    values: Vec<f32>,
    pub(crate) context: Act,
    pub(crate) keys_values: Vec<Option<Act>>,
}

/// How many contexts are remembered: positive and negative apart, with two regions each.
const PROMPTS: usize = 4;

impl Session {
    /// Nothing remembered yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The entry of a context, found by its values; `layers` is the number of cross-attentions.
    pub(crate) fn prompt(&mut self, ops: &Ops, context: &Tensor, layers: usize) -> Result<&mut Prompt> {
        let shape = context.dims().to_vec();
        let values = context.flatten_all()?.to_dtype(candle_core::DType::F32)?.to_vec1::<f32>()?;
        if let Some(found) = self.prompts.iter().position(|p| p.shape == shape && p.values == values) {
            self.prompts[..=found].rotate_right(1);
        } else {
            self.prompts.truncate(PROMPTS - 1);
            let context = ops.from_tokens(context)?;
            let keys_values = (0..layers).map(|_| None).collect();
            self.prompts.insert(0, Prompt { shape, values, context, keys_values });
        }
        Ok(&mut self.prompts[0])
    }
}

/// A network that predicts noise, velocity or flow.
pub trait Denoiser: Send + Sync {
    /// Predicts for a batch; NCHW f32 as `x`, with the model's output channels.
    fn denoise(&self, session: &mut Session, input: Input<'_>) -> Result<Tensor>;

    /// Bytes of its weights.
    fn bytes(&self) -> usize;

    /// Channels that it expects of `x`.
    fn input_channels(&self) -> usize;

    /// Channels of a text token.
    fn context_channels(&self) -> usize;

    /// Channels of the pooled text and sizes, where it reads any.
    fn y_channels(&self) -> Option<usize>;
}
