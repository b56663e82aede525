//! `Canny`: the edges of a picture (Canny 1986).

use ebb_engine::node::{Context, Inputs, Node, NodeError, Outcome};
use ebb_engine::schema::{Input, Schema};

use crate::pixels::canny;
use crate::values::{Image, ImageShape};

/// Edges, white on black.
pub(super) struct Canny;

impl Node for Canny {
    fn schema(&self) -> Schema {
        Schema::new("Canny")
            .category("image/preprocessors")
            .module("comfy_extras.nodes_canny")
            .input(Input::wire("image", "IMAGE"))
            .input(Input::float("low_threshold", 0.4).between(0.01, 0.99).option("step", 0.01))
            .input(Input::float("high_threshold", 0.8).between(0.01, 0.99).option("step", 0.01))
            .output("IMAGE")
            .compute()
    }

    fn execute(&self, context: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let image = inputs.payload::<Image>("image")?;
        let (low, high) = (inputs.float("low_threshold")? as f32, inputs.float("high_threshold")? as f32);
        if low > high {
            return Err(NodeError::input("low_threshold", format!("is {low}, above high_threshold, {high}")));
        }
        let ImageShape { height, width, channels, .. } = image.shape();
        let pixels = image.to_vec()?;
        let mut edges = Vec::with_capacity(pixels.len() / channels * 3);
        for picture in pixels.chunks_exact((height * width * channels).max(1)) {
            context.check()?;
            let found = canny::edges(&canny::grey(picture, channels), (height, width), low, high);
            edges.extend(found.iter().flat_map(|edge| [*edge; 3]));
        }
        Ok(Outcome::payload(Image::from_vec(edges, ImageShape { channels: 3, ..image.shape() })?))
    }
}
