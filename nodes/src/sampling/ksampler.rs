//! `KSampler`, `KSamplerAdvanced`.

use ebb_engine::node::{Context, Forecast, Inputs, Node, NodeError, Outcome, Sketches};
use ebb_engine::schema::{Input, Schema};
use ebb_sampling::guidance::Guidance;
use ebb_sampling::{KSampler as Settings, Sampler, Scheduler, samplers};

use super::run::{fitting, with_model};
use super::seed;
use crate::control::ControlSketch;
use crate::values::{Conditioning, Latent, LatentShape, Model, Noise, sampling_error};

/// Tokens of one chunk of a prompt: what a forecast assumes.
pub(super) const TOKENS: usize = 77;

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
    let samples = fitting(&model, &latent.samples)?;
    let noise = if adds_noise { Noise::Seeded(settings.seed) } else { Noise::Disabled };
    let noise = noise.for_latent(&latent, &samples)?;
    let mask = latent.noise_mask.as_ref().map(|mask| mask.tensor());
    let sampled =
        with_model(context, &model, &samples, &guidance, tokens, settings.seed, |sampled, observer| {
            settings.sample(sampled, &guidance, &noise, &samples, mask, observer)
        })?;
    Ok(Outcome::payload(latent.with_samples(sampled.latent)))
}

fn forecast(inputs: &Sketches) -> Result<Forecast, NodeError> {
    let (model, latent) = (inputs.what::<Model>("model"), inputs.what::<LatentShape>("latent_image"));
    let controls = ["positive", "negative"].map(|side| inputs.what::<ControlSketch>(side));
    let mut forecast = forecast_with(model.as_deref(), latent.as_deref(), TOKENS)?;
    for (net, vae) in controls.iter().flatten().flat_map(|sketch| &sketch.0) {
        let net = match &model {
            Some(model) => net.guiding(model)?,
            None => (**net).clone(),
        };
        for spec in [net.spec()].into_iter().chain(vae.iter().map(|vae| vae.spec())) {
            if !forecast.uses.contains(spec) {
                forecast.uses.push(spec.clone());
                forecast.ways.iter_mut().for_each(|way| way.uses.push(spec.clone()));
            }
        }
        let scratch = |l: &LatentShape| {
            let own = net.scratch(l.batch.saturating_mul(2), l.height, l.width, TOKENS).unwrap_or(0);
            let encoding = vae.as_ref().and_then(|vae| {
                vae.encode_scratch(
                    1,
                    l.height.saturating_mul(vae.scale()),
                    l.width.saturating_mul(vae.scale()),
                )
            });
            own.max(encoding.unwrap_or(0))
        };
        forecast.scratch = forecast.scratch.max(latent.as_deref().map_or(0, scratch));
    }
    Ok(forecast)
}

/// What sampling holds and makes, where model and latent are known.
pub(super) fn forecast_with(
    model: Option<&Model>,
    latent: Option<&LatentShape>,
    tokens: usize,
) -> Result<Forecast, NodeError> {
    let (Some(model), Some(latent)) = (model, latent) else { return Ok(Forecast::unknown()) };
    // A plan knows no prompt yet: a short one of the family is reckoned with.
    let tokens = tokens.max(model.family.tokens);
    let scratch =
        model.scratch(latent.batch.saturating_mul(2), latent.height, latent.width, tokens).unwrap_or(0);
    let ways = model.ways(latent.batch.saturating_mul(2), latent.height, latent.width, tokens);
    let latent = LatentShape { channels: model.family.latent_channels, ..*latent };
    let uses = model.specs().cloned().collect();
    let loaders = vec![model.loader()];
    Ok(Forecast { uses, loaders, ..Forecast::output(latent.sketch()?).scratch(scratch).or(ways) })
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
