//! The named inputs of a model besides the latent, and how those of several entries become one batch.

use std::collections::BTreeMap;

use candle_core::Tensor;

use super::weights::CellArea;
use crate::Result;
use crate::tensor::repeat_to_batch;

/// Inputs by the name that the model gives them.
pub type ModelInputs = BTreeMap<String, ModelInput>;

/// One input.
#[derive(Clone, Debug)]
pub enum ModelInput {
    /// An encoded prompt, batch × tokens × channels. Prompts of different lengths are batched by repeating
    /// the shorter ones, which attention does not notice.
    CrossAttn(Tensor),
    /// A tensor whose first axis is the batch.
    Regular(Tensor),
    /// A tensor that lies over the latent and is cropped with it.
    OverLatent(Tensor),
    /// A number for the whole batch.
    Constant(f64),
}

/// Repeating a prompt more often than this costs more than a second call of the model.
const MOST_REPEATS: usize = 4;

impl ModelInput {
    /// The tensor, unless the input is a number.
    pub fn tensor(&self) -> Option<&Tensor> {
        match self {
            Self::CrossAttn(tensor) | Self::Regular(tensor) | Self::OverLatent(tensor) => Some(tensor),
            Self::Constant(_) => None,
        }
    }

    /// The input for a batch of `batch` latents, cropped to `area`.
    pub(super) fn fitted(&self, batch: usize, area: Option<&CellArea>) -> Result<Self> {
        Ok(match self {
            Self::CrossAttn(tensor) => Self::CrossAttn(repeat_to_batch(tensor, batch)?),
            Self::Regular(tensor) => Self::Regular(repeat_to_batch(tensor, batch)?),
            Self::OverLatent(tensor) => {
                let cropped = area.map_or_else(|| Ok(tensor.clone()), |area| area.crop(tensor))?;
                Self::OverLatent(repeat_to_batch(&cropped, batch)?)
            }
            Self::Constant(number) => Self::Constant(*number),
        })
    }

    /// Whether the two can be part of one batch.
    fn goes_with(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::CrossAttn(a), Self::CrossAttn(b)) => match (a.dims(), b.dims()) {
                (a, b) if a == b => true,
                (&[batch, tokens, channels], &[other_batch, other_tokens, other_channels]) => {
                    let (short, long) = (tokens.min(other_tokens), tokens.max(other_tokens));
                    (batch, channels) == (other_batch, other_channels)
                        && short > 0
                        && lcm(short, long) / short <= MOST_REPEATS
                }
                _ => false,
            },
            (Self::Regular(a), Self::Regular(b)) | (Self::OverLatent(a), Self::OverLatent(b)) => {
                a.dims() == b.dims()
            }
            (Self::Constant(a), Self::Constant(b)) => a == b,
            _ => false,
        }
    }
}

/// Whether the inputs of two entries can be part of one batch.
pub(super) fn can_batch(a: &ModelInputs, b: &ModelInputs) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|((name, a), (other, b))| name == other && a.goes_with(b))
}

/// The inputs of several entries as one batch.
pub(super) fn concatenated(entries: &[&ModelInputs]) -> Result<ModelInputs> {
    let Some((first, _)) = entries.split_first() else { return Ok(ModelInputs::new()) };
    let mut joined = ModelInputs::new();
    for (name, kind) in *first {
        let tensors =
            || -> Vec<&Tensor> { entries.iter().filter_map(|entry| entry.get(name)?.tensor()).collect() };
        let input = match kind {
            ModelInput::CrossAttn(_) => ModelInput::CrossAttn(cat_prompts(&tensors())?),
            ModelInput::Regular(_) => ModelInput::Regular(Tensor::cat(&tensors(), 0)?),
            ModelInput::OverLatent(_) => ModelInput::OverLatent(Tensor::cat(&tensors(), 0)?),
            ModelInput::Constant(number) => ModelInput::Constant(*number),
        };
        joined.insert(name.clone(), input);
    }
    Ok(joined)
}

fn cat_prompts(prompts: &[&Tensor]) -> Result<Tensor> {
    let mut tokens = 1;
    for prompt in prompts {
        tokens = lcm(tokens, prompt.dim(1)?);
    }
    let repeated = prompts
        .iter()
        .map(|prompt| {
            let times = tokens / prompt.dim(1)?.max(1);
            if times == 1 { Ok((*prompt).clone()) } else { prompt.repeat((1, times, 1)) }
        })
        .collect::<candle_core::Result<Vec<_>>>()?;
    Ok(Tensor::cat(&repeated, 0)?)
}

fn lcm(a: usize, b: usize) -> usize {
    let (mut x, mut y) = (a, b);
    while y != 0 {
        (x, y) = (y, x % y);
    }
    a.checked_div(x).unwrap_or(0) * b
}
