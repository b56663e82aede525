//! `ImageInvert`, `EmptyImage`.

use ebb_engine::node::{Context, Forecast, Inputs, Node, NodeError, Outcome, Sketches};
use ebb_engine::schema::{Input, Schema};

use crate::values::{Image, ImageShape, OrNode};

/// 1 − the image.
pub(super) struct ImageInvert;

impl Node for ImageInvert {
    fn schema(&self) -> Schema {
        Schema::new("ImageInvert")
            .display("Invert Image")
            .category("image")
            .input(Input::wire("image", "IMAGE"))
            .output("IMAGE")
            .compute()
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let image = inputs.payload::<Image>("image")?;
        Ok(Outcome::payload(Image::new(image.tensor().affine(-1.0, 1.0).or_node()?)?))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        Ok(Forecast::output(inputs.get("image").clone()))
    }
}

/// One colour.
pub(super) struct EmptyImage;

impl Node for EmptyImage {
    fn schema(&self) -> Schema {
        let side = |name| Input::int(name, 512).range(1, 16384).option("step", 1);
        Schema::new("EmptyImage")
            .category("image")
            .input(side("width"))
            .input(side("height"))
            .input(Input::int("batch_size", 1).range(1, 4096))
            .input(Input::int("color", 0).range(0, 0x00FF_FFFF).option("step", 1).option("display", "color"))
            .output("IMAGE")
            .compute()
    }

    fn execute(&self, context: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let shape = ImageShape {
            batch: inputs.size("batch_size")?,
            height: inputs.size("height")?,
            width: inputs.size("width")?,
            channels: 3,
        };
        let bytes = shape.sketch()?.bytes();
        drop(context.reserve("EmptyImage", bytes)?);
        let color = inputs.uint("color")?;
        let rgb = [16, 8, 0].map(|shift| ((color >> shift) & 0xFF) as f32 / 255.0);
        let count = shape.batch * shape.height * shape.width;
        let pixels = std::iter::repeat_n(rgb, count).flatten().collect();
        Ok(Outcome::payload(Image::from_vec(pixels, shape)?))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        let side = |name| inputs.uint(name).map(|n| n as usize);
        let (Some(width), Some(height), Some(batch)) = (side("width"), side("height"), side("batch_size"))
        else {
            return Ok(Forecast::unknown());
        };
        Ok(Forecast::output(ImageShape { batch, height, width, channels: 3 }.sketch()?))
    }
}
