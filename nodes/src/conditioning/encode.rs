//! `CLIPTextEncode`, `CLIPSetLastLayer`.

use std::sync::Arc;

use ebb_engine::node::{Context, Forecast, Inputs, Node, NodeError, Outcome, Sketch, Sketches};
use ebb_engine::schema::{Input, Schema};
use ebb_sampling::guidance::Conditioning as Entry;

use crate::values::{Clip, Conditioning};

/// A prompt, encoded.
pub(super) struct CLIPTextEncode;

impl Node for CLIPTextEncode {
    fn schema(&self) -> Schema {
        Schema::new("CLIPTextEncode")
            .display("CLIP Text Encode (Prompt)")
            .category("conditioning")
            .input(text("text"))
            .input(Input::wire("clip", "CLIP"))
            .output("CONDITIONING")
            .compute()
    }

    fn execute(&self, context: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let clip = inputs.payload::<Clip>("clip")?;
        let encoded = clip.encode(context, inputs.str("text")?)?;
        Ok(Outcome::payload(Conditioning::single(Entry::prompt(encoded.context, encoded.pooled))))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        Ok(forecast_encode(inputs))
    }
}

/// The encoders that an encoding node will hold.
pub(super) fn forecast_encode(inputs: &Sketches) -> Forecast {
    let Some(clip) = inputs.what::<Clip>("clip") else { return Forecast::unknown() };
    let encoded = Sketch::known(clip.encoded_bytes(inputs.str("text")), ());
    Forecast { uses: clip.specs().cloned().collect(), ..Forecast::output(encoded) }.or(clip.ways())
}

/// A prompt's input.
pub(super) fn text(name: &str) -> Input {
    let kind = ebb_engine::schema::InputType::String;
    Input::new(name, kind).option("multiline", true).option("dynamicPrompts", true)
}

/// Another filling of T5's prompts.
pub(super) struct T5TokenizerOptions;

impl Node for T5TokenizerOptions {
    fn schema(&self) -> Schema {
        let tokens = |name| Input::int(name, 0).range(0, 10000).option("step", 1);
        let schema = Schema::new("T5TokenizerOptions")
            .category("_for_testing/conditioning")
            .module("comfy_extras.nodes_cond")
            .input(Input::wire("clip", "CLIP"))
            .input(tokens("min_padding"))
            .input(tokens("min_length"))
            .output("CLIP");
        Schema { experimental: true, ..schema }
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let mut clip = (*inputs.payload::<Clip>("clip")?).clone();
        clip.t5_padding = Some([inputs.size("min_padding")?, inputs.size("min_length")?]);
        Ok(Outcome::payload(clip))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        let Some(clip) = inputs.what::<Clip>("clip") else { return Ok(Forecast::unknown()) };
        let mut clip = (*clip).clone();
        if let Some((padding, length)) = inputs.uint("min_padding").zip(inputs.uint("min_length")) {
            clip.t5_padding = Some([padding as usize, length as usize]);
        }
        Ok(Forecast::output(Sketch::handle(Arc::new(clip))))
    }
}

/// Text encoders that stop before their last layer.
pub(super) struct CLIPSetLastLayer;

impl Node for CLIPSetLastLayer {
    fn schema(&self) -> Schema {
        Schema::new("CLIPSetLastLayer")
            .display("CLIP Set Last Layer")
            .category("conditioning")
            .input(Input::wire("clip", "CLIP"))
            .input(Input::int("stop_at_clip_layer", -1).range(-24, -1).option("step", 1))
            .output("CLIP")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let mut clip = (*inputs.payload::<Clip>("clip")?).clone();
        clip.layer = i32::try_from(inputs.int("stop_at_clip_layer")?).ok();
        Ok(Outcome::payload(clip))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        let Some(clip) = inputs.what::<Clip>("clip") else { return Ok(Forecast::unknown()) };
        Ok(Forecast::output(Sketch::handle(Arc::clone(&clip))))
    }
}
