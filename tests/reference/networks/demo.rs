//! `demo-model`: the trained model of the repository, from its file, against its training code's own pictures.

use std::path::Path;

use candle_core::DType;
use ebb_models::LoadOptions;
use ebb_models::source::Prefixed;
use ebb_models::text::{Chunks, Token, Tokens};
use ebb_models::unet::Unet;
use ebb_models::vae::Vae;
use ebb_sampling::{KSampler, LatentFormat, ModelSampling};
use ebb_weights::{ModelFile, WeightSource};

use super::BOUND;
use super::chain::{Pipeline, Settings, mean_difference};
use super::manifest::{kernels, record};
use super::text;
use crate::support::{AnyResult, Family, Report, relative_difference, tensors};

pub(crate) const FAMILY: Family = Family { name: "demo-model", files: &["demo-model/settings.json"], check };

/// As for samplers on an analytic model.
const LATENT_BOUND: f64 = 1e-3;
/// Mean absolute difference of pixels in 0 to 1.
const IMAGE_BOUND: f64 = 1.0 / 255.0;

fn check(folder: &Path, report: &mut Report) -> AnyResult {
    let folder = folder.join("demo-model");
    let settings: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(folder.join("settings.json"))?)?;
    let checkpoint =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("models/checkpoints/tiny-emoji-sd1.safetensors");
    let file = WeightSource::of_file(&ModelFile::open(checkpoint)?);
    let ops = kernels()?;
    let stack = text::stack_of(&ops, &file, "sd1", None)?;
    let unet = Unet::load(&ops, &Prefixed::new(&file, "model.diffusion_model."), LoadOptions::default())?;
    let vae = Vae::load(&ops, &Prefixed::new(&file, "first_stage_model."), LoadOptions::default())?;
    let pipeline = Pipeline { stack: &stack, unet: &unet, vae: &vae, format: LatentFormat::SD1 };

    let text = |name: &str| settings[name].as_str().ok_or_else(|| format!("settings.json has no {name}"));
    let number = |name: &str| settings[name].as_f64().ok_or_else(|| format!("settings.json has no {name}"));
    let prompts = settings["prompts"].as_array().ok_or("settings.json has no prompts")?;
    for (i, entry) in prompts.iter().enumerate() {
        let prompt = entry["prompt"].as_str().ok_or("a prompt without its text")?;
        let seed = entry["seed"].as_u64().ok_or("a prompt without its seed")?;
        let name = format!("{}-{}", i + 1, prompt.replace(' ', "-"));
        let expected = tensors(&folder.join(format!("{name}.safetensors")))?;
        let settings = Settings {
            ksampler: KSampler::new(
                text("sampler")?.parse()?,
                text("scheduler")?.parse()?,
                number("steps")? as usize,
                seed,
            ),
            sampling: ModelSampling::eps(),
            scale: number("cfg")?,
            width: number("width")? as usize,
            height: number("height")? as usize,
            sizes: None,
        };
        // The tokens of the file, and the tokeniser's own.
        let ids = expected["tokens"].to_dtype(DType::I64)?.to_vec2::<i64>()?;
        let l: Chunks =
            ids.iter().map(|c| c.iter().map(|id| (Token::Id(*id as u32), 1.0)).collect()).collect();
        let own = text::tokenize("sd1", prompt)?;
        if own.l != l {
            report.fail(&format!("{name}.tokens"), "the tokeniser gives others");
        }
        let positive = stack.encode(&Tokens { l, ..Tokens::default() })?;
        record(
            report,
            "kernels",
            &format!("{name}.context"),
            relative_difference(&positive.context, &expected["context"]),
            BOUND,
        );
        let negative = stack.encode(&text::tokenize("sd1", text("negative")?)?)?;
        let (latent, image) = pipeline.run(&settings, positive, negative)?;
        let found = image.permute((0, 3, 1, 2))?.contiguous()?;
        record(
            report,
            "kernels",
            &format!("{name}.latent"),
            relative_difference(&latent, &expected["latent"]),
            LATENT_BOUND,
        );
        record(
            report,
            "kernels",
            &format!("{name}.image"),
            mean_difference(&found, &expected["image"]),
            IMAGE_BOUND,
        );
    }
    Ok(())
}
