//! Pictures as prompts: SD 2's unCLIP models, and SDXL's pooled prompt made of pictures (Ramesh et al. 2022).

use candle_core::{DType, Device, Tensor};
use ebb_models::timestep;
use ebb_sampling::guidance::{CondValue, Conditioning, InputContext, ModelInput, ModelInputs};
use ebb_sampling::rng::Generator;
use ebb_sampling::{LatentFormat, ModelSampling, Result};

use super::{Family, unet};
use crate::values::Shown;

/// The name under which a prompt's pictures are.
pub(crate) const PICTURES: &str = "unclip_conditioning";
/// The name under which the noise for several pictures together is.
pub(super) const MERGED_NOISE: &str = "unclip_noise_augment_merge";

/// SD 2.1 unCLIP: the picture's vector takes the place of size and score.
pub static SD2_UNCLIP: Family = Family {
    name: "Stable Diffusion 2 unCLIP",
    latent_format: LatentFormat::SD1,
    latent_channels: 4,
    tokens: 77,
    sampling: || ModelSampling::v(false),
    denoiser: unet::build,
    inputs,
    joint: false,
    edits_scaled: false,
};

/// Channels of SD 2.1 unCLIP's picture vectors, and their noise level's embedding: those of ViT-L and of ViT-H.
const WIDTHS: [usize; 2] = [768, 1024];

fn inputs(entry: &Conditioning, context: &InputContext<'_>, inputs: &mut ModelInputs) -> Result<()> {
    let y = match pictures(entry) {
        Some(shown) => augmented(shown, entry.number(MERGED_NOISE).unwrap_or(0.05), context.seed)?,
        // The network says how wide its vector is; a sampler fits it.
        None => Tensor::zeros((1, 2 * WIDTHS[1]), DType::F32, &Device::Cpu)?,
    };
    inputs.insert("y".into(), ModelInput::Regular(y));
    Ok(())
}

/// The pictures of an entry.
pub(super) fn pictures(entry: &Conditioning) -> Option<&Vec<Shown>> {
    match entry.extra.get(PICTURES)? {
        CondValue::Opaque(value) => value.downcast_ref::<Vec<Shown>>().filter(|shown| !shown.is_empty()),
        _ => None,
    }
}

/// One vector for all pictures, with noise on it, and the noise level embedded behind it.
///
/// The noise of each is drawn for the job's seed less ten; several pictures are added up, and noise comes once
/// more on the sum.
pub(super) fn augmented(shown: &[Shown], merged: f64, seed: u64) -> Result<Tensor> {
    let seed = seed.wrapping_sub(10);
    let signal = signal();
    let mut parts = Vec::new();
    let mut generator = Generator::new(seed);
    for picture in shown {
        for i in 0..picture.embeds.dim(0)? {
            generator = Generator::new(seed);
            let one = noised(&picture.embeds.narrow(0, i, 1)?, picture.noise, &signal, &mut generator)?;
            parts.push((one * picture.strength)?);
        }
    }
    let Some((first, rest)) = parts.split_first() else {
        return Ok(Tensor::zeros((1, 2 * WIDTHS[1]), DType::F32, &Device::Cpu)?);
    };
    if rest.is_empty() {
        return Ok(first.clone());
    }
    let mut sum = first.clone();
    for part in rest {
        sum = (sum + part)?;
    }
    let width = sum.dim(1)? / 2;
    noised(&sum.narrow(1, 0, width)?, merged, &signal, &mut generator)
}

/// A vector with noise of a level on it, then the level.
fn noised(x: &Tensor, level: f64, signal: &[f64], generator: &mut Generator) -> Result<Tensor> {
    let step = ((signal.len() - 1) as f64 * level).round_ties_even().clamp(0.0, (signal.len() - 1) as f64);
    let kept = signal[step as usize];
    let noise = generator.randn(x.shape().clone(), x.device())?;
    let noisy = ((x * f64::from(kept.sqrt() as f32))? + (noise * f64::from((1.0 - kept).sqrt() as f32))?)?;
    let width = x.dim(1)?;
    let level = timestep::embedding(&[step as f32], width, 10_000.0);
    Ok(Tensor::cat(&[&noisy, &Tensor::from_vec(level, (1, width), x.device())?], 1)?)
}

/// The share of the signal's variance at each of 1000 levels: the cosine schedule (Nichol and Dhariwal 2021).
fn signal() -> Vec<f64> {
    const LEVELS: usize = 1000;
    let bar = |t: f64| ((t + 0.008) / 1.008 * std::f64::consts::FRAC_PI_2).cos().powi(2);
    let mut product = 1.0;
    (0..LEVELS)
        .map(|i| {
            let (now, next) = (i as f64 / LEVELS as f64, (i + 1) as f64 / LEVELS as f64);
            product *= 1.0 - (1.0 - bar(next) / bar(now)).min(0.999);
            product
        })
        .collect()
}
