//! `ImageBatch`, `ImageFromBatch`, `RepeatImageBatch`, `RebatchImages`.

use candle_core::Tensor;
use ebb_engine::node::{Context, Inputs, Node, NodeError, Outcome};
use ebb_engine::schema::{Input, Schema};
use ebb_engine::value::Value;

use crate::pixels::{self, Crop, Method};
use crate::values::{Image, OrNode};

/// Two images one after the other; the second takes the first's size.
pub(super) struct ImageBatch;

/// Adds an opaque alpha to RGB where the other image has one.
fn with_channels(pixels: &Tensor, channels: usize) -> Result<Tensor, NodeError> {
    let (batch, height, width, have) = pixels.dims4().or_node()?;
    if have >= channels {
        return Ok(pixels.clone());
    }
    let opaque =
        Tensor::ones((batch, height, width, channels - have), pixels.dtype(), pixels.device()).or_node()?;
    Tensor::cat(&[pixels, &opaque], 3).or_node()
}

impl Node for ImageBatch {
    fn schema(&self) -> Schema {
        Schema::new("ImageBatch")
            .display("Batch Images")
            .category("image")
            .input(Input::wire("image1", "IMAGE"))
            .input(Input::wire("image2", "IMAGE"))
            .output("IMAGE")
            .compute()
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let first = inputs.payload::<Image>("image1")?;
        let second = inputs.payload::<Image>("image2")?;
        let channels = first.shape().channels.max(second.shape().channels);
        let a = with_channels(first.tensor(), channels)?;
        let mut b = with_channels(second.tensor(), channels)?;
        let (width, height) = (first.shape().width, first.shape().height);
        if (second.shape().width, second.shape().height) != (width, height) {
            b = pixels::image(&b, width, height, Method::Bilinear, Crop::Center)?;
        }
        Ok(Outcome::payload(Image::new(Tensor::cat(&[a, b], 0).or_node()?)?))
    }
}

/// Some images of a batch.
pub(super) struct ImageFromBatch;

impl Node for ImageFromBatch {
    fn schema(&self) -> Schema {
        Schema::new("ImageFromBatch")
            .category("image/batch")
            .module("comfy_extras.nodes_images")
            .input(Input::wire("image", "IMAGE"))
            .input(Input::int("batch_index", 0).range(0, 4095))
            .input(Input::int("length", 1).range(1, 4096))
            .output("IMAGE")
            .compute()
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let image = inputs.payload::<Image>("image")?;
        let batch = image.shape().batch;
        let start = inputs.size("batch_index")?.min(batch.saturating_sub(1));
        let length = inputs.size("length")?.min(batch - start);
        Ok(Outcome::payload(Image::new(
            image.tensor().narrow(0, start, length).or_node()?.copy().or_node()?,
        )?))
    }
}

/// A batch several times over.
pub(super) struct RepeatImageBatch;

impl Node for RepeatImageBatch {
    fn schema(&self) -> Schema {
        Schema::new("RepeatImageBatch")
            .category("image/batch")
            .module("comfy_extras.nodes_images")
            .input(Input::wire("image", "IMAGE"))
            .input(Input::int("amount", 1).range(1, 4096))
            .output("IMAGE")
            .compute()
    }

    fn execute(&self, context: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let image = inputs.payload::<Image>("image")?;
        let amount = inputs.size("amount")?;
        let bytes = ebb_engine::value::Payload::bytes(&*image).saturating_mul(amount as u64);
        drop(context.reserve("RepeatImageBatch", bytes)?);
        Ok(Outcome::payload(Image::new(image.tensor().repeat((amount, 1, 1, 1)).or_node()?)?))
    }
}

/// Images of any batch sizes, dealt anew into batches of one size.
pub(super) struct RebatchImages;

impl Node for RebatchImages {
    fn schema(&self) -> Schema {
        Schema::new("RebatchImages")
            .display("Rebatch Images")
            .category("image/batch")
            .module("comfy_extras.nodes_rebatch")
            .input(Input::wire("images", "IMAGE"))
            .input(Input::int("batch_size", 1).range(1, 4096))
            .list_output("IMAGE", "IMAGE")
            .input_is_list()
            .compute()
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let size = inputs.list("batch_size")?.first().and_then(|v| v.as_json()?.as_u64()).unwrap_or(1).max(1);
        let mut single = Vec::new();
        for value in inputs.list("images")? {
            let image = value.downcast::<Image>().ok_or_else(|| {
                NodeError::input("images", format!("expected images, found {}", value.type_name()))
            })?;
            for i in 0..image.shape().batch {
                single.push(image.tensor().narrow(0, i, 1).or_node()?);
            }
        }
        let batches = single.chunks(size as usize).map(|chunk| {
            let batch = Tensor::cat(chunk, 0).map_err(|e| {
                NodeError::input("images", format!("images of different sizes cannot share a batch: {e}"))
            })?;
            Ok(Value::payload(Image::new(batch)?))
        });
        Ok(Outcome::value(Value::list(batches.collect::<Result<_, NodeError>>()?)))
    }
}
