//! `ImageScale`, `ImageScaleBy`, `ImageScaleToTotalPixels`.

use ebb_engine::node::{Context, Forecast, Inputs, Node, NodeError, Outcome, Sketches};
use ebb_engine::schema::{Input, Schema};

use crate::pixels::{self, Crop, Method};
use crate::values::{Image, ImageShape};

/// Scales to a width and a height; a 0 keeps the aspect ratio.
pub(super) struct ImageScale;

/// The size that `width`×`height` asks of a picture: a 0 follows from the other, two keep it.
fn wanted_size(from: ImageShape, width: usize, height: usize) -> (usize, usize) {
    let follow = |length: usize, by: usize, of: usize| {
        ((length as f64 * by as f64 / of.max(1) as f64).round_ties_even() as usize).max(1)
    };
    match (width, height) {
        (0, 0) => (from.width, from.height),
        (0, h) => (follow(from.width, h, from.height), h),
        (w, 0) => (w, follow(from.height, w, from.width)),
        size => size,
    }
}

fn scaled(
    image: &Image,
    (width, height): (usize, usize),
    method: &str,
    crop: Crop,
) -> Result<Outcome, NodeError> {
    if (width, height) == (image.shape().width, image.shape().height) {
        return Ok(Outcome::payload(image.clone()));
    }
    let pixels = pixels::image(image.tensor(), width, height, method.parse()?, crop)?;
    Ok(Outcome::payload(Image::new(pixels)?))
}

impl Node for ImageScale {
    fn schema(&self) -> Schema {
        let side = |name| Input::int(name, 512).range(0, 16384).option("step", 1);
        Schema::new("ImageScale")
            .display("Upscale Image")
            .category("image/upscaling")
            .input(Input::wire("image", "IMAGE"))
            .input(Input::combo("upscale_method", Method::IMAGE))
            .input(side("width"))
            .input(side("height"))
            .input(Input::combo("crop", ["disabled", "center"]))
            .output("IMAGE")
            .compute()
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let image = inputs.payload::<Image>("image")?;
        let size = wanted_size(image.shape(), inputs.size("width")?, inputs.size("height")?);
        scaled(&image, size, inputs.str("upscale_method")?, inputs.str("crop")?.parse()?)
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        let (Some(from), Some(width), Some(height)) =
            (inputs.what::<ImageShape>("image"), inputs.uint("width"), inputs.uint("height"))
        else {
            return Ok(Forecast::unknown());
        };
        let (width, height) = wanted_size(*from, width as usize, height as usize);
        Ok(Forecast::output(ImageShape { width, height, ..*from }.sketch()?))
    }
}

/// Scales by a factor.
pub(super) struct ImageScaleBy;

fn times(length: usize, factor: f64) -> usize {
    ((length as f64 * factor).round_ties_even() as usize).max(1)
}

impl Node for ImageScaleBy {
    fn schema(&self) -> Schema {
        Schema::new("ImageScaleBy")
            .display("Upscale Image By")
            .category("image/upscaling")
            .input(Input::wire("image", "IMAGE"))
            .input(Input::combo("upscale_method", Method::IMAGE))
            .input(Input::float("scale_by", 1.0).between(0.01, 8.0).option("step", 0.01))
            .output("IMAGE")
            .compute()
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let image = inputs.payload::<Image>("image")?;
        let (factor, from) = (inputs.float("scale_by")?, image.shape());
        let size = (times(from.width, factor), times(from.height, factor));
        scaled(&image, size, inputs.str("upscale_method")?, Crop::Disabled)
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        let factor = inputs.get("scale_by").as_json().and_then(serde_json::Value::as_f64);
        let (Some(from), Some(factor)) = (inputs.what::<ImageShape>("image"), factor) else {
            return Ok(Forecast::unknown());
        };
        let shape =
            ImageShape { width: times(from.width, factor), height: times(from.height, factor), ..*from };
        Ok(Forecast::output(shape.sketch()?))
    }
}

/// Scales to about a number of megapixels (of 1024×1024), keeping the aspect ratio.
pub(super) struct ImageScaleToTotalPixels;

impl Node for ImageScaleToTotalPixels {
    fn schema(&self) -> Schema {
        Schema::new("ImageScaleToTotalPixels")
            .display("Scale Image to Total Pixels")
            .category("image/upscaling")
            .module("comfy_extras.nodes_post_processing")
            .input(Input::wire("image", "IMAGE"))
            .input(Input::combo("upscale_method", Method::IMAGE))
            .input(Input::float("megapixels", 1.0).between(0.01, 16.0).option("step", 0.01))
            .output("IMAGE")
            .compute()
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let image = inputs.payload::<Image>("image")?;
        let from = image.shape();
        let total = (inputs.float("megapixels")? * 1024.0 * 1024.0).trunc();
        let factor = (total / (from.width * from.height).max(1) as f64).sqrt();
        let size = (times(from.width, factor), times(from.height, factor));
        scaled(&image, size, inputs.str("upscale_method")?, Crop::Disabled)
    }
}
