//! What a denoiser predicts. Names rarely tell; where they don't, ComfyUI's way of seeing it is used.

use super::family::{Family, Prediction};
use super::{Component, Evidence};
use crate::{Result, WeightSource};

pub(super) fn find(file: &WeightSource, denoiser: &mut Component) -> Result<()> {
    use Family::*;
    let marker = |name: &str| file.contains(name).then(|| evidence(name, "present"));
    let (prediction, reason) = match denoiser.family {
        Sd2 | Sd2Unclip => sd2(file, denoiser)?,
        Sdxl | SdxlInpaint | SdxlRefiner => {
            if let Some(e) = marker("edm_mean") {
                (Prediction::Edm, Some(e))
            } else if let Some(e) = marker("edm_vpred.sigma_max") {
                (Prediction::VEdm, Some(e))
            } else if let (Some(_), Some(e)) = (marker("v_pred"), marker("ztsnr")) {
                (Prediction::VZeroSnr, Some(e))
            } else if let Some(e) = marker("v_pred") {
                (Prediction::V, Some(e))
            } else {
                (Prediction::Eps, None)
            }
        }
        Sd1 | Sd1Inpaint | Sd1Edit | SdxlEdit | Sd2Inpaint | Sd2Depth | HunyuanDit | PixArt
        | StableCascade => (Prediction::Eps, None),
        Lotus => (Prediction::Picture, None),
        SdUpscale4x | Svd => (Prediction::V, None),
        _ => (Prediction::Flow, None),
    };
    denoiser.prediction = Some(prediction);
    denoiser.evidence.extend(reason);
    Ok(())
}

/// SD 2.x at 512 predicts noise and at 768 the velocity, with tensors of the same names and shapes.
/// Training for the velocity left the biases of one late norm spread much wider.
fn sd2(file: &WeightSource, denoiser: &Component) -> Result<(Prediction, Option<Evidence>)> {
    const SPREAD: f64 = 0.09;
    let name = match denoiser.naming {
        super::Naming::Diffusers => "up_blocks.3.attentions.2.transformer_blocks.0.norm1.bias",
        _ => "output_blocks.11.1.transformer_blocks.0.norm1.bias",
    };
    let source = denoiser.source(file);
    let Some(view) = source.get(name) else { return Ok((Prediction::Eps, None)) };
    let values: Vec<f32> = view.to_vec()?;
    let n = values.len().max(2) as f64;
    let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
    let variance = values.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / (n - 1.0);
    let spread = variance.sqrt();
    let reason = evidence(&format!("{}{name}", denoiser.prefix), &format!("standard deviation {spread:.3}"));
    let prediction = if spread > SPREAD { Prediction::V } else { Prediction::Eps };
    Ok((prediction, Some(reason)))
}

fn evidence(looked_at: &str, found: &str) -> Evidence {
    Evidence { looked_at: looked_at.to_owned(), found: found.to_owned() }
}
