//! `SamplerCustom`, `SamplerCustomAdvanced`, `AddNoise`.

use std::sync::Arc;

use ebb_engine::node::{Context, Forecast, Inputs, Node, NodeError, Outcome, Sketches};
use ebb_engine::schema::{Input, Schema};
use ebb_engine::value::Value;
use ebb_sampling::Job;
use ebb_sampling::guidance::Guidance;

use super::guiders::GuiderSketch;
use super::ksampler::{TOKENS, forecast_with};
use super::run::{fitting, with_model};
use crate::values::{
    ChosenSampler, Conditioning, Guider, Latent, LatentShape, Model, Noise, OrNode, Sigmas, sampling_error,
};

/// Runs a guider; answers the latent, and the clean latent as the last step saw it.
fn sample(context: &Context, inputs: &Inputs, guider: &Guider, noise: Noise) -> Result<Outcome, NodeError> {
    let Guider { model, guidance, tokens, .. } = guider;
    let latent = inputs.payload::<Latent>("latent_image")?;
    let samples = fitting(model, &latent.samples)?;
    let (sampler, sigmas) =
        (inputs.payload::<ChosenSampler>("sampler")?, inputs.payload::<Sigmas>("sigmas")?);
    let job = Job {
        guidance,
        sampler: &sampler.0,
        sigmas: &sigmas.0,
        noise: &noise.for_latent(&latent, &samples)?,
        latent: &samples,
        denoise_mask: latent.noise_mask.as_ref().map(|mask| mask.tensor()),
        seed: noise.seed(),
    };
    let sampled =
        with_model(context, model, &samples, guidance, *tokens, noise.seed(), |sampled, observer| {
            ebb_sampling::sample(sampled, &job, observer)
        })?;
    let output = Arc::new(latent.with_samples(sampled.latent));
    let denoised: Arc<Latent> = match sampled.denoised {
        Some(denoised) => Arc::new(latent.with_samples(denoised)),
        None => output.clone(),
    };
    Ok(Outcome::values(vec![Value::Payload(output), Value::Payload(denoised)]))
}

fn twice(mut forecast: Forecast) -> Forecast {
    forecast.outputs.extend_from_within(..1.min(forecast.outputs.len()));
    forecast
}

/// Samples with a sampler and sigmas of the workflow's own.
pub(super) struct SamplerCustom;

impl Node for SamplerCustom {
    fn schema(&self) -> Schema {
        Schema::new("SamplerCustom")
            .category("sampling/custom_sampling")
            .module("comfy_extras.nodes_custom_sampler")
            .input(Input::wire("model", "MODEL"))
            .input(Input::boolean("add_noise", true))
            .input(Input::int("noise_seed", 0).range(0, u64::MAX).option("control_after_generate", true))
            .input(Input::float("cfg", 8.0).between(0.0, 100.0).option("step", 0.1).option("round", 0.01))
            .input(Input::wire("positive", "CONDITIONING"))
            .input(Input::wire("negative", "CONDITIONING"))
            .input(Input::wire("sampler", "SAMPLER"))
            .input(Input::wire("sigmas", "SIGMAS"))
            .input(Input::wire("latent_image", "LATENT"))
            .named_output("LATENT", "output")
            .named_output("LATENT", "denoised_output")
            .compute()
    }

    fn execute(&self, context: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let positive = inputs.payload::<Conditioning>("positive")?;
        let negative = inputs.payload::<Conditioning>("negative")?;
        let guidance = Guidance::Cfg {
            positive: positive.entries.clone(),
            negative: negative.entries.clone(),
            scale: inputs.float("cfg")?,
        };
        let guider = Guider::new(inputs.payload("model")?, guidance, &[&positive, &negative]);
        let noise = if inputs.bool("add_noise")? {
            Noise::Seeded(inputs.uint("noise_seed")?)
        } else {
            Noise::Disabled
        };
        sample(context, inputs, &guider, noise)
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        let model = inputs.what::<Model>("model");
        Ok(twice(forecast_with(
            model.as_deref(),
            inputs.what::<LatentShape>("latent_image").as_deref(),
            TOKENS,
        )?))
    }
}

/// Samples with noise, guidance, a sampler and sigmas of the workflow's own.
pub(super) struct SamplerCustomAdvanced;

impl Node for SamplerCustomAdvanced {
    fn schema(&self) -> Schema {
        Schema::new("SamplerCustomAdvanced")
            .category("sampling/custom_sampling")
            .module("comfy_extras.nodes_custom_sampler")
            .input(Input::wire("noise", "NOISE"))
            .input(Input::wire("guider", "GUIDER"))
            .input(Input::wire("sampler", "SAMPLER"))
            .input(Input::wire("sigmas", "SIGMAS"))
            .input(Input::wire("latent_image", "LATENT"))
            .named_output("LATENT", "output")
            .named_output("LATENT", "denoised_output")
            .compute()
    }

    fn execute(&self, context: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let guider = inputs.payload::<Guider>("guider")?;
        sample(context, inputs, &guider, *inputs.payload::<Noise>("noise")?)
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        let guider = inputs.what::<GuiderSketch>("guider");
        let model = guider.as_ref().map(|guider| &*guider.0);
        Ok(twice(forecast_with(model, inputs.what::<LatentShape>("latent_image").as_deref(), TOKENS)?))
    }
}

/// Puts noise of a schedule's range on a latent.
pub(super) struct AddNoise;

impl Node for AddNoise {
    fn schema(&self) -> Schema {
        Schema::new("AddNoise")
            .category("_for_testing/custom_sampling/noise")
            .module("comfy_extras.nodes_custom_sampler")
            .input(Input::wire("model", "MODEL"))
            .input(Input::wire("noise", "NOISE"))
            .input(Input::wire("sigmas", "SIGMAS"))
            .input(Input::wire("latent_image", "LATENT"))
            .output("LATENT")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let (model, latent) = (inputs.payload::<Model>("model")?, inputs.payload::<Latent>("latent_image")?);
        let sigmas = inputs.payload::<Sigmas>("sigmas")?;
        let range = match sigmas.0.as_slice() {
            [] => return Ok(Outcome::values(vec![Value::Payload(latent)])),
            [sigma] => *sigma,
            [first, .., last] => (first - last).abs(),
        };
        let noise = inputs.payload::<Noise>("noise")?.for_latent(&latent, &latent.samples)?;
        let format = &model.family.latent_format;
        let peak =
            latent.samples.abs().and_then(|t| t.max_all()).and_then(|t| t.to_scalar::<f32>()).or_node()?;
        // Nothing stays nothing, as when sampling.
        let inside =
            if peak == 0.0 { Ok(latent.samples.clone()) } else { format.process_in(&latent.samples) };
        let noisy = inside
            .and_then(|inside| model.sampling.add_noise(range, &noise, &inside, false))
            .and_then(|noisy| format.process_out(&noisy))
            .map_err(sampling_error)?;
        Ok(Outcome::payload(latent.with_samples(noisy)))
    }
}
