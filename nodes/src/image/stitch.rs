//! `ImageStitch`.

use candle_core::Tensor;
use ebb_engine::node::{Context, Inputs, Node, NodeError, Outcome};
use ebb_engine::schema::{Input, Schema};
use ebb_engine::value::Value;

use crate::pixels::{self, Crop, Method};
use crate::values::{Image, OrNode, tensor};

/// Puts two pictures side by side.
pub(super) struct ImageStitch;

/// A colour's three channels, and what fills up what is too small.
fn colour(name: &str) -> ([f32; 3], f32) {
    match name {
        "white" => ([1.0; 3], 1.0),
        "red" => ([1.0, 0.0, 0.0], 0.0),
        "green" => ([0.0, 1.0, 0.0], 0.0),
        "blue" => ([0.0, 0.0, 1.0], 0.0),
        _ => ([0.0; 3], 0.0),
    }
}

/// As many pictures as `batch`: the last one again.
fn repeated(image: &Tensor, batch: usize) -> Result<Tensor, NodeError> {
    let own = image.dim(0).or_node()?;
    if own >= batch {
        return Ok(image.clone());
    }
    let last = image.narrow(0, own - 1, 1).and_then(|t| t.repeat((batch - own, 1, 1, 1))).or_node()?;
    Tensor::cat(&[image, &last], 0).or_node()
}

/// Pixels of one value before and after, along an axis, up to a length.
fn padded(image: &Tensor, axis: usize, length: usize, value: f32) -> Result<Tensor, NodeError> {
    let missing = length.saturating_sub(image.dim(axis).or_node()?);
    if missing == 0 {
        return Ok(image.clone());
    }
    let bar = |count: usize| -> Result<Tensor, NodeError> {
        let mut dims = image.dims().to_vec();
        dims[axis] = count;
        Tensor::full(value, dims, image.device()).or_node()
    };
    let (before, after) = (bar(missing / 2)?, bar(missing - missing / 2)?);
    let parts: Vec<&Tensor> = [&before, image, &after].into_iter().filter(|t| t.elem_count() > 0).collect();
    Tensor::cat(&parts, axis).or_node()
}

/// With an opaque channel more, where there are too few.
fn with_channels(image: &Tensor, channels: usize) -> Result<Tensor, NodeError> {
    let missing = channels.saturating_sub(image.dim(3).or_node()?);
    if missing == 0 {
        return Ok(image.clone());
    }
    let mut dims = image.dims().to_vec();
    dims[3] = missing;
    Tensor::cat(&[image, &Tensor::full(1f32, dims, image.device()).or_node()?], 3).or_node()
}

impl Node for ImageStitch {
    fn schema(&self) -> Schema {
        Schema::new("ImageStitch")
            .display("Image Stitch")
            .category("image/transform")
            .module("comfy_extras.nodes_images")
            .input(Input::wire("image1", "IMAGE"))
            .input(Input::combo("direction", ["right", "down", "left", "up"]).option("default", "right"))
            .input(Input::boolean("match_image_size", true))
            .input(Input::int("spacing_width", 0).range(0, 1024).option("step", 2))
            .input(
                Input::combo("spacing_color", ["white", "black", "red", "green", "blue"])
                    .option("default", "white"),
            )
            .input(Input::wire("image2", "IMAGE").optional())
            .output("IMAGE")
            .compute()
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let first = inputs.payload::<Image>("image1")?;
        if !inputs.has("image2") {
            return Ok(Outcome::values(vec![Value::Payload(first)]));
        }
        let second = inputs.payload::<Image>("image2")?;
        let direction = inputs.str("direction")?;
        let (across, along) = if matches!(direction, "left" | "right") { (1, 2) } else { (2, 1) };
        let (rgb, fill) = colour(inputs.str("spacing_color")?);
        let batch = first.shape().batch.max(second.shape().batch);
        let (mut first, mut second) = (repeated(first.tensor(), batch)?, repeated(second.tensor(), batch)?);
        let size = |image: &Tensor| -> Result<(usize, usize), NodeError> {
            Ok((image.dim(1).or_node()?, image.dim(2).or_node()?))
        };
        if inputs.bool("match_image_size")? {
            let ((h1, w1), (h2, w2)) = (size(&first)?, size(&second)?);
            let aspect = w2 as f64 / h2 as f64;
            let (height, width) = if across == 1 {
                (h1, (h1 as f64 * aspect) as usize)
            } else {
                ((w1 as f64 / aspect) as usize, w1)
            };
            second = pixels::image(&second, width, height, Method::Lanczos, Crop::Disabled)?;
        } else {
            let most = first.dim(across).or_node()?.max(second.dim(across).or_node()?);
            (first, second) = (padded(&first, across, most, fill)?, padded(&second, across, most, fill)?);
        }
        let channels = first.dim(3).or_node()?.max(second.dim(3).or_node()?);
        (first, second) = (with_channels(&first, channels)?, with_channels(&second, channels)?);
        let spacing = inputs.size("spacing_width")?.next_multiple_of(2);
        let mut parts = vec![first, second];
        if matches!(direction, "left" | "up") {
            parts.swap(0, 1);
        }
        if spacing > 0 {
            let mut dims = parts[0].dims().to_vec();
            dims[along] = spacing;
            dims[across] = parts[0].dim(across).or_node()?.max(parts[1].dim(across).or_node()?);
            let pixel: Vec<f32> = (0..channels).map(|i| rgb.get(i).copied().unwrap_or(1.0)).collect();
            parts.insert(1, tensor(pixel.repeat(dims[0] * dims[1] * dims[2]), &dims)?);
        }
        Ok(Outcome::payload(Image::new(Tensor::cat(&parts, along).or_node()?)?))
    }
}
