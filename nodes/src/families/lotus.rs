//! Lotus (He et al. 2024, "Lotus: Diffusion-based Visual Foundation Model for High-quality Dense Prediction"): SD 2's
//! UNet, which makes depth or normals of a picture in one step.

use candle_core::{Device, Tensor};
use ebb_sampling::guidance::{Conditioning, InputContext, ModelInput, ModelInputs};
use ebb_sampling::model_sampling::{Discrete, Prediction};
use ebb_sampling::{LatentFormat, ModelSampling, Result};

use super::{Family, unet};

/// Lotus: told that it is to predict, and not to draw the picture again.
pub static LOTUS: Family = Family {
    name: "Lotus",
    latent_format: LatentFormat::SD1,
    latent_channels: 4,
    tokens: 2,
    sampling: || ModelSampling::new(Prediction::ImageToImage, Discrete::default()),
    denoiser: unet::build,
    inputs,
    joint: false,
    edits_scaled: false,
};

/// Which of two tasks, as its sines and cosines.
const TASK: [f32; 2] = [1.0, 0.0];

fn inputs(_: &Conditioning, _: &InputContext<'_>, inputs: &mut ModelInputs) -> Result<()> {
    let waves: Vec<f32> = TASK.iter().map(|t| t.sin()).chain(TASK.iter().map(|t| t.cos())).collect();
    let y = Tensor::from_vec(waves, (1, 2 * TASK.len()), &Device::Cpu)?;
    inputs.insert("y".into(), ModelInput::Regular(y));
    Ok(())
}
