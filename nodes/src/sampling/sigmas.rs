//! Nodes that change a schedule.

use ebb_engine::node::{Context, Inputs, Node, NodeError, Outcome};
use ebb_engine::registry::{DuplicateClass, Registry};
use ebb_engine::schema::{Input, Schema};
use ebb_engine::value::Value;
use ebb_sampling::schedule::{self, Spacing};

use crate::values::{Model, Sigmas};

pub(super) fn register(registry: &mut Registry) -> Result<(), DuplicateClass> {
    registry.add(SplitSigmas)?;
    registry.add(SplitSigmasDenoise)?;
    registry.add(FlipSigmas)?;
    registry.add(SetFirstSigma)?;
    registry.add(ExtendIntermediateSigmas)?;
    registry.add(SamplingPercentToSigma)
}

fn halves((high, low): (Vec<f64>, Vec<f64>)) -> Outcome {
    Outcome::values([high, low].map(|half| Value::Payload(std::sync::Arc::new(Sigmas(half)))).into())
}

/// Splits before a step.
struct SplitSigmas;

impl Node for SplitSigmas {
    fn schema(&self) -> Schema {
        Schema::new("SplitSigmas")
            .category("sampling/custom_sampling/sigmas")
            .module("comfy_extras.nodes_custom_sampler")
            .input(Input::wire("sigmas", "SIGMAS"))
            .input(Input::int("step", 0).range(0, 10000))
            .named_output("SIGMAS", "high_sigmas")
            .named_output("SIGMAS", "low_sigmas")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        Ok(halves(schedule::split(&inputs.payload::<Sigmas>("sigmas")?.0, inputs.size("step")?)))
    }
}

/// Splits off a share of the steps.
struct SplitSigmasDenoise;

impl Node for SplitSigmasDenoise {
    fn schema(&self) -> Schema {
        Schema::new("SplitSigmasDenoise")
            .category("sampling/custom_sampling/sigmas")
            .module("comfy_extras.nodes_custom_sampler")
            .input(Input::wire("sigmas", "SIGMAS"))
            .input(Input::float("denoise", 1.0).between(0.0, 1.0).option("step", 0.01))
            .named_output("SIGMAS", "high_sigmas")
            .named_output("SIGMAS", "low_sigmas")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let sigmas = inputs.payload::<Sigmas>("sigmas")?;
        Ok(halves(schedule::split_denoise(&sigmas.0, inputs.float("denoise")?)))
    }
}

/// Reverses a schedule.
struct FlipSigmas;

impl Node for FlipSigmas {
    fn schema(&self) -> Schema {
        Schema::new("FlipSigmas")
            .category("sampling/custom_sampling/sigmas")
            .module("comfy_extras.nodes_custom_sampler")
            .input(Input::wire("sigmas", "SIGMAS"))
            .output("SIGMAS")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        Ok(Outcome::payload(Sigmas(schedule::flip(&inputs.payload::<Sigmas>("sigmas")?.0))))
    }
}

/// Replaces where a schedule begins.
struct SetFirstSigma;

impl Node for SetFirstSigma {
    fn schema(&self) -> Schema {
        Schema::new("SetFirstSigma")
            .category("sampling/custom_sampling/sigmas")
            .module("comfy_extras.nodes_custom_sampler")
            .input(Input::wire("sigmas", "SIGMAS"))
            .input(
                Input::float("sigma", 136.0)
                    .between(0.0, 20000.0)
                    .option("step", 0.001)
                    .option("round", false),
            )
            .output("SIGMAS")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let sigmas = inputs.payload::<Sigmas>("sigmas")?;
        Ok(Outcome::payload(Sigmas(schedule::set_first(&sigmas.0, inputs.float("sigma")?))))
    }
}

/// Cuts steps into smaller ones.
struct ExtendIntermediateSigmas;

impl Node for ExtendIntermediateSigmas {
    fn schema(&self) -> Schema {
        Schema::new("ExtendIntermediateSigmas")
            .category("sampling/custom_sampling/sigmas")
            .module("comfy_extras.nodes_custom_sampler")
            .input(Input::wire("sigmas", "SIGMAS"))
            .input(Input::int("steps", 2).range(1, 100))
            .input(
                Input::float("start_at_sigma", -1.0)
                    .between(-1.0, 20000.0)
                    .option("step", 0.01)
                    .option("round", false),
            )
            .input(
                Input::float("end_at_sigma", 12.0)
                    .between(0.0, 20000.0)
                    .option("step", 0.01)
                    .option("round", false),
            )
            .input(Input::combo("spacing", ["linear", "cosine", "sine"]))
            .output("SIGMAS")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let sigmas = inputs.payload::<Sigmas>("sigmas")?;
        let spacing = match inputs.str("spacing")? {
            "cosine" => Spacing::Cosine,
            "sine" => Spacing::Sine,
            _ => Spacing::Linear,
        };
        let (start, end) = (inputs.float("start_at_sigma")?, inputs.float("end_at_sigma")?);
        let steps = inputs.size("steps")?;
        Ok(Outcome::payload(Sigmas(schedule::extend_intermediate(&sigmas.0, steps, start, end, spacing))))
    }
}

/// The sigma at a share of sampling.
struct SamplingPercentToSigma;

impl Node for SamplingPercentToSigma {
    fn schema(&self) -> Schema {
        Schema::new("SamplingPercentToSigma")
            .category("sampling/custom_sampling/sigmas")
            .module("comfy_extras.nodes_custom_sampler")
            .input(Input::wire("model", "MODEL"))
            .input(Input::float("sampling_percent", 0.0).between(0.0, 1.0).option("step", 0.0001))
            .input(Input::boolean("return_actual_sigma", false))
            .named_output("FLOAT", "sigma_value")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let (model, percent) = (inputs.payload::<Model>("model")?, inputs.float("sampling_percent")?);
        let sigma = match (inputs.bool("return_actual_sigma")?, percent) {
            (true, 0.0) => model.sampling.sigma_max(),
            (true, 1.0) => model.sampling.sigma_min(),
            _ => model.sampling.percent_to_sigma(percent),
        };
        Ok(Outcome::value(sigma))
    }
}
