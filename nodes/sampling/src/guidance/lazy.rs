//! Steps that take the answer of an earlier one, whatever the model: what guidance added to its latent is added again,
//! for as long as the answer is expected to have changed little (ComfyUI's `LazyCache`).

use candle_core::{DType, Tensor};

use super::guided::Prediction;
use crate::Result;
use crate::model_sampling::ModelSampling;

/// When an earlier answer may be taken again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LazyReuse {
    /// How much the answer may have changed meanwhile, in parts of its size.
    pub threshold: f64,
    /// The share of sampling after which it may.
    pub start_percent: f64,
    /// The share of sampling until which it may.
    pub end_percent: f64,
}

/// Every n-th row and column is enough to tell how much a latent changed.
const EVERY: usize = 8;

/// What a run remembers of the last step that it computed.
struct Step {
    dims: Vec<usize>,
    x: Tensor,
    output: Tensor,
    /// The mean of the answer's sizes.
    size: f64,
    /// What guidance added to the latent.
    added: Tensor,
    negative: Tensor,
}

/// See the module.
pub(super) struct Lazy {
    threshold: f64,
    /// The noise levels from which on and until which answers may be taken again.
    sigmas: (f64, f64),
    /// How much the answer changes for a change of the latent.
    rate: Option<f64>,
    /// How much the answer is expected to have changed since it was computed.
    changed: f64,
    last: Option<Step>,
}

fn mean_of_sizes(x: &Tensor) -> Result<f64> {
    Ok(f64::from(x.to_dtype(DType::F32)?.abs()?.mean_all()?.to_scalar::<f32>()?))
}

/// A few rows and columns, the last two axes of a latent.
fn few(x: &Tensor) -> Result<Tensor> {
    let rank = x.rank();
    let mut few = x.contiguous()?;
    for axis in rank.saturating_sub(2)..rank {
        let index = Tensor::arange_step(0u32, x.dim(axis)? as u32, EVERY as u32, x.device())?;
        few = few.index_select(&index, axis)?;
    }
    Ok(few)
}

impl Lazy {
    pub(super) fn new(settings: LazyReuse, sampling: &ModelSampling) -> Self {
        let sigma = |percent| sampling.percent_to_sigma(percent);
        Self {
            threshold: settings.threshold,
            sigmas: (sigma(settings.start_percent), sigma(settings.end_percent)),
            rate: None,
            changed: 0.0,
            last: None,
        }
    }

    /// The earlier answer moved along, or what `compute` says.
    pub(super) fn answer(
        &mut self,
        x: &Tensor,
        sigma: f64,
        compute: impl FnOnce() -> Result<Prediction>,
    ) -> Result<Prediction> {
        if sigma <= self.sigmas.1 {
            return compute();
        }
        let mut change = None;
        if sigma <= self.sigmas.0 {
            if self.last.as_ref().is_some_and(|last| last.dims != x.dims()) {
                (self.rate, self.changed, self.last) = (None, 0.0, None);
            }
            if let Some(last) = &self.last {
                let moved = mean_of_sizes(&(few(x)? - &last.x)?)?;
                change = Some(moved);
                if let Some(rate) = self.rate {
                    self.changed += rate * moved / last.size;
                    if self.changed < self.threshold {
                        let denoised = (x + &last.added)?;
                        return Ok(Prediction { denoised, negative: last.negative.clone() });
                    }
                    self.changed = 0.0;
                }
            }
        }
        let found = compute()?;
        let output = few(&found.denoised)?;
        if let (Some(last), Some(change)) = (&self.last, change) {
            self.rate = Some(mean_of_sizes(&(&output - &last.output)?)? / change);
        }
        self.last = Some(Step {
            dims: x.dims().to_vec(),
            x: few(x)?,
            size: mean_of_sizes(&found.denoised)?,
            added: (&found.denoised - x)?,
            negative: found.negative.clone(),
            output,
        });
        Ok(found)
    }
}
