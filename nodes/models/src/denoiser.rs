//! What every denoiser is to the samplers, whatever its family.

use std::sync::Arc;

use candle_core::Tensor;

use crate::{
    Params, Result,
    changes::Changes,
    ops::{Act, Ops, with_values},
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
    /// What nodes change of the layers.
    pub changes: Option<&'a Changes>,
    /// Pictures to look at beside the latent, each NCHW of one sample or of all.
    pub references: References<'a>,
}

impl<'a> Input<'a> {
    /// The inputs that every family has.
    pub fn new(x: &'a Tensor, timesteps: &'a [f32], context: &'a Tensor) -> Self {
        Self {
            x,
            timesteps,
            context,
            y: None,
            guidance: None,
            control: None,
            changes: None,
            references: References::default(),
        }
    }
}

/// Latents that a transformer reads as further tokens of its picture (Flux Kontext).
#[derive(Clone, Copy, Default)]
pub struct References<'a> {
    /// The latents, in the model's scale.
    pub latents: &'a [Tensor],
    /// Where their positions are.
    pub places: Places,
    /// Added to attention's scores: `[n, tokens, tokens]` over the prompt's tokens, then one position that stands
    /// for the whole picture.
    pub attention_bias: Option<&'a Tensor>,
}

/// Where the positions of reference latents are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Places {
    /// In one plane behind the picture, side by side.
    #[default]
    Offset,
    /// Each in a plane of its own.
    Index,
    /// In the picture's plane, beyond its corner.
    Diagonal,
}

/// What control networks add inside a denoiser, in the order of its blocks.
#[derive(Clone, Default)]
pub struct Residuals {
    /// Added after each input block of a UNet (T2I adapters), or to the picture after each of Flux's blocks that
    /// have weights for text and picture apart.
    pub input: Vec<Option<Arc<Act>>>,
    /// Added after the middle block.
    pub middle: Option<Arc<Act>>,
    /// Added to each skip connection of a UNet, in the order of the *input* blocks that made them; or to the picture
    /// after each of SD 3's blocks, or of Flux's that treat text and picture alike.
    pub output: Vec<Option<Arc<Act>>>,
}

impl Residuals {
    /// Those of two networks together.
    pub fn joined(self, ops: &Ops, other: Self) -> Result<Self> {
        let one = |a: Option<Arc<Act>>, b: Option<Arc<Act>>| match (a, b) {
            (Some(a), Some(b)) => ops.add(&a, &b, 1.0).map(|sum| Some(Arc::new(sum))),
            (a, b) => Ok(a.or(b)),
        };
        let list = |a: Vec<Option<Arc<Act>>>, b: Vec<Option<Arc<Act>>>| {
            let length = a.len().max(b.len());
            let (mut a, mut b) = (a.into_iter(), b.into_iter());
            (0..length).map(|_| one(a.next().flatten(), b.next().flatten())).collect::<Result<Vec<_>>>()
        };
        Ok(Self {
            input: list(self.input, other.input)?,
            middle: one(self.middle, other.middle)?,
            output: list(self.output, other.output)?,
        })
    }

    /// Every residual averaged over the positions of its sample.
    pub fn averaged(self, ops: &Ops) -> Result<Self> {
        let one = |act: Option<Arc<Act>>| {
            let Some(act) = act else { return Ok(None) };
            let dims = act.dims();
            let mut values = ops.download(&act)?;
            for sample in values.chunks_exact_mut((dims.positions() * dims.c).max(1)) {
                let mut means = vec![0f32; dims.c];
                for row in sample.chunks_exact(dims.c) {
                    means.iter_mut().zip(row).for_each(|(mean, value)| *mean += value);
                }
                means.iter_mut().for_each(|mean| *mean /= dims.positions() as f32);
                sample.chunks_exact_mut(dims.c).for_each(|row| row.copy_from_slice(&means));
            }
            Ok(Some(Arc::new(ops.upload(dims, &values)?)))
        };
        let list = |acts: Vec<Option<Arc<Act>>>| acts.into_iter().map(one).collect::<Result<Vec<_>>>();
        Ok(Self { input: list(self.input)?, middle: one(self.middle)?, output: list(self.output)? })
    }
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
        let known = with_values(context, |values| {
            Ok(self.prompts.iter().position(|p| p.shape == context.dims() && p.values == values))
        })?;
        if let Some(found) = known {
            self.prompts[..=found].rotate_right(1);
        } else {
            self.prompts.truncate(PROMPTS - 1);
            let (shape, values) =
                (context.dims().to_vec(), with_values(context, |values| Ok(values.to_vec()))?);
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

    /// Its prepared weights, for a patched view to share.
    fn params(&self) -> &Params;

    /// Bytes of its weights, those included that it shares with the model it was loaded over.
    fn bytes(&self) -> usize {
        self.params().bytes()
    }

    /// Channels that it expects of `x`.
    fn input_channels(&self) -> usize;

    /// Channels of a text token.
    fn context_channels(&self) -> usize;

    /// Channels of the pooled text and sizes, where it reads any.
    fn y_channels(&self) -> Option<usize>;
}
