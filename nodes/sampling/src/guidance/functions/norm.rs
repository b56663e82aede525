//! CFGNorm and CFGZeroStar.

use std::sync::Arc;

use super::sum_per_item;
use crate::guidance::PostCfgFunction;
use crate::tensor::mix;

/// Keeps guidance from making a cell's channels longer, as a vector, than the positive side sees them; then
/// multiplies by `strength`.
pub fn cfg_norm(strength: f64) -> PostCfgFunction {
    Arc::new(move |args| {
        let length = |tensor: &candle_core::Tensor| tensor.sqr()?.sum_keepdim(1)?.sqrt();
        let share = (length(args.positive)? / (length(&args.denoised)? + 1e-8)?)?.clamp(0.0, 1.0)?;
        Ok((args.denoised.broadcast_mul(&share)? * strength)?)
    })
}

/// Scales the negative side to the best approximation of the positive one before guiding (Fan et al. 2025,
/// "CFG-Zero*", eq. 7).
pub fn cfg_zero_star() -> PostCfgFunction {
    Arc::new(|args| {
        let (positive, negative) = ((args.x - args.positive)?, (args.x - args.negative)?);
        let overlap = sum_per_item(&(&positive * &negative)?)?;
        let best = (overlap / (sum_per_item(&negative.sqr()?)? + 1e-8)?)?;
        // denoised + negative·(s − 1) + scale·negative·(1 − s)
        let share = best.affine(1.0 - args.scale, args.scale - 1.0)?;
        mix(&[(1.0, &args.denoised), (1.0, &args.negative.broadcast_mul(&share)?)])
    })
}
