//! Whole text-to-image chains: tokens, encoders, sampling, autoencoder.

use candle_core::{DType, Device, Tensor};
use ebb_models::denoiser::{Denoiser, Input, Session};
use ebb_models::text::{Encoded, Stack};
use ebb_models::unet::Unet;
use ebb_models::unet::sizes::Sizes;
use ebb_models::vae::Vae;
use ebb_sampling::guidance::{Conditioning, Guidance, Hooks, Model, ModelCall};
use ebb_sampling::noise::prepare_noise;
use ebb_sampling::{KSampler, LatentFormat, ModelSampling, SampledModel};

use super::manifest::{Kit, record};
use super::text;
use crate::support::{AnyResult, Report, relative_difference, values};

/// Of the latent's standard deviation, as for samplers on an analytic model.
const LATENT_BOUND: f64 = 1e-3;
/// Mean absolute difference of pixels in 0 to 1.
const IMAGE_BOUND: f64 = 1.0 / 255.0;

/// The networks of one checkpoint.
pub(crate) struct Pipeline<'a> {
    pub(crate) stack: &'a Stack,
    pub(crate) unet: &'a Unet,
    pub(crate) vae: &'a Vae,
    pub(crate) format: LatentFormat,
}

/// A denoiser as guidance calls it.
struct Guided<'a> {
    model: &'a dyn Denoiser,
    session: Session,
}

impl Model for Guided<'_> {
    fn predict(&mut self, call: &ModelCall<'_>) -> ebb_sampling::Result<Tensor> {
        let input = |name: &str| call.inputs.get(name).and_then(|input| input.tensor());
        let context = input("c_crossattn").ok_or_else(|| ebb_sampling::Error::model("no context"))?;
        let timesteps = vec![call.timestep as f32; call.x.dim(0)?];
        let input = Input { y: input("y"), ..Input::new(call.x, &timesteps, context) };
        self.model.denoise(&mut self.session, input).map_err(ebb_sampling::Error::model)
    }
}

/// What a chain's key says.
pub(crate) struct Settings {
    pub(crate) ksampler: KSampler,
    pub(crate) sampling: ModelSampling,
    pub(crate) scale: f64,
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) sizes: Option<Sizes>,
}

impl Pipeline<'_> {
    /// The latent and the picture (`[1, height, width, 3]`).
    pub(crate) fn run(
        &self,
        settings: &Settings,
        positive: Encoded,
        negative: Encoded,
    ) -> AnyResult<(Tensor, Tensor)> {
        let Settings { ksampler, sampling, scale, width, height, sizes } = settings;
        let cell = self.vae.scale();
        let shape = (1, self.vae.latent_channels(), height / cell, width / cell);
        let latent = Tensor::zeros(shape, DType::F32, &Device::Cpu)?;
        let noise = prepare_noise(&latent, ksampler.seed, None)?;
        let entry = |e: Encoded| -> AnyResult<Conditioning> {
            let y = match (sizes, &e.pooled) {
                (Some(sizes), Some(pooled)) => Some(sizes.y(pooled)?),
                _ => None,
            };
            Ok(Conditioning::prompt(e.context, y))
        };
        let (positive, negative) = (vec![entry(positive)?], vec![entry(negative)?]);
        let model = SampledModel {
            model: &mut Guided { model: self.unet, session: Session::new() },
            sampling,
            latent_format: &self.format,
            hooks: &Hooks::default(),
        };
        let guidance = Guidance::Cfg { positive, negative, scale: *scale };
        let latent = ksampler.sample(model, &guidance, &noise, &latent, None, &())?;
        Ok((latent.clone(), picture(self.vae, &latent)?))
    }
}

/// Decodes a latent to pixels in 0 to 1, channels last.
fn picture(vae: &Vae, latent: &Tensor) -> AnyResult<Tensor> {
    let pixels = vae.decode(latent)?.affine(0.5, 0.5)?.clamp(0.0, 1.0)?;
    Ok(pixels.permute((0, 2, 3, 1))?.contiguous()?)
}

/// Compares every `txt2img|…` chain of a family.
pub(super) fn check(kit: &Kit, family: &str, pipeline: &Pipeline<'_>, backend: &str, report: &mut Report) {
    for key in kit.io.keys().filter_map(|k| k.strip_suffix(".latent")).filter(|k| k.starts_with("txt2img|")) {
        let result = run(kit, family, pipeline, key);
        let pick = |found: &dyn Fn(&(Tensor, Tensor)) -> AnyResult<f64>| match &result {
            Ok(pair) => found(pair),
            Err(why) => Err(why.to_string().into()),
        };
        let (latent, image) = (format!("{key}.latent"), format!("{key}.image"));
        record(
            report,
            backend,
            &latent,
            pick(&|r| relative_difference(&r.0, kit.input(&latent)?)),
            LATENT_BOUND,
        );
        record(report, backend, &image, pick(&|r| mean_difference(&r.1, kit.input(&image)?)), IMAGE_BOUND);
    }
}

fn run(kit: &Kit, family: &str, pipeline: &Pipeline<'_>, key: &str) -> AnyResult<(Tensor, Tensor)> {
    let fields: Vec<&str> = key.split('|').collect();
    let [_, positive, negative, sampler, scheduler, steps, scale, seed, size, rest @ ..] = fields.as_slice()
    else {
        return Err("cannot read the key".into());
    };
    let prompts = kit.prompts();
    let encode = |field: &str, prefix: &str| -> AnyResult<Encoded> {
        let index: usize = field.strip_prefix(prefix).ok_or("a prompt without a number")?.parse()?;
        let prompt = prompts.get(index).ok_or("no such prompt")?;
        Ok(pipeline.stack.encode(&text::tokenize(family, prompt)?)?)
    };
    let (width, height) = pair(size)?;
    let seed = seed.strip_prefix("seed").ok_or("no seed")?.parse()?;
    let settings = Settings {
        ksampler: KSampler::new(sampler.parse()?, scheduler.parse()?, steps.parse()?, seed),
        sampling: if rest.contains(&"v_prediction") { ModelSampling::v(false) } else { ModelSampling::eps() },
        scale: scale.parse()?,
        width,
        height,
        sizes: rest.iter().find(|f| f.starts_with("size")).map(|f| sizes(f)).transpose()?,
    };
    pipeline.run(&settings, encode(positive, "prompt")?, encode(negative, "neg")?)
}

/// `sizeWxHcropX,YtargetWxH`.
fn sizes(field: &str) -> AnyResult<Sizes> {
    let rest = field.strip_prefix("size").ok_or("no size")?;
    let (size, rest) = rest.split_once("crop").ok_or("no crop")?;
    let (crop, target) = rest.split_once("target").ok_or("no target")?;
    let (x, y) = crop.split_once(',').ok_or("no crop offsets")?;
    let ((width, height), (target_width, target_height)) = (pair(size)?, pair(target)?);
    let crop = [y.parse()?, x.parse()?];
    let size = [height as f32, width as f32];
    Ok(Sizes::Base { size, crop, target: [target_height as f32, target_width as f32] })
}

fn pair(text: &str) -> AnyResult<(usize, usize)> {
    let (a, b) = text.split_once('x').ok_or("no size")?;
    Ok((a.parse()?, b.parse()?))
}

/// The mean absolute difference.
pub(super) fn mean_difference(found: &Tensor, expected: &Tensor) -> AnyResult<f64> {
    if found.dims() != expected.dims() {
        return Err(format!("shape {:?}, expected {:?}", found.dims(), expected.dims()).into());
    }
    let (found, expected) = (values(found)?, values(expected)?);
    let sum: f64 = found.iter().zip(&expected).map(|(a, b)| f64::from(a - b).abs()).sum();
    Ok(sum / found.len() as f64)
}
