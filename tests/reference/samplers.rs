//! `math/samplers.safetensors`: every sampler through the whole KSampler path, on an analytic model.

use std::path::Path;

use candle_core::{DType, Device, Tensor};
use ebb_sampling::guidance::{Area, Conditioning, Guidance, Hooks, Mask, Model, ModelCall};
use ebb_sampling::noise::prepare_noise;
use ebb_sampling::{KSampler, LatentFormat, SampledModel};

use super::schedules::model_sampling;
use crate::support::{AnyResult, Family, Report, relative_difference, tensors};

pub(crate) const FAMILY: Family =
    Family { name: "math/samplers", files: &["math/samplers.safetensors"], check };

/// Of the result's standard deviation.
const BOUND: f64 = 1e-3;
/// Where a step is accepted or not by a threshold, a rounding may decide.
const ADAPTIVE_BOUND: f64 = 1e-2;

fn check(folder: &Path, report: &mut Report) -> AnyResult {
    for (key, expected) in tensors(&folder.join("math/samplers.safetensors"))? {
        let bound = if key.starts_with("dpm_adaptive|") { ADAPTIVE_BOUND } else { BOUND };
        let error = run(&key, &expected).and_then(|found| relative_difference(&found, &expected));
        report.record_result(&key, error, bound);
    }
    Ok(())
}

/// raw(x, t, context) = tanh(1.3·x + 0.2·sin(0.01·t)) + 0.1·mean(context).
struct Analytic;

impl Model for Analytic {
    fn predict(&mut self, call: &ModelCall<'_>) -> ebb_sampling::Result<Tensor> {
        let context = call.inputs.get("c_crossattn").and_then(|input| input.tensor());
        let context = context.ok_or_else(|| ebb_sampling::Error::model("no context"))?;
        let mean = (context.mean((1, 2))?.reshape(((), 1, 1, 1))? * 0.1)?;
        let wave = (call.x * 1.3)?.affine(1.0, 0.2 * (0.01 * call.timestep).sin())?.tanh()?;
        Ok(wave.broadcast_add(&mean)?)
    }
}

fn context(value: f64) -> AnyResult<Tensor> {
    Ok(Tensor::full(value as f32, (1, 3, 8), &Device::Cpu)?)
}

fn prompt(value: f64) -> AnyResult<Conditioning> {
    Ok(Conditioning::prompt(context(value)?, None))
}

fn latent_format(kind: &str) -> LatentFormat {
    match kind {
        "sd3-flow" => LatentFormat::SD3,
        "flux-dev" | "flux-schnell" => LatentFormat::FLUX,
        _ => LatentFormat::SD1,
    }
}

/// What a key says beyond sampler, kind, scheduler, steps and scale.
struct Settings {
    ksampler: KSampler,
    batch: usize,
    linspace: bool,
    add_noise: bool,
    mask: Option<Tensor>,
}

fn run(key: &str, expected: &Tensor) -> AnyResult<Tensor> {
    let mut fields: Vec<&str> = key.split('|').collect();
    let mut positive = vec![prompt(0.9)?];
    let mut force_full_denoise = true;
    match fields[0] {
        "conditioning" => {
            positive = entries(fields[1])?;
            fields.drain(..2);
        }
        "ksampler_advanced" => {
            fields.remove(0);
            force_full_denoise = false;
        }
        _ => {}
    }
    let [sampler, kind, scheduler, steps, scale, rest @ ..] = fields.as_slice() else {
        return Err("cannot read the key".into());
    };
    let sampling = model_sampling(kind)?;
    let advanced = key.starts_with("ksampler_advanced");
    // The reference starts these from a latent that is not empty.
    let mut settings = Settings {
        ksampler: KSampler::new(sampler.parse()?, scheduler.parse()?, steps.parse()?, 0),
        batch: 1,
        linspace: advanced,
        add_noise: true,
        mask: None,
    };
    settings.ksampler.force_full_denoise = force_full_denoise;
    for field in rest {
        settings.read(field)?;
    }
    let Settings { ksampler, batch, linspace, add_noise, mask } = settings;
    let shape = (batch, expected.dim(1)?, expected.dim(2)?, expected.dim(3)?);
    let latent = if linspace { linspaced(shape)? } else { Tensor::zeros(shape, DType::F32, &Device::Cpu)? };
    let noise = if add_noise { prepare_noise(&latent, ksampler.seed, None)? } else { latent.zeros_like()? };
    let guidance = Guidance::Cfg { positive, negative: vec![prompt(-0.4)?], scale: scale.parse()? };
    let model = SampledModel {
        model: &mut Analytic,
        sampling: &sampling,
        latent_format: &latent_format(kind),
        hooks: &Hooks::default(),
    };
    Ok(ksampler.sample(model, &guidance, &noise, &latent, mask.as_ref(), &())?)
}

impl Settings {
    fn read(&mut self, field: &str) -> AnyResult {
        match field.split_once('=') {
            Some(("seed", seed)) => self.ksampler.seed = seed.parse()?,
            Some(("denoise", denoise)) => self.ksampler.denoise = denoise.parse()?,
            Some(("batch", batch)) => self.batch = batch.parse()?,
            Some(("latent", "linspace")) => self.linspace = true,
            Some(("mask", ranges)) => self.mask = Some(mask(ranges)?),
            Some(("start", step)) => self.ksampler.start_step = Some(step.parse()?),
            Some(("last", step)) => self.ksampler.last_step = Some(step.parse()?),
            Some(("add_noise", "disable")) => self.add_noise = false,
            None if field == "force_full_denoise" => self.ksampler.force_full_denoise = true,
            None if field == "return_with_leftover_noise" => self.ksampler.force_full_denoise = false,
            _ => return Err(format!("unknown setting `{field}`").into()),
        }
        Ok(())
    }
}

fn linspaced(shape: (usize, usize, usize, usize)) -> AnyResult<Tensor> {
    let count = shape.0 * shape.1 * shape.2 * shape.3;
    let values: Vec<f32> = (0..count).map(|i| (-2.0 + 4.0 * i as f64 / (count - 1) as f64) as f32).collect();
    Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
}

/// `2:6,3:7`: ones in rows 2 to 5, columns 3 to 6, of a latent of 8 × 8.
fn mask(ranges: &str) -> AnyResult<Tensor> {
    let range = |text: &str| -> AnyResult<std::ops::Range<usize>> {
        let (from, to) = text.split_once(':').ok_or("no range")?;
        Ok(from.parse()?..to.parse()?)
    };
    let (rows, columns) = ranges.split_once(',').ok_or("no columns")?;
    let (rows, columns) = (range(rows)?, range(columns)?);
    let value = |i: usize| f32::from(u8::from(rows.contains(&(i / 8)) && columns.contains(&(i % 8))));
    Ok(Tensor::from_vec((0..64).map(value).collect::<Vec<_>>(), (1, 1, 8, 8), &Device::Cpu)?)
}

/// `area(h4,w4,y2,x1)s0.8 + window0-0.5 + mask0.6`: a prompt for an area with a strength, one for a share of
/// the steps, and one for the cells of `mask("2:6,3:7")` with a strength. Each says something else.
fn entries(text: &str) -> AnyResult<Vec<Conditioning>> {
    const CONTEXTS: [f64; 3] = [0.9, 0.2, -0.7];
    text.split(" + ").zip(CONTEXTS).map(|(text, context)| entry(text, prompt(context)?)).collect()
}

fn entry(text: &str, mut entry: Conditioning) -> AnyResult<Conditioning> {
    if let Some(area) = text.strip_prefix("area(") {
        let (area, strength) = area.split_once(")s").ok_or("no strength")?;
        let cells = area.split(',').map(|part| part[1..].parse()).collect::<Result<Vec<usize>, _>>()?;
        let [height, width, y, x] = cells[..] else { return Err("an area of four numbers".into()) };
        entry.area = Some(Area::Cells { height, width, y, x });
        entry.strength = Some(strength.parse()?);
    } else if let Some(window) = text.strip_prefix("window") {
        let (start, end) = window.split_once('-').ok_or("no window")?;
        entry.start_percent = Some(start.parse()?);
        entry.end_percent = Some(end.parse()?);
    } else if let Some(strength) = text.strip_prefix("mask") {
        let weights = mask("2:6,3:7")?.reshape((1, 8, 8))?;
        entry.mask = Some(Mask { weights, strength: strength.parse()?, area_is_its_bounds: false });
    } else {
        return Err(format!("unknown condition `{text}`").into());
    }
    Ok(entry)
}
