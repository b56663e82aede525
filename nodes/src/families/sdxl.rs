//! Stable Diffusion XL, base and refiner.

use candle_core::{DType, Device, Tensor};
use ebb_sampling::guidance::{Conditioning, InputContext, ModelInput, ModelInputs, Side};
use ebb_sampling::{LatentFormat, ModelSampling, Result};

use super::{AddInputs, Family, unclip, unet};

/// Stable Diffusion XL: two text encoders, told the picture's size.
pub static SDXL: Family = of("Stable Diffusion XL", base);

/// The refiner: one text encoder, told the size and a score.
pub static SDXL_REFINER: Family = of("Stable Diffusion XL refiner", refiner);

const fn of(name: &'static str, inputs: AddInputs) -> Family {
    Family {
        name,
        latent_format: LatentFormat::SDXL,
        latent_channels: 4,
        tokens: 77,
        sampling: ModelSampling::eps,
        denoiser: unet::build,
        inputs,
        joint: false,
        edits_scaled: false,
    }
}

/// Channels of bigG's pooled text.
const POOLED: usize = 1280;

fn pooled(entry: &Conditioning) -> candle_core::Result<Tensor> {
    match &entry.pooled {
        Some(pooled) => Ok(pooled.clone()),
        // A prompt without one (of another family's encoder) says nothing.
        None => Tensor::zeros((1, POOLED), DType::F32, &Device::Cpu),
    }
}

/// The picture's height and width in pixels: what the node said, else what is sampled.
fn size(entry: &Conditioning, context: &InputContext<'_>) -> candle_core::Result<(f64, f64)> {
    let (_, _, rows, columns) = context.noise.dims4()?;
    let height = entry.number("height").unwrap_or((rows * 8) as f64);
    Ok((height, entry.number("width").unwrap_or((columns * 8) as f64)))
}

fn base(entry: &Conditioning, context: &InputContext<'_>, inputs: &mut ModelInputs) -> Result<()> {
    let (height, width) = size(entry, context)?;
    let number = |name, default| entry.number(name).unwrap_or(default);
    let numbers = [
        height,
        width,
        number("crop_h", 0.0),
        number("crop_w", 0.0),
        number("target_height", height),
        number("target_width", width),
    ];
    let pooled = match unclip::pictures(entry) {
        // Of the pictures' vector and its noise level, only the vector is read.
        Some(shown) => {
            let merged = entry.number(unclip::MERGED_NOISE).unwrap_or(0.0);
            let vector = unclip::augmented(shown, merged, context.seed)?;
            vector.narrow(1, 0, POOLED.min(vector.dim(1)?))?
        }
        None => pooled(entry)?,
    };
    let y = unet::pooled_and_sizes(&pooled, &numbers)?;
    inputs.insert("y".into(), ModelInput::Regular(y));
    Ok(())
}

fn refiner(entry: &Conditioning, context: &InputContext<'_>, inputs: &mut ModelInputs) -> Result<()> {
    let (height, width) = size(entry, context)?;
    let number = |name, default| entry.number(name).unwrap_or(default);
    let score = if context.side == Side::Positive { 6.0 } else { 2.5 };
    let numbers =
        [height, width, number("crop_h", 0.0), number("crop_w", 0.0), number("aesthetic_score", score)];
    let y = unet::pooled_and_sizes(&pooled(entry)?, &numbers)?;
    inputs.insert("y".into(), ModelInput::Regular(y));
    Ok(())
}
