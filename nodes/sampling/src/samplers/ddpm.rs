//! Samplers that forget the noise they saw: `ddpm` and `lcm`.

use candle_core::Tensor;

use super::walk::Walk;
use crate::Result;
use crate::noise::NoiseSource;
use crate::tensor::mix;

/// DDPM's posterior step (Ho et al. 2020, "Denoising Diffusion Probabilistic Models", algorithm 2), between
/// any two levels.
pub(super) fn ddpm(walk: &mut Walk<'_>, mut x: Tensor) -> Result<Tensor> {
    let mut noise = walk.independent_noise(&x);
    for (i, sigma, next) in walk.each() {
        let denoised = walk.begin(i, &x, sigma)?;
        // ᾱ of this level and the next; the method counts in latents of unit variance.
        let (bar, bar_next) = (1.0 / (sigma * sigma + 1.0), 1.0 / (next * next + 1.0));
        let alpha = bar / bar_next;
        let seen = (1.0 - alpha) / (1.0 - bar).sqrt() / sigma;
        let root = alpha.sqrt();
        let mean = mix(&[((bar.sqrt() - seen) / root, &x), (seen / root, &denoised)])?;
        if next == 0.0 {
            x = mean;
            continue;
        }
        let deviation = ((1.0 - alpha) * (1.0 - bar_next) / (1.0 - bar)).sqrt();
        let scale = 1.0 / bar_next.sqrt();
        x = mix(&[(scale, &mean), (scale * deviation, &noise.noise(sigma, next)?)])?;
    }
    Ok(x)
}

/// Goes to the clean latent and back to the next level with new noise (Luo et al. 2023, "Latent Consistency
/// Models", algorithm 3).
pub(super) fn lcm(walk: &mut Walk<'_>, mut x: Tensor) -> Result<Tensor> {
    let mut noise = walk.independent_noise(&x);
    for (i, sigma, next) in walk.each() {
        x = walk.begin(i, &x, sigma)?;
        if next > 0.0 {
            x = walk.sampling.add_noise(next, &noise.noise(sigma, next)?, &x, false)?;
        }
    }
    Ok(x)
}
