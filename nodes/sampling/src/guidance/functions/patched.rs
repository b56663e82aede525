//! Guidance away from a weakened model: perturbed attention and skipped layers.

use std::sync::Arc;

use super::deviation;
use crate::guidance::{Opaque, PostCfgFunction, Side};
use crate::tensor::mix;

/// How to guide away from a model with changed layers.
#[derive(Clone, Debug)]
pub struct Patched {
    /// The change, which the model knows how to read.
    pub patch: Opaque,
    /// How strongly.
    pub scale: f64,
    /// The noise level from which on.
    pub start_sigma: f64,
    /// The noise level until which.
    pub end_sigma: f64,
    /// How far the result gets the positive side's deviation back: 0 not, 1 fully.
    pub rescaling: f64,
}

/// Adds the difference between what the model and the weakened model see for the positive side (Ahn et al.
/// 2024, "Self-Rectifying Diffusion Sampling with Perturbed-Attention Guidance"; skip-layer guidance of
/// Stable Diffusion 3.5 is the same with other layers).
pub fn away_from_patched(settings: Patched) -> PostCfgFunction {
    Arc::new(move |args| {
        let Patched { patch, scale, start_sigma, end_sigma, rescaling } = &settings;
        if *scale == 0.0 || args.sigma > *start_sigma || args.sigma < *end_sigma {
            return Ok(args.denoised.clone());
        }
        let weakened = (args.evaluate)(Side::Positive, args.x, Some(patch))?;
        let guided = mix(&[(1.0, &args.denoised), (*scale, args.positive), (-scale, &weakened)])?;
        if *rescaling == 0.0 {
            return Ok(guided);
        }
        let factor = rescaling * deviation(args.positive)? / deviation(&guided)? + (1.0 - rescaling);
        Ok((guided * factor)?)
    })
}
