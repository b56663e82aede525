//! `ImagePadForOutpaint`.

use ebb_engine::node::{Context, Inputs, Node, NodeError, Outcome};
use ebb_engine::schema::{Input, Schema};
use ebb_engine::value::Value;

use crate::values::{Image, ImageShape, Mask, MaskShape};

/// A grey frame around an image, and a mask that fades into it.
pub(super) struct ImagePadForOutpaint;

impl Node for ImagePadForOutpaint {
    fn schema(&self) -> Schema {
        let side = |name| Input::int(name, 0).range(0, 16384).option("step", 8);
        Schema::new("ImagePadForOutpaint")
            .display("Pad Image for Outpainting")
            .category("image")
            .input(Input::wire("image", "IMAGE"))
            .input(side("left"))
            .input(side("top"))
            .input(side("right"))
            .input(side("bottom"))
            .input(Input::int("feathering", 40).range(0, 16384).option("step", 1))
            .output("IMAGE")
            .output("MASK")
            .compute()
    }

    fn execute(&self, context: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let image = inputs.payload::<Image>("image")?;
        let from = image.shape();
        let (left, top) = (inputs.size("left")?, inputs.size("top")?);
        let (right, bottom) = (inputs.size("right")?, inputs.size("bottom")?);
        let shape =
            ImageShape { width: from.width + left + right, height: from.height + top + bottom, ..from };
        drop(context.reserve("padded image", shape.sketch()?.bytes())?);
        let source = image.to_vec()?;
        let mut pixels = vec![0.5f32; shape.batch * shape.height * shape.width * shape.channels];
        let row = from.width * from.channels;
        for (i, line) in source.chunks_exact(row).enumerate() {
            let (item, y) = (i / from.height, i % from.height);
            let at = ((item * shape.height + y + top) * shape.width + left) * shape.channels;
            pixels[at..at + row].copy_from_slice(line);
        }
        let feather = inputs.size("feathering")?;
        let fade = feather > 0 && feather * 2 < from.height && feather * 2 < from.width;
        let mut mask = vec![1f32; shape.height * shape.width];
        for y in 0..from.height {
            for x in 0..from.width {
                // The distance to the nearest side that was padded; the others do not fade.
                let distance = |padded: usize, d: usize| if padded == 0 { usize::MAX } else { d };
                let nearest = distance(top, y)
                    .min(distance(bottom, from.height - y))
                    .min(distance(left, x))
                    .min(distance(right, from.width - x));
                let inside = if fade && nearest < feather {
                    let v = (feather - nearest) as f32 / feather as f32;
                    v * v
                } else {
                    0.0
                };
                mask[(y + top) * shape.width + x + left] = inside;
            }
        }
        let mask = Mask::from_vec(mask, MaskShape { batch: 1, height: shape.height, width: shape.width })?;
        Ok(Outcome::values(vec![Value::payload(Image::from_vec(pixels, shape)?), Value::payload(mask)]))
    }
}
