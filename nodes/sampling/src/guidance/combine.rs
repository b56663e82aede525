//! How the predictions of the sides become one.

use candle_core::Tensor;

use super::guided::Prediction;
use super::hooks::{CfgArgs, Evaluate, Hooks, PostCfgArgs, PreCfgArgs};
use super::model::Side;
use crate::model_sampling::ModelSampling;
use crate::tensor::mix;
use crate::{Error, Result};

/// The scales of guidance.
#[derive(Clone, Copy, Debug)]
pub(super) enum Scales {
    Cfg(f64),
    Dual { positive: f64, middle: f64 },
    Nested { positive: f64, middle: f64 },
    PerpNeg { scale: f64, negative: f64 },
}

impl Scales {
    /// The sides in the order in which they are evaluated, which decides how they share calls.
    pub(super) fn order(self) -> &'static [Side] {
        match self {
            Self::Cfg(_) => &[Side::Positive, Side::Negative],
            Self::Dual { .. } | Self::Nested { .. } => &[Side::Negative, Side::Middle, Side::Positive],
            Self::PerpNeg { .. } => &[Side::Positive, Side::Negative, Side::Middle],
        }
    }

    /// The sides that a scale of 1 cancels, so that they need not be evaluated.
    pub(super) fn irrelevant(self) -> &'static [Side] {
        match self {
            Self::Cfg(scale) if is_one(scale) => &[Side::Negative],
            Self::Dual { positive, middle } if is_one(middle) && is_one(positive) => {
                &[Side::Negative, Side::Middle]
            }
            Self::Dual { middle, .. } if is_one(middle) => &[Side::Negative],
            _ => &[],
        }
    }
}

fn is_one(scale: f64) -> bool {
    (scale - 1.0).abs() <= 1e-9 * scale.abs().max(1.0)
}

/// What combining needs besides the predictions.
pub(super) struct Context<'a, 'e> {
    pub(super) hooks: &'a Hooks,
    pub(super) sampling: &'a ModelSampling,
    pub(super) x: &'a Tensor,
    pub(super) sigma: f64,
    pub(super) evaluate: &'a mut Evaluate<'e>,
}

/// Combines the predictions, through the hooks.
pub(super) fn combine(
    predictions: &mut [(Side, Tensor)],
    scales: Scales,
    context: &mut Context<'_, '_>,
) -> Result<Prediction> {
    if let Scales::Cfg(scale) = scales {
        for hook in &context.hooks.pre_cfg {
            hook(&mut PreCfgArgs { predictions, x: context.x, sigma: context.sigma, scale })?;
        }
    }
    let of = |side| of(predictions, side);
    // Nested guidance measures from the middle prompt first, which CFG++ samplers then take for the negative.
    let base = if matches!(scales, Scales::Nested { .. }) { Side::Middle } else { Side::Negative };
    let seen_by_base = of(base)?.clone();
    let negative = of(Side::Negative)?;
    let denoised = match scales {
        Scales::Cfg(scale) => cfg(of(Side::Positive)?, negative, scale, context)?,
        Scales::Dual { positive, middle } => {
            let (first, second) = (of(Side::Positive)?, of(Side::Middle)?);
            let base = cfg(second, negative, middle, context)?;
            mix(&[(1.0, &base), (positive, first), (-positive, second)])?
        }
        Scales::Nested { positive, middle } => {
            let inner = cfg(of(Side::Positive)?, of(Side::Middle)?, positive, context)?;
            mix(&[(1.0 - middle, negative), (middle, &inner)])?
        }
        Scales::PerpNeg { scale, negative: weight } => {
            let (positive, empty) = (of(Side::Positive)?, of(Side::Middle)?);
            let denoised = perp_neg(positive, negative, empty, scale, weight)?;
            post_cfg(denoised, positive, negative, scale, context)?
        }
    };
    Ok(Prediction { denoised, negative: seen_by_base })
}

fn of(predictions: &[(Side, Tensor)], side: Side) -> Result<&Tensor> {
    let found = predictions.iter().find(|(name, _)| *name == side).map(|(_, tensor)| tensor);
    found.ok_or_else(|| Error::model(format!("guidance has no prediction of the {side:?} side")))
}

/// Classifier-free guidance with its hooks.
fn cfg(positive: &Tensor, negative: &Tensor, scale: f64, context: &mut Context<'_, '_>) -> Result<Tensor> {
    let Context { hooks, sampling, x, sigma, .. } = *context;
    let denoised = match &hooks.cfg {
        Some(hook) => hook(&CfgArgs { positive, negative, x, sigma, scale, sampling })?,
        // Not 1 − scale and scale as weights: a prompt that equals its negative must come out exactly.
        None => mix(&[(1.0, negative), (scale, &(positive - negative)?)])?,
    };
    post_cfg(denoised, positive, negative, scale, context)
}

/// The hooks on a combined prediction.
fn post_cfg(
    mut denoised: Tensor,
    positive: &Tensor,
    negative: &Tensor,
    scale: f64,
    context: &mut Context<'_, '_>,
) -> Result<Tensor> {
    let Context { hooks, sampling, x, sigma, evaluate } = context;
    let (sampling, x, sigma) = (*sampling, *x, *sigma);
    for hook in &hooks.post_cfg {
        let mut again = |side: Side, x: &Tensor, patch: Option<&_>| evaluate(side, x, patch);
        denoised = hook(&mut PostCfgArgs {
            denoised,
            positive,
            negative,
            x,
            sigma,
            scale,
            sampling,
            evaluate: &mut again,
        })?;
    }
    Ok(denoised)
}

/// empty + scale · (p − weight · n⊥): p and n point from the empty prompt to the others, and n⊥ is the part of n
/// at right angles to p.
fn perp_neg(positive: &Tensor, negative: &Tensor, empty: &Tensor, scale: f64, weight: f64) -> Result<Tensor> {
    let (p, n) = ((positive - empty)?, (negative - empty)?);
    let sum = |tensor: Tensor| tensor.to_dtype(candle_core::DType::F32)?.sum_all()?.to_scalar::<f32>();
    let (overlap, length) = (f64::from(sum((&p * &n)?)?), f64::from(sum(p.sqr()?)?));
    let along = overlap / length;
    mix(&[(1.0, empty), (scale * (1.0 + weight * along), &p), (-scale * weight, &n)])
}
