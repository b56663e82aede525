//! `CLIPTextEncodeFlux`, `FluxGuidance`, `FluxDisableGuidance`.

use ebb_engine::node::{Context, Forecast, Inputs, Node, NodeError, Outcome, Sketches};
use ebb_engine::schema::{Input, Schema};
use ebb_sampling::guidance::{CondValue, Conditioning as Entry};

use super::encode::{forecast_encode, text};
use crate::values::{Clip, Conditioning, Prompts};

const MODULE: &str = "comfy_extras.nodes_flux";
const CATEGORY: &str = "advanced/conditioning/flux";
/// The name under which the family looks for a prompt's guidance.
const GUIDANCE: &str = "guidance";

fn guidance() -> Input {
    Input::float(GUIDANCE, 3.5).between(0.0, 100.0).option("step", 0.1)
}

/// A prompt for each of Flux's encoders, and how strongly it guides.
pub(super) struct CLIPTextEncodeFlux;

impl Node for CLIPTextEncodeFlux {
    fn schema(&self) -> Schema {
        Schema::new("CLIPTextEncodeFlux")
            .category(CATEGORY)
            .module(MODULE)
            .input(Input::wire("clip", "CLIP"))
            .input(text("clip_l"))
            .input(text("t5xxl"))
            .input(guidance())
            .output("CONDITIONING")
            .compute()
    }

    fn execute(&self, context: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let clip = inputs.payload::<Clip>("clip")?;
        let l = Some(inputs.str("clip_l")?);
        let encoded = clip.encode_each(context, Prompts { l, g: l, t5: Some(inputs.str("t5xxl")?) })?;
        let mut entry = Entry::prompt(encoded.context, encoded.pooled);
        entry.extra.insert(GUIDANCE.into(), CondValue::Number(inputs.float(GUIDANCE)?));
        Ok(Outcome::payload(Conditioning::single(entry)))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        Ok(forecast_encode(inputs))
    }
}

/// How strongly a prompt guides a model that was distilled with guidance.
pub(super) struct FluxGuidance;

impl Node for FluxGuidance {
    fn schema(&self) -> Schema {
        Schema::new("FluxGuidance")
            .category(CATEGORY)
            .module(MODULE)
            .input(Input::wire("conditioning", "CONDITIONING"))
            .input(guidance())
            .output("CONDITIONING")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let guidance = CondValue::Number(inputs.float(GUIDANCE)?);
        let set = inputs.payload::<Conditioning>("conditioning")?.map(|entry| {
            entry.extra.insert(GUIDANCE.into(), guidance.clone());
        });
        Ok(Outcome::payload(set))
    }
}

/// No word of guidance at all to the model.
pub(super) struct FluxDisableGuidance;

impl Node for FluxDisableGuidance {
    fn schema(&self) -> Schema {
        Schema::new("FluxDisableGuidance")
            .category(CATEGORY)
            .module(MODULE)
            .input(Input::wire("conditioning", "CONDITIONING"))
            .output("CONDITIONING")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let set = inputs.payload::<Conditioning>("conditioning")?.map(|entry| {
            entry.extra.insert(GUIDANCE.into(), CondValue::Flag(false));
        });
        Ok(Outcome::payload(set))
    }
}
