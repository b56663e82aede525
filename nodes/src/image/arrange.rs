//! `ImageCrop`, `ImageFlip`, `ImageRotate`, `GetImageSize`, `ImageScaleToMaxDimension`.

use ebb_engine::node::{Context, Forecast, Inputs, Node, NodeError, Outcome, Sketches};
use ebb_engine::schema::{Hidden, Input, Schema};
use ebb_engine::value::Value;

use crate::pixels::{self, Crop, Method};
use crate::values::{Image, ImageShape, OrNode};

/// Pixels put elsewhere: `from` answers the row and column that a pixel of the new size comes from.
fn rearranged(
    image: &Image,
    (height, width): (usize, usize),
    from: impl Fn(usize, usize) -> (usize, usize),
) -> Result<Image, NodeError> {
    let shape = image.shape();
    let pixels = image.to_vec()?;
    let mut moved = Vec::with_capacity(pixels.len());
    for picture in pixels.chunks_exact((shape.height * shape.width * shape.channels).max(1)) {
        for y in 0..height {
            for x in 0..width {
                let (row, column) = from(y, x);
                let at = (row * shape.width + column) * shape.channels;
                moved.extend_from_slice(&picture[at..at + shape.channels]);
            }
        }
    }
    Image::from_vec(moved, ImageShape { height, width, ..shape })
}

/// A rectangle of a picture.
pub(super) struct ImageCrop;

impl Node for ImageCrop {
    fn schema(&self) -> Schema {
        Schema::new("ImageCrop")
            .display("Image Crop")
            .category("image/transform")
            .module("comfy_extras.nodes_images")
            .input(Input::wire("image", "IMAGE"))
            .input(Input::int("width", 512).range(1, 16384).option("step", 1))
            .input(Input::int("height", 512).range(1, 16384).option("step", 1))
            .input(Input::int("x", 0).range(0, 16384).option("step", 1))
            .input(Input::int("y", 0).range(0, 16384).option("step", 1))
            .output("IMAGE")
            .compute()
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let image = inputs.payload::<Image>("image")?;
        let shape = image.shape();
        // A corner beyond the picture is moved onto its last pixel, as in ComfyUI.
        let x = inputs.size("x")?.min(shape.width.saturating_sub(1));
        let y = inputs.size("y")?.min(shape.height.saturating_sub(1));
        let width = inputs.size("width")?.min(shape.width - x);
        let height = inputs.size("height")?.min(shape.height - y);
        let part = image.tensor().narrow(1, y, height).and_then(|t| t.narrow(2, x, width));
        Ok(Outcome::payload(Image::new(part.or_node()?)?))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        let size = |name| inputs.uint(name).map(|n| n as usize);
        let (Some(shape), Some(width), Some(height)) =
            (inputs.what::<ImageShape>("image"), size("width"), size("height"))
        else {
            return Ok(Forecast::unknown());
        };
        let (width, height) = (width.min(shape.width), height.min(shape.height));
        Ok(Forecast::output(ImageShape { width, height, ..*shape }.sketch()?))
    }
}

/// A mirrored picture.
pub(super) struct ImageFlip;

impl Node for ImageFlip {
    fn schema(&self) -> Schema {
        Schema::new("ImageFlip")
            .category("image/transform")
            .module("comfy_extras.nodes_images")
            .input(Input::wire("image", "IMAGE"))
            .input(Input::combo("flip_method", ["x-axis: vertically", "y-axis: horizontally"]))
            .output("IMAGE")
            .compute()
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let image = inputs.payload::<Image>("image")?;
        let ImageShape { height, width, .. } = image.shape();
        let vertical = inputs.str("flip_method")?.starts_with('x');
        let from = |y: usize, x: usize| if vertical { (height - 1 - y, x) } else { (y, width - 1 - x) };
        Ok(Outcome::payload(rearranged(&image, (height, width), from)?))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        Ok(Forecast::output(inputs.get("image").clone()))
    }
}

/// A picture turned clockwise.
pub(super) struct ImageRotate;

impl Node for ImageRotate {
    fn schema(&self) -> Schema {
        Schema::new("ImageRotate")
            .category("image/transform")
            .module("comfy_extras.nodes_images")
            .input(Input::wire("image", "IMAGE"))
            .input(Input::combo("rotation", ["none", "90 degrees", "180 degrees", "270 degrees"]))
            .output("IMAGE")
            .compute()
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let image = inputs.payload::<Image>("image")?;
        let ImageShape { height, width, .. } = image.shape();
        let rotation = inputs.str("rotation")?;
        let turned = if rotation.starts_with("90") {
            rearranged(&image, (width, height), |y, x| (height - 1 - x, y))?
        } else if rotation.starts_with("180") {
            rearranged(&image, (height, width), |y, x| (height - 1 - y, width - 1 - x))?
        } else if rotation.starts_with("270") {
            rearranged(&image, (width, height), |y, x| (x, width - 1 - y))?
        } else {
            (*image).clone()
        };
        Ok(Outcome::payload(turned))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        let Some(shape) = inputs.what::<ImageShape>("image") else { return Ok(Forecast::unknown()) };
        let turned = match inputs.str("rotation") {
            Some("none" | "180 degrees") => *shape,
            Some(_) => ImageShape { height: shape.width, width: shape.height, ..*shape },
            None => return Ok(Forecast::unknown()),
        };
        Ok(Forecast::output(turned.sketch()?))
    }
}

/// How large pictures are, and how many.
pub(super) struct GetImageSize;

impl Node for GetImageSize {
    fn schema(&self) -> Schema {
        Schema::new("GetImageSize")
            .display("Get Image Size")
            .category("image")
            .module("comfy_extras.nodes_images")
            .input(Input::wire("image", "IMAGE"))
            .hidden("unique_id", Hidden::UniqueId)
            .named_output("INT", "width")
            .named_output("INT", "height")
            .named_output("INT", "batch_size")
    }

    fn execute(&self, context: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let ImageShape { batch, height, width, .. } = inputs.payload::<Image>("image")?.shape();
        context.text(format!("width: {width}, height: {height}\n batch size: {batch}"));
        Ok(Outcome::values([width, height, batch].map(|n| Value::from(n as i64)).into()))
    }
}

/// A picture scaled so that its longer side has a length.
pub(super) struct ImageScaleToMaxDimension;

/// The new width and height; halves are rounded to even, as Python rounds.
fn with_longest(shape: ImageShape, longest: usize) -> (usize, usize) {
    let (width, height) = (shape.width as f64, shape.height as f64);
    let shorter = |ratio: f64| (ratio * longest as f64).round_ties_even() as usize;
    if height > width {
        (shorter(width / height), longest)
    } else if width > height {
        (longest, shorter(height / width))
    } else {
        (longest, longest)
    }
}

impl Node for ImageScaleToMaxDimension {
    fn schema(&self) -> Schema {
        Schema::new("ImageScaleToMaxDimension")
            .category("image/upscaling")
            .module("comfy_extras.nodes_images")
            .input(Input::wire("image", "IMAGE"))
            .input(Input::combo(
                "upscale_method",
                ["area", "lanczos", "bilinear", "nearest-exact", "bilinear", "bicubic"],
            ))
            .input(Input::int("largest_size", 512).range(0, 16384).option("step", 1))
            .output("IMAGE")
            .compute()
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let image = inputs.payload::<Image>("image")?;
        let (width, height) = with_longest(image.shape(), inputs.size("largest_size")?);
        let method: Method = inputs.str("upscale_method")?.parse()?;
        let scaled = pixels::image(image.tensor(), width, height, method, Crop::Disabled)?;
        Ok(Outcome::payload(Image::new(scaled)?))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        let (Some(shape), Some(longest)) = (inputs.what::<ImageShape>("image"), inputs.uint("largest_size"))
        else {
            return Ok(Forecast::unknown());
        };
        let (width, height) = with_longest(*shape, longest as usize);
        Ok(Forecast::output(ImageShape { width, height, ..*shape }.sketch()?))
    }
}
