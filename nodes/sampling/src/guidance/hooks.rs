//! Where nodes change guidance: before the sides are combined, how, and after.

use std::fmt;
use std::sync::Arc;

use candle_core::Tensor;

use super::conditioning::Opaque;
use super::lazy::LazyReuse;
use super::model::Side;
use crate::Result;
use crate::model_sampling::ModelSampling;

/// Changes of guidance that nodes made. They run in the order in which they were added.
#[derive(Clone, Default)]
pub struct Hooks {
    /// Changes of the predictions before they are combined.
    pub pre_cfg: Vec<PreCfgFunction>,
    /// What takes the place of `negative + (positive − negative) · scale`.
    pub cfg: Option<CfgFunction>,
    /// Changes of the combined prediction.
    pub post_cfg: Vec<PostCfgFunction>,
    /// What the denoise mask is at a sigma.
    pub denoise_mask: Option<DenoiseMaskFunction>,
    /// Changes of the model's layers for the negative side alone.
    pub negative_patch: Option<NegativePatch>,
    /// When a step takes the answer of an earlier one.
    pub lazy: Option<LazyReuse>,
    /// Whether the negative side is evaluated even where the scale makes it irrelevant, because a hook
    /// reads it.
    pub needs_negative: bool,
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks")
            .field("pre_cfg", &self.pre_cfg.len())
            .field("cfg", &self.cfg.is_some())
            .field("post_cfg", &self.post_cfg.len())
            .field("denoise_mask", &self.denoise_mask.is_some())
            .field("negative_patch", &self.negative_patch)
            .field("lazy", &self.lazy)
            .field("needs_negative", &self.needs_negative)
            .finish()
    }
}

/// See [`Hooks::negative_patch`]: guiding away from a weakened model without a third evaluation.
#[derive(Clone, Debug)]
pub struct NegativePatch {
    /// The change, which the model knows how to read.
    pub patch: Opaque,
    /// The noise level from which on.
    pub start_sigma: f64,
    /// The noise level until which.
    pub end_sigma: f64,
}

/// See [`Hooks::pre_cfg`]. Changes the predictions in place, in the order of their sides.
pub type PreCfgFunction = Arc<dyn Fn(&mut PreCfgArgs<'_>) -> Result<()> + Send + Sync>;
/// See [`Hooks::cfg`]. Answers the combined prediction of the clean latent.
pub type CfgFunction = Arc<dyn Fn(&CfgArgs<'_>) -> Result<Tensor> + Send + Sync>;
/// See [`Hooks::post_cfg`]. Answers the new combined prediction.
pub type PostCfgFunction = Arc<dyn Fn(&mut PostCfgArgs<'_>) -> Result<Tensor> + Send + Sync>;
/// See [`Hooks::denoise_mask`]. Answers the mask for a sigma.
pub type DenoiseMaskFunction = Arc<dyn Fn(&DenoiseMaskArgs<'_>) -> Result<Tensor> + Send + Sync>;

/// What a [`PreCfgFunction`] sees.
pub struct PreCfgArgs<'a> {
    /// The clean latent as each side sees it. A negative side that was left out is zeros.
    pub predictions: &'a mut [(Side, Tensor)],
    /// The noisy latent.
    pub x: &'a Tensor,
    /// The noise level.
    pub sigma: f64,
    /// The scale of guidance.
    pub scale: f64,
}

/// What a [`CfgFunction`] sees.
pub struct CfgArgs<'a> {
    /// The clean latent as the positive side sees it.
    pub positive: &'a Tensor,
    /// The clean latent as the negative side sees it.
    pub negative: &'a Tensor,
    /// The noisy latent.
    pub x: &'a Tensor,
    /// The noise level.
    pub sigma: f64,
    /// The scale of guidance.
    pub scale: f64,
    /// The model's relation to noise.
    pub sampling: &'a ModelSampling,
}

/// What a [`PostCfgFunction`] sees.
pub struct PostCfgArgs<'a> {
    /// The combined prediction so far.
    pub denoised: Tensor,
    /// The clean latent as the positive side sees it.
    pub positive: &'a Tensor,
    /// The clean latent as the negative side sees it.
    pub negative: &'a Tensor,
    /// The noisy latent.
    pub x: &'a Tensor,
    /// The noise level.
    pub sigma: f64,
    /// The scale of guidance.
    pub scale: f64,
    /// The model's relation to noise.
    pub sampling: &'a ModelSampling,
    /// Evaluates a side once more: perturbed-attention and skip-layer guidance compare with that.
    pub evaluate: &'a mut Evaluate<'a>,
}

/// Evaluates a side for a latent, with a change of the model's layers.
pub type Evaluate<'a> = dyn FnMut(Side, &Tensor, Option<&Opaque>) -> Result<Tensor> + 'a;

/// What a [`DenoiseMaskFunction`] sees.
pub struct DenoiseMaskArgs<'a> {
    /// The mask, batch × 1 × rows × columns.
    pub mask: &'a Tensor,
    /// The noise level.
    pub sigma: f64,
    /// The whole schedule.
    pub sigmas: &'a [f64],
    /// The model's relation to noise.
    pub sampling: &'a ModelSampling,
}
