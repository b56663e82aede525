//! DifferentialDiffusion.

use std::sync::Arc;

use candle_core::Tensor;

use crate::guidance::DenoiseMaskFunction;
use crate::tensor::mix;

/// Reads a mask's grey values as times: a cell changes once its value is above the share of sampling that is
/// left (Levin and Fried 2023, "Differential Diffusion: Giving Each Pixel Its Strength"). `strength` below 1
/// mixes the plain mask back in.
pub fn differential_diffusion(strength: f64) -> DenoiseMaskFunction {
    Arc::new(move |args| {
        let first = args.sigmas.first().copied().unwrap_or(args.sigma);
        let last = args.sigmas.last().copied().unwrap_or(0.0).max(args.sampling.sigma_min());
        let place = |sigma| args.sampling.timestep(sigma);
        let left = (place(args.sigma) - place(last)) / (place(first) - place(last));
        let threshold = Tensor::new(left as f32, args.mask.device())?.to_dtype(args.mask.dtype())?;
        let open = args.mask.broadcast_ge(&threshold)?.to_dtype(args.mask.dtype())?;
        if strength > 0.0 && strength < 1.0 {
            return mix(&[(strength, &open), (1.0 - strength, args.mask)]);
        }
        Ok(open)
    })
}
