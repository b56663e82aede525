//! `MaskToImage`, `ImageToMask`, `SolidMask`.

use ebb_engine::node::{Context, Forecast, Inputs, Node, NodeError, Outcome, Sketches};
use ebb_engine::schema::{Input, Schema};

use super::MODULE;
use crate::values::{Image, ImageShape, Mask, MaskShape, OrNode};

/// A mask as a grey picture.
pub(super) struct MaskToImage;

impl Node for MaskToImage {
    fn schema(&self) -> Schema {
        Schema::new("MaskToImage")
            .display("Convert Mask to Image")
            .category("mask")
            .module(MODULE)
            .input(Input::wire("mask", "MASK"))
            .output("IMAGE")
            .compute()
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let mask = inputs.payload::<Mask>("mask")?;
        let grey = mask.tensor().unsqueeze(3).and_then(|t| t.repeat((1, 1, 1, 3))).or_node()?;
        Ok(Outcome::payload(Image::new(grey)?))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        let Some(mask) = inputs.what::<MaskShape>("mask") else { return Ok(Forecast::unknown()) };
        let shape = ImageShape { batch: mask.batch, height: mask.height, width: mask.width, channels: 3 };
        Ok(Forecast::output(shape.sketch()?))
    }
}

/// One channel of a picture as a mask.
pub(super) struct ImageToMask;

impl Node for ImageToMask {
    fn schema(&self) -> Schema {
        Schema::new("ImageToMask")
            .display("Convert Image to Mask")
            .category("mask")
            .module(MODULE)
            .input(Input::wire("image", "IMAGE"))
            .input(Input::combo("channel", ["red", "green", "blue", "alpha"]))
            .output("MASK")
            .compute()
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let image = inputs.payload::<Image>("image")?;
        let channel = match inputs.str("channel")? {
            "red" => 0,
            "green" => 1,
            "blue" => 2,
            _ => 3,
        };
        let have = image.shape().channels;
        if channel >= have {
            return Err(NodeError::input(
                "channel",
                format!("the image has {have} channels and no such one; choose red, green or blue"),
            ));
        }
        let plane = image.tensor().narrow(3, channel, 1).and_then(|t| t.squeeze(3)).or_node()?;
        Ok(Outcome::payload(Mask::new(plane)?))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        let Some(image) = inputs.what::<ImageShape>("image") else { return Ok(Forecast::unknown()) };
        let shape = MaskShape { batch: image.batch, height: image.height, width: image.width };
        Ok(Forecast::output(shape.sketch()?))
    }
}

/// One value everywhere.
pub(super) struct SolidMask;

impl Node for SolidMask {
    fn schema(&self) -> Schema {
        let side = |name| Input::int(name, 512).range(1, 16384).option("step", 1);
        Schema::new("SolidMask")
            .category("mask")
            .module(MODULE)
            .input(Input::float("value", 1.0).between(0.0, 1.0).option("step", 0.01))
            .input(side("width"))
            .input(side("height"))
            .output("MASK")
            .compute()
    }

    fn execute(&self, context: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let shape = MaskShape { batch: 1, height: inputs.size("height")?, width: inputs.size("width")? };
        drop(context.reserve("SolidMask", shape.sketch()?.bytes())?);
        let values = vec![inputs.float("value")? as f32; shape.height * shape.width];
        Ok(Outcome::payload(Mask::from_vec(values, shape)?))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        let (Some(width), Some(height)) = (inputs.uint("width"), inputs.uint("height")) else {
            return Ok(Forecast::unknown());
        };
        let shape = MaskShape { batch: 1, height: height as usize, width: width as usize };
        Ok(Forecast::output(shape.sketch()?))
    }
}
