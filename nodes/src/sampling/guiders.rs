//! Nodes that put a model and its prompts together, and the noise to start from.

use std::sync::Arc;

use ebb_engine::node::{Context, Forecast, Inputs, Node, NodeError, Outcome, Sketch, Sketches};
use ebb_engine::registry::{DuplicateClass, Registry};
use ebb_engine::schema::{Input, Schema};
use ebb_sampling::guidance::Guidance;

use super::seed;
use crate::values::{Conditioning, Guider, Model, Noise};

pub(super) fn register(registry: &mut Registry) -> Result<(), DuplicateClass> {
    registry.add(CFGGuider)?;
    registry.add(BasicGuider)?;
    registry.add(DualCFGGuider)?;
    registry.add(PerpNegGuider)?;
    registry.add(RandomNoise)?;
    registry.add(DisableNoise)
}

/// What a forecast knows of a guider: the model that it will run.
pub(super) struct GuiderSketch(pub(super) Arc<Model>);

fn forecast(inputs: &Sketches) -> Result<Forecast, NodeError> {
    let Some(model) = inputs.what::<Model>("model") else { return Ok(Forecast::unknown()) };
    Ok(Forecast::output(Sketch::known(0, GuiderSketch(model))))
}

fn prompt(inputs: &Inputs, name: &str) -> Result<Arc<Conditioning>, NodeError> {
    inputs.payload::<Conditioning>(name)
}

/// Classifier-free guidance.
struct CFGGuider;

impl Node for CFGGuider {
    fn schema(&self) -> Schema {
        Schema::new("CFGGuider")
            .category("sampling/custom_sampling/guiders")
            .module("comfy_extras.nodes_custom_sampler")
            .input(Input::wire("model", "MODEL"))
            .input(Input::wire("positive", "CONDITIONING"))
            .input(Input::wire("negative", "CONDITIONING"))
            .input(Input::float("cfg", 8.0).between(0.0, 100.0).option("step", 0.1).option("round", 0.01))
            .output("GUIDER")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let (positive, negative) = (prompt(inputs, "positive")?, prompt(inputs, "negative")?);
        let guidance = Guidance::Cfg {
            positive: positive.entries.clone(),
            negative: negative.entries.clone(),
            scale: inputs.float("cfg")?,
        };
        Ok(Outcome::payload(Guider::new(inputs.payload("model")?, guidance, &[&positive, &negative])))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        forecast(inputs)
    }
}

/// One prompt, no guidance.
struct BasicGuider;

impl Node for BasicGuider {
    fn schema(&self) -> Schema {
        Schema::new("BasicGuider")
            .category("sampling/custom_sampling/guiders")
            .module("comfy_extras.nodes_custom_sampler")
            .input(Input::wire("model", "MODEL"))
            .input(Input::wire("conditioning", "CONDITIONING"))
            .output("GUIDER")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let positive = prompt(inputs, "conditioning")?;
        let guidance = Guidance::Basic { positive: positive.entries.clone() };
        Ok(Outcome::payload(Guider::new(inputs.payload("model")?, guidance, &[&positive])))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        forecast(inputs)
    }
}

/// Two prompts and a negative one.
struct DualCFGGuider;

impl Node for DualCFGGuider {
    fn schema(&self) -> Schema {
        Schema::new("DualCFGGuider")
            .category("sampling/custom_sampling/guiders")
            .module("comfy_extras.nodes_custom_sampler")
            .input(Input::wire("model", "MODEL"))
            .input(Input::wire("cond1", "CONDITIONING"))
            .input(Input::wire("cond2", "CONDITIONING"))
            .input(Input::wire("negative", "CONDITIONING"))
            .input(
                Input::float("cfg_conds", 8.0).between(0.0, 100.0).option("step", 0.1).option("round", 0.01),
            )
            .input(
                Input::float("cfg_cond2_negative", 8.0)
                    .between(0.0, 100.0)
                    .option("step", 0.1)
                    .option("round", 0.01),
            )
            .input(Input::combo("style", ["regular", "nested"]))
            .output("GUIDER")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let (first, second) = (prompt(inputs, "cond1")?, prompt(inputs, "cond2")?);
        let negative = prompt(inputs, "negative")?;
        let guidance = Guidance::Dual {
            positive: first.entries.clone(),
            middle: second.entries.clone(),
            negative: negative.entries.clone(),
            scale_positive: inputs.float("cfg_conds")?,
            scale_middle: inputs.float("cfg_cond2_negative")?,
            nested: inputs.str("style")? == "nested",
        };
        let guider = Guider::new(inputs.payload("model")?, guidance, &[&first, &second, &negative]);
        Ok(Outcome::payload(guider))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        forecast(inputs)
    }
}

/// A negative prompt that does not contradict the positive one.
struct PerpNegGuider;

impl Node for PerpNegGuider {
    fn schema(&self) -> Schema {
        Schema::new("PerpNegGuider")
            .category("_for_testing")
            .module("comfy_extras.nodes_perpneg")
            .input(Input::wire("model", "MODEL"))
            .input(Input::wire("positive", "CONDITIONING"))
            .input(Input::wire("negative", "CONDITIONING"))
            .input(Input::wire("empty_conditioning", "CONDITIONING"))
            .input(Input::float("cfg", 8.0).between(0.0, 100.0).option("step", 0.1).option("round", 0.01))
            .input(Input::float("neg_scale", 1.0).between(0.0, 100.0).option("step", 0.01))
            .output("GUIDER")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let (positive, negative) = (prompt(inputs, "positive")?, prompt(inputs, "negative")?);
        let empty = prompt(inputs, "empty_conditioning")?;
        let guidance = Guidance::PerpNeg {
            positive: positive.entries.clone(),
            negative: negative.entries.clone(),
            empty: empty.entries.clone(),
            scale: inputs.float("cfg")?,
            negative_scale: inputs.float("neg_scale")?,
        };
        Ok(Outcome::payload(Guider::new(inputs.payload("model")?, guidance, &[&positive, &negative, &empty])))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        forecast(inputs)
    }
}

/// Noise of a seed.
struct RandomNoise;

impl Node for RandomNoise {
    fn schema(&self) -> Schema {
        Schema::new("RandomNoise")
            .category("sampling/custom_sampling/noise")
            .module("comfy_extras.nodes_custom_sampler")
            .input(seed("noise_seed"))
            .output("NOISE")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        Ok(Outcome::payload(Noise::Seeded(inputs.uint("noise_seed")?)))
    }
}

/// No noise.
struct DisableNoise;

impl Node for DisableNoise {
    fn schema(&self) -> Schema {
        Schema::new("DisableNoise")
            .category("sampling/custom_sampling/noise")
            .module("comfy_extras.nodes_custom_sampler")
            .output("NOISE")
    }

    fn execute(&self, _: &Context, _: &Inputs) -> Result<Outcome, NodeError> {
        Ok(Outcome::payload(Noise::Disabled))
    }
}
