//! `ImageCompositeMasked`, `LatentCompositeMasked`, `MaskPreview`, `FluxKontextImageScale`.

use std::sync::Arc;

use candle_core::Tensor;
use ebb_engine::node::{Context, Forecast, Inputs, Node, NodeError, Outcome, Sketch, Sketches};
use ebb_engine::schema::{Hidden, Input, Schema};

use super::save;
use crate::folders::Folders;
use crate::pixels::{self, Crop, Method};
use crate::values::{Image, ImageShape, Latent, Mask, OrNode, elements, repeat_to_batch, tensor};

/// Where a picture is laid, and how.
struct Placement {
    /// Column and row of its corner, in the cells of the picture below.
    at: (usize, usize),
    /// Whether it is scaled to the size of the picture below first.
    resize: bool,
    /// How much of it counts, in any size; all of it if none.
    mask: Option<Tensor>,
}

/// `above` laid over `below`, both `[batch, channels, height, width]`.
fn composite(below: &Tensor, above: &Tensor, placement: &Placement) -> Result<Tensor, NodeError> {
    let (batch, channels, height, width) = below.dims4().or_node()?;
    let scaled =
        |t: &Tensor, width, height| pixels::latent(t, width, height, Method::Bilinear, Crop::Disabled);
    let above = if placement.resize { scaled(above, width, height)? } else { above.clone() };
    let above = repeat_to_batch(&above, batch)?;
    let (_, above_channels, rows, columns) = above.dims4().or_node()?;
    if above_channels != channels {
        return Err(NodeError::input(
            "source",
            format!("has {above_channels} channels; destination has {channels}"),
        ));
    }
    let mask = match &placement.mask {
        Some(mask) => elements(&repeat_to_batch(&scaled(mask, columns, rows)?, batch)?)?,
        None => vec![1.0; batch * rows * columns],
    };
    let (left, top) = (placement.at.0.min(width), placement.at.1.min(height));
    let (mut out, above) = (elements(below)?, elements(&above)?);
    for item in 0..batch {
        for row in 0..rows.min(height - top) {
            for column in 0..columns.min(width - left) {
                let weight = mask[(item * rows + row) * columns + column];
                for plane in item * channels..(item + 1) * channels {
                    let to = (plane * height + top + row) * width + left + column;
                    let from = above[(plane * rows + row) * columns + column];
                    out[to] = weight * from + (1.0 - weight) * out[to];
                }
            }
        }
    }
    tensor(out, &[batch, channels, height, width])
}

fn placement(inputs: &Inputs, cell: usize) -> Result<Placement, NodeError> {
    let mask = inputs.optional::<Mask>("mask")?;
    let mask = mask.map(|mask| mask.tensor().unsqueeze(1)).transpose().or_node()?;
    let at = (inputs.size("x")? / cell, inputs.size("y")? / cell);
    Ok(Placement { at, resize: inputs.bool("resize_source")?, mask })
}

/// A picture laid over another through a mask.
pub(super) struct ImageCompositeMasked;

impl Node for ImageCompositeMasked {
    fn schema(&self) -> Schema {
        Schema::new("ImageCompositeMasked")
            .category("image")
            .module("comfy_extras.nodes_mask")
            .input(Input::wire("destination", "IMAGE"))
            .input(Input::wire("source", "IMAGE"))
            .input(Input::int("x", 0).range(0, 16384).option("step", 1))
            .input(Input::int("y", 0).range(0, 16384).option("step", 1))
            .input(Input::boolean("resize_source", false))
            .input(Input::wire("mask", "MASK").optional())
            .output("IMAGE")
            .compute()
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let (below, above) = (inputs.payload::<Image>("destination")?, inputs.payload::<Image>("source")?);
        // Transparency that only one of them has: the source's is left out, the destination's is made opaque.
        let (ours, theirs) = (below.shape().channels, above.shape().channels);
        let planes = |image: &Image, channels: usize| {
            let image = image.tensor().narrow(3, 0, channels.min(image.shape().channels));
            image.and_then(|t| t.permute((0, 3, 1, 2))?.contiguous()).or_node()
        };
        let mut source = planes(&above, ours.min(theirs))?;
        if theirs < ours {
            let (batch, _, height, width) = source.dims4().or_node()?;
            let opaque = Tensor::ones((batch, ours - theirs, height, width), source.dtype(), source.device());
            source = Tensor::cat(&[&source, &opaque.or_node()?], 1).or_node()?;
        }
        let laid = composite(&planes(&below, ours)?, &source, &placement(inputs, 1)?)?;
        Ok(Outcome::payload(Image::new(laid.permute((0, 2, 3, 1)).or_node()?)?))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        Ok(Forecast::output(inputs.get("destination").clone()))
    }
}

/// A latent laid over another through a mask.
pub(super) struct LatentCompositeMasked;

impl Node for LatentCompositeMasked {
    fn schema(&self) -> Schema {
        Schema::new("LatentCompositeMasked")
            .category("latent")
            .module("comfy_extras.nodes_mask")
            .input(Input::wire("destination", "LATENT"))
            .input(Input::wire("source", "LATENT"))
            .input(Input::int("x", 0).range(0, 16384).option("step", 8))
            .input(Input::int("y", 0).range(0, 16384).option("step", 8))
            .input(Input::boolean("resize_source", false))
            .input(Input::wire("mask", "MASK").optional())
            .output("LATENT")
            .compute()
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let (below, above) = (inputs.payload::<Latent>("destination")?, inputs.payload::<Latent>("source")?);
        let laid = composite(&below.samples, &above.samples, &placement(inputs, 8)?)?;
        Ok(Outcome::payload(below.with_samples(laid)))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        Ok(Forecast::output(inputs.get("destination").clone()))
    }
}

/// A mask as a picture for a client to show.
pub(super) struct MaskPreview(pub(super) Arc<Folders>);

impl Node for MaskPreview {
    fn schema(&self) -> Schema {
        Schema::new("MaskPreview")
            .category("mask")
            .module("comfy_extras.nodes_mask")
            .input(Input::wire("mask", "MASK"))
            .hidden("prompt", Hidden::Prompt)
            .hidden("extra_pnginfo", Hidden::ExtraPngInfo)
            .output_node()
            .compute()
    }

    fn execute(&self, context: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let mask = inputs.payload::<Mask>("mask")?;
        let grey = mask.tensor().unsqueeze(3).and_then(|t| t.repeat((1, 1, 1, 3))).or_node()?;
        save::preview(context, &self.0, &Image::new(grey)?)
    }
}

/// Widths and heights that Flux Kontext was trained on.
const KONTEXT: [(usize, usize); 17] = [
    (672, 1568),
    (688, 1504),
    (720, 1456),
    (752, 1392),
    (800, 1328),
    (832, 1248),
    (880, 1184),
    (944, 1104),
    (1024, 1024),
    (1104, 944),
    (1184, 880),
    (1248, 832),
    (1328, 800),
    (1392, 752),
    (1456, 720),
    (1504, 688),
    (1568, 672),
];

/// The size of the nearest aspect ratio.
fn kontext_size(shape: ImageShape) -> (usize, usize) {
    let ratio = shape.width as f64 / shape.height.max(1) as f64;
    let off = |(w, h): &(usize, usize)| (ratio - *w as f64 / *h as f64).abs();
    KONTEXT.into_iter().min_by(|a, b| off(a).total_cmp(&off(b))).unwrap_or((1024, 1024))
}

/// A picture in the size of Flux Kontext's that is nearest to its own.
pub(super) struct FluxKontextImageScale;

impl Node for FluxKontextImageScale {
    fn schema(&self) -> Schema {
        Schema::new("FluxKontextImageScale")
            .category("advanced/conditioning/flux")
            .module("comfy_extras.nodes_flux")
            .input(Input::wire("image", "IMAGE"))
            .output("IMAGE")
            .compute()
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let image = inputs.payload::<Image>("image")?;
        let (width, height) = kontext_size(image.shape());
        let scaled = pixels::image(image.tensor(), width, height, Method::Lanczos, Crop::Center)?;
        Ok(Outcome::payload(Image::new(scaled)?))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        let Some(shape) = inputs.what::<ImageShape>("image") else {
            return Ok(Forecast::output(Sketch::Unknown));
        };
        let (width, height) = kontext_size(*shape);
        Ok(Forecast::output(ImageShape { width, height, ..*shape }.sketch()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_laid_where_it_fits_and_as_its_mask_says() {
        let below = tensor(vec![0.0; 9], &[1, 1, 3, 3]).unwrap();
        let above = tensor(vec![1.0, 2.0, 3.0, 4.0], &[1, 1, 2, 2]).unwrap();
        let mask = Some(tensor(vec![1.0, 1.0, 0.5, 0.0], &[1, 1, 2, 2]).unwrap());
        let laid = |at, mask| composite(&below, &above, &Placement { at, resize: false, mask });
        let laid = |at, mask| elements(&laid(at, mask).unwrap()).unwrap();
        assert_eq!(laid((2, 1), None), [0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 3.0]);
        assert_eq!(laid((0, 0), mask), [1.0, 2.0, 0.0, 1.5, 0.0, 0.0, 0.0, 0.0, 0.0]);
        assert_eq!(laid((9, 9), None), [0.0; 9]);
    }

    #[test]
    fn the_nearest_aspect_ratio_is_taken() {
        let shape = |width, height| ImageShape { batch: 1, height, width, channels: 3 };
        assert_eq!(kontext_size(shape(512, 512)), (1024, 1024));
        assert_eq!(kontext_size(shape(1920, 1080)), (1392, 752));
    }
}
