//! `ImageBlend`, `ImageSharpen`, `JoinImageWithAlpha`, `SplitImageWithAlpha`, `ImageColorToMask`.

use candle_core::Tensor;
use ebb_engine::node::{Context, Forecast, Inputs, Node, NodeError, Outcome, Sketches};
use ebb_engine::schema::{Input, Schema};
use ebb_engine::value::Value;

use super::blur::blurred;
use crate::pixels::{self, Crop, Method};
use crate::values::{Image, ImageShape, Mask, MaskShape, OrNode, repeat_to_batch};

/// One picture laid over another.
pub(super) struct ImageBlend;

/// What a mode makes of two values (the names and formulas of the W3C's compositing modes).
fn mixed(mode: &str, a: f32, b: f32) -> f32 {
    match mode {
        "multiply" => a * b,
        "screen" => 1.0 - (1.0 - a) * (1.0 - b),
        "overlay" if a <= 0.5 => 2.0 * a * b,
        "overlay" => 1.0 - 2.0 * (1.0 - a) * (1.0 - b),
        "soft_light" if b <= 0.5 => a - (1.0 - 2.0 * b) * a * (1.0 - a),
        "soft_light" => {
            let light = if a <= 0.25 { ((16.0 * a - 12.0) * a + 4.0) * a } else { a.sqrt() };
            a + (2.0 * b - 1.0) * (light - a)
        }
        "difference" => a - b,
        _ => b,
    }
}

/// The first three channels, or all where there are fewer.
fn colours(image: &Image) -> Result<Tensor, NodeError> {
    let channels = image.shape().channels.min(3);
    image.tensor().narrow(3, 0, channels).or_node()
}

impl Node for ImageBlend {
    fn schema(&self) -> Schema {
        Schema::new("ImageBlend")
            .category("image/postprocessing")
            .module("comfy_extras.nodes_post_processing")
            .input(Input::wire("image1", "IMAGE"))
            .input(Input::wire("image2", "IMAGE"))
            .input(Input::float("blend_factor", 0.5).between(0.0, 1.0).option("step", 0.01))
            .input(
                Input::combo(
                    "blend_mode",
                    ["normal", "multiply", "screen", "overlay", "soft_light", "difference"],
                )
                .named_combo(),
            )
            .output("IMAGE")
            .compute()
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let (first, second) = (inputs.payload::<Image>("image1")?, inputs.payload::<Image>("image2")?);
        let (below, mut above) = (colours(&first)?, colours(&second)?);
        let ImageShape { batch, height, width, .. } = first.shape();
        if (second.shape().height, second.shape().width) != (height, width) {
            above = pixels::image(&above, width, height, Method::Bicubic, Crop::Center)?;
        }
        let above = Image::new(repeat_to_batch(&above, batch)?)?;
        let below = Image::new(below)?;
        if above.shape() != below.shape() {
            let found = above.shape().channels;
            return Err(NodeError::input(
                "image2",
                format!(
                    "has {found} channels; image1 has {}: both must be grey or both coloured",
                    below.shape().channels
                ),
            ));
        }
        let (mode, factor) = (inputs.str("blend_mode")?, inputs.float("blend_factor")? as f32);
        let pixels = below.to_vec()?.into_iter().zip(above.to_vec()?);
        let blended = pixels.map(|(a, b)| (a * (1.0 - factor) + mixed(mode, a, b) * factor).clamp(0.0, 1.0));
        Ok(Outcome::payload(Image::from_vec(blended.collect(), below.shape())?))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        Ok(Forecast::output(inputs.get("image1").clone()))
    }
}

/// A picture with the difference to its blurred self added.
pub(super) struct ImageSharpen;

impl Node for ImageSharpen {
    fn schema(&self) -> Schema {
        Schema::new("ImageSharpen")
            .category("image/postprocessing")
            .module("comfy_extras.nodes_post_processing")
            .input(Input::wire("image", "IMAGE"))
            .input(Input::int("sharpen_radius", 1).range(1, 31).option("step", 1))
            .input(Input::float("sigma", 1.0).between(0.1, 10.0).option("step", 0.01))
            .input(Input::float("alpha", 1.0).between(0.0, 5.0).option("step", 0.01))
            .output("IMAGE")
            .compute()
    }

    fn execute(&self, context: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let image = inputs.payload::<Image>("image")?;
        let (radius, sigma) = (inputs.size("sharpen_radius")?, inputs.float("sigma")?);
        if radius == 0 {
            return Ok(Outcome::value(inputs.value("image")?.clone()));
        }
        let amount = (inputs.float("alpha")? * 10.0) as f32;
        let blurred = blurred(context, &image, "sharpen_radius", radius, sigma)?;
        let pixels = image.to_vec()?.into_iter().zip(blurred);
        let sharp = pixels.map(|(p, blurred)| (p + amount * (p - blurred)).clamp(0.0, 1.0));
        Ok(Outcome::payload(Image::from_vec(sharp.collect(), image.shape())?))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        Ok(Forecast::output(inputs.get("image").clone()))
    }
}

/// A picture with a mask as its transparency: 1 in the mask is transparent.
pub(super) struct JoinImageWithAlpha;

impl Node for JoinImageWithAlpha {
    fn schema(&self) -> Schema {
        Schema::new("JoinImageWithAlpha")
            .display("Join Image with Alpha")
            .category("mask/compositing")
            .module("comfy_extras.nodes_compositing")
            .input(Input::wire("image", "IMAGE"))
            .input(Input::wire("alpha", "MASK"))
            .output("IMAGE")
            .compute()
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let (image, mask) = (inputs.payload::<Image>("image")?, inputs.payload::<Mask>("alpha")?);
        let ImageShape { height, width, .. } = image.shape();
        let planes = mask.tensor().unsqueeze(1).or_node()?;
        let fitted = pixels::latent(&planes, width, height, Method::Bilinear, Crop::Disabled)?;
        let batch = image.shape().batch.min(mask.shape().batch);
        let alpha =
            fitted.permute((0, 2, 3, 1)).and_then(|t| t.affine(-1.0, 1.0)?.narrow(0, 0, batch)).or_node()?;
        let colours = colours(&image)?.narrow(0, 0, batch).or_node()?;
        Ok(Outcome::payload(Image::new(Tensor::cat(&[&colours, &alpha], 3).or_node()?)?))
    }
}

/// A picture and its transparency apart.
pub(super) struct SplitImageWithAlpha;

impl Node for SplitImageWithAlpha {
    fn schema(&self) -> Schema {
        Schema::new("SplitImageWithAlpha")
            .display("Split Image with Alpha")
            .category("mask/compositing")
            .module("comfy_extras.nodes_compositing")
            .input(Input::wire("image", "IMAGE"))
            .output("IMAGE")
            .output("MASK")
            .compute()
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let image = inputs.payload::<Image>("image")?;
        let ImageShape { batch, height, width, channels } = image.shape();
        let mask = if channels > 3 {
            image.tensor().narrow(3, 3, 1).and_then(|t| t.squeeze(3)?.affine(-1.0, 1.0)).or_node()?
        } else {
            Tensor::zeros((batch, height, width), image.tensor().dtype(), image.tensor().device())
                .or_node()?
        };
        let image = Image::new(colours(&image)?)?;
        let values = [
            Value::Payload(std::sync::Arc::new(image)),
            Value::Payload(std::sync::Arc::new(Mask::new(mask)?)),
        ];
        Ok(Outcome::values(values.into()))
    }
}

/// Where a picture has exactly one colour.
pub(super) struct ImageColorToMask;

impl Node for ImageColorToMask {
    fn schema(&self) -> Schema {
        Schema::new("ImageColorToMask")
            .category("mask")
            .module("comfy_extras.nodes_mask")
            .input(Input::wire("image", "IMAGE"))
            .input(Input::int("color", 0).range(0, 16777215).option("step", 1).option("display", "color"))
            .output("MASK")
            .compute()
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let (image, color) = (inputs.payload::<Image>("image")?, inputs.uint("color")?);
        let ImageShape { batch, height, width, channels } = image.shape();
        if channels < 3 {
            return Err(NodeError::input("image", format!("has {channels} channels; a colour has 3")));
        }
        let byte = |v: f32| (v.clamp(0.0, 1.0) * 255.0).round_ties_even() as u64;
        let pixels = image.to_vec()?;
        let is_it = |p: &[f32]| byte(p[0]) << 16 | byte(p[1]) << 8 | byte(p[2]) == color;
        let mask = pixels.chunks_exact(channels).map(|p| if is_it(p) { 1.0 } else { 0.0 }).collect();
        Ok(Outcome::payload(Mask::from_vec(mask, MaskShape { batch, height, width })?))
    }
}
