//! `CLIPTextEncodeSDXL`, `CLIPTextEncodeSDXLRefiner`: prompts with the picture's size.

use ebb_engine::node::{Context, Forecast, Inputs, Node, NodeError, Outcome, Sketches};
use ebb_engine::schema::{Input, Schema};
use ebb_sampling::guidance::{CondValue, Conditioning as Entry};

use super::encode::{forecast_encode, text};
use crate::values::{Clip, Conditioning, Prompts};

const MODULE: &str = "comfy_extras.nodes_clip_sdxl";

fn size(name: &str, default: u64) -> Input {
    Input::int(name, default).range(0, 16384)
}

/// Keeps numbers of the inputs under their names, for the family to read.
fn keep_numbers(entry: &mut Entry, inputs: &Inputs, names: &[&str]) -> Result<(), NodeError> {
    for name in names {
        entry.extra.insert((*name).to_owned(), CondValue::Number(inputs.float(name)?));
    }
    Ok(())
}

/// A prompt for each of SDXL's encoders.
pub(super) struct CLIPTextEncodeSDXL;

impl Node for CLIPTextEncodeSDXL {
    fn schema(&self) -> Schema {
        Schema::new("CLIPTextEncodeSDXL")
            .category("advanced/conditioning")
            .module(MODULE)
            .input(Input::wire("clip", "CLIP"))
            .input(size("width", 1024))
            .input(size("height", 1024))
            .input(size("crop_w", 0))
            .input(size("crop_h", 0))
            .input(size("target_width", 1024))
            .input(size("target_height", 1024))
            .input(text("text_g"))
            .input(text("text_l"))
            .output("CONDITIONING")
            .compute()
    }

    fn execute(&self, context: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let clip = inputs.payload::<Clip>("clip")?;
        let (l, g) = (Some(inputs.str("text_l")?), Some(inputs.str("text_g")?));
        let encoded = clip.encode_each(context, Prompts { l, g, t5: None })?;
        let mut entry = Entry::prompt(encoded.context, encoded.pooled);
        let names = ["width", "height", "crop_w", "crop_h", "target_width", "target_height"];
        keep_numbers(&mut entry, inputs, &names)?;
        Ok(Outcome::payload(Conditioning::single(entry)))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        Ok(forecast_encode(inputs))
    }
}

/// A prompt for the refiner, with the score that the picture should have.
pub(super) struct CLIPTextEncodeSDXLRefiner;

impl Node for CLIPTextEncodeSDXLRefiner {
    fn schema(&self) -> Schema {
        Schema::new("CLIPTextEncodeSDXLRefiner")
            .category("advanced/conditioning")
            .module(MODULE)
            .input(Input::float("ascore", 6.0).between(0.0, 1000.0).option("step", 0.01))
            .input(size("width", 1024))
            .input(size("height", 1024))
            .input(text("text"))
            .input(Input::wire("clip", "CLIP"))
            .output("CONDITIONING")
            .compute()
    }

    fn execute(&self, context: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let clip = inputs.payload::<Clip>("clip")?;
        let encoded = clip.encode(context, inputs.str("text")?)?;
        let mut entry = Entry::prompt(encoded.context, encoded.pooled);
        keep_numbers(&mut entry, inputs, &["width", "height"])?;
        entry.extra.insert("aesthetic_score".into(), CondValue::Number(inputs.float("ascore")?));
        Ok(Outcome::payload(Conditioning::single(entry)))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        Ok(forecast_encode(inputs))
    }
}
