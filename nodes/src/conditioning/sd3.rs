//! `CLIPTextEncodeSD3`.

use ebb_engine::node::{Context, Forecast, Inputs, Node, NodeError, Outcome, Sketches};
use ebb_engine::schema::{Input, Schema};
use ebb_sampling::guidance::Conditioning as Entry;

use super::encode::{forecast_encode, text};
use crate::values::{Clip, Conditioning, Prompts};

/// A prompt for each of SD 3's encoders. An empty one is encoded as such, or leaves its encoder out.
pub(super) struct CLIPTextEncodeSD3;

impl Node for CLIPTextEncodeSD3 {
    fn schema(&self) -> Schema {
        Schema::new("CLIPTextEncodeSD3")
            .category("advanced/conditioning")
            .module("comfy_extras.nodes_sd3")
            .input(Input::wire("clip", "CLIP"))
            .input(text("clip_l"))
            .input(text("clip_g"))
            .input(text("t5xxl"))
            .input(Input::combo("empty_padding", ["none", "empty_prompt"]).named_combo())
            .output("CONDITIONING")
            .compute()
    }

    fn execute(&self, context: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let clip = inputs.payload::<Clip>("clip")?;
        let leaves_out = inputs.str("empty_padding")? == "none";
        let prompt = |name| -> Result<Option<&str>, NodeError> {
            Ok(Some(inputs.str(name)?).filter(|prompt| !(leaves_out && prompt.is_empty())))
        };
        let prompts = Prompts { l: prompt("clip_l")?, g: prompt("clip_g")?, t5: prompt("t5xxl")? };
        let encoded = clip.encode_each(context, prompts)?;
        Ok(Outcome::payload(Conditioning::single(Entry::prompt(encoded.context, encoded.pooled))))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        Ok(forecast_encode(inputs))
    }
}
