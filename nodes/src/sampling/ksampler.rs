//! `KSampler`, `KSamplerAdvanced`.

use ebb_engine::node::{Context, Forecast, Inputs, Node, NodeError, Outcome, Sketches};
use ebb_engine::schema::{Input, Schema};
use ebb_sampling::guidance::Guidance;
use ebb_sampling::{KSampler as Settings, Sampler, Scheduler, noise, samplers};

use super::run::with_model;
use crate::values::{Conditioning, Latent, LatentShape, Model, OrNode, sampling_error};

/// Tokens of one chunk of a prompt: what a forecast assumes.
const TOKENS: usize = 77;

fn sampler_inputs(schema: Schema) -> Schema {
    schema
        .input(Input::int("steps", 20).range(1, 10000))
        .input(Input::float("cfg", 8.0).between(0.0, 100.0).option("step", 0.1).option("round", 0.01))
        .input(Input::combo("sampler_name", samplers::names()))
        .input(Input::combo("scheduler", Scheduler::ALL.map(Scheduler::name)))
        .input(Input::wire("positive", "CONDITIONING"))
        .input(Input::wire("negative", "CONDITIONING"))
        .input(Input::wire("latent_image", "LATENT"))
}

fn seed(name: &str) -> Input {
    Input::int(name, 0).range(0, u64::MAX).option("control_after_generate", true)
}

/// What both nodes read alike.
fn settings(inputs: &Inputs, seed: u64) -> Result<Settings, NodeError> {
    let sampler: Sampler = inputs.str("sampler_name")?.parse().map_err(sampling_error)?;
    let scheduler: Scheduler = inputs.str("scheduler")?.parse().map_err(sampling_error)?;
    Ok(Settings::new(sampler, scheduler, inputs.size("steps")?, seed))
}

fn sample(
    context: &Context,
    inputs: &Inputs,
    settings: &Settings,
    adds_noise: bool,
) -> Result<Outcome, NodeError> {
    let model = inputs.payload::<Model>("model")?;
    let latent = inputs.payload::<Latent>("latent_image")?;
    let positive = inputs.payload::<Conditioning>("positive")?;
    let negative = inputs.payload::<Conditioning>("negative")?;
    let tokens = positive.longest().max(negative.longest()).max(1);
    let guidance = Guidance::Cfg {
        positive: positive.entries.clone(),
        negative: negative.entries.clone(),
        scale: inputs.float("cfg")?,
    };
    let samples = &latent.samples;
    let noise = if adds_noise {
        let index: Option<Vec<usize>> =
            latent.batch_index.as_ref().map(|index| index.iter().map(|i| *i as usize).collect());
        noise::prepare_noise(samples, settings.seed, index.as_deref()).map_err(sampling_error)?
    } else {
        samples.zeros_like().or_node()?
    };
    let mask = latent.noise_mask.as_ref().map(|mask| mask.tensor());
    let sampled = with_model(context, &model, samples, tokens, |sampled, observer| {
        settings.sample(sampled, &guidance, &noise, samples, mask, observer)
    })?;
    Ok(Outcome::payload(latent.with_samples(sampled)))
}

fn forecast(inputs: &Sketches) -> Result<Forecast, NodeError> {
    let (Some(model), Some(latent)) =
        (inputs.what::<Model>("model"), inputs.what::<LatentShape>("latent_image"))
    else {
        return Ok(Forecast::unknown());
    };
    let scratch =
        model.scratch(latent.batch.saturating_mul(2), latent.height, latent.width, TOKENS).unwrap_or(0);
    let ways = model.ways(latent.batch.saturating_mul(2), latent.height, latent.width, TOKENS);
    Ok(Forecast::output(latent.sketch()?).using(model.spec().clone()).scratch(scratch).or(ways))
}

/// Samples a latent.
pub(super) struct KSampler;

impl Node for KSampler {
    fn schema(&self) -> Schema {
        let schema = Schema::new("KSampler")
            .category("sampling")
            .input(Input::wire("model", "MODEL"))
            .input(seed("seed"));
        sampler_inputs(schema)
            .input(Input::float("denoise", 1.0).between(0.0, 1.0).option("step", 0.01))
            .output("LATENT")
            .compute()
    }

    fn execute(&self, context: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let mut settings = settings(inputs, inputs.uint("seed")?)?;
        settings.denoise = inputs.float("denoise")?;
        sample(context, inputs, &settings, true)
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        forecast(inputs)
    }
}

/// Samples a latent over a part of the schedule, with or without noise of its own.
pub(super) struct KSamplerAdvanced;

impl Node for KSamplerAdvanced {
    fn schema(&self) -> Schema {
        let schema = Schema::new("KSamplerAdvanced")
            .display("KSampler (Advanced)")
            .category("sampling")
            .input(Input::wire("model", "MODEL"))
            .input(Input::combo("add_noise", ["enable", "disable"]))
            .input(seed("noise_seed"));
        sampler_inputs(schema)
            .input(Input::int("start_at_step", 0).range(0, 10000))
            .input(Input::int("end_at_step", 10000).range(0, 10000))
            .input(Input::combo("return_with_leftover_noise", ["disable", "enable"]))
            .output("LATENT")
            .compute()
    }

    fn execute(&self, context: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let mut settings = settings(inputs, inputs.uint("noise_seed")?)?;
        settings.start_step = Some(inputs.size("start_at_step")?);
        settings.last_step = Some(inputs.size("end_at_step")?);
        settings.force_full_denoise = inputs.str("return_with_leftover_noise")? != "enable";
        sample(context, inputs, &settings, inputs.str("add_noise")? != "disable")
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        forecast(inputs)
    }
}
