//! RescaleCFG.

use std::sync::Arc;

use super::deviation_per_item;
use crate::guidance::CfgFunction;
use crate::tensor::mix;

/// Gives the guided velocity the deviation of the positive side's, which strong guidance raises (Lin et al.
/// 2023, "Common Diffusion Noise Schedules and Sample Steps are Flawed", eqs. 14 to 16). `multiplier` is the
/// paper's φ: 0 changes nothing, 1 rescales fully.
pub fn rescale_cfg(multiplier: f64) -> CfgFunction {
    Arc::new(move |args| {
        // The paper rescales velocities: v = (x/(σ²+1) − x₀)·√(σ²+1)/σ.
        let total = args.sigma * args.sigma + 1.0;
        let root = total.sqrt();
        let velocity = |clean| mix(&[(1.0 / (root * args.sigma), args.x), (-root / args.sigma, clean)]);
        let (positive, negative) = (velocity(args.positive)?, velocity(args.negative)?);
        let guided = mix(&[(1.0 - args.scale, &negative), (args.scale, &positive)])?;
        let factor = (deviation_per_item(&positive)? / deviation_per_item(&guided)?)?;
        let rescaled = guided.broadcast_mul(&factor.affine(multiplier, 1.0 - multiplier)?)?;
        mix(&[(1.0 / total, args.x), (-args.sigma / root, &rescaled)])
    })
}
