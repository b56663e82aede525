//! `UpscaleModelLoader`, `ImageUpscaleWithModel`.

use std::sync::Arc;

use candle_core::Tensor;
use ebb_engine::node::{Changed, Context, Forecast, Inputs, Node, NodeError, Outcome, Sketch, Sketches};
use ebb_engine::registry::{DuplicateClass, Registry};
use ebb_engine::schema::{Input, Schema};

use crate::environment::Environment;
use crate::loaders::open;
use crate::vae::tiles;
use crate::values::{Image, ImageShape, OrNode, UpscaleModel, model_error, tensor};

pub(crate) fn register(registry: &mut Registry, environment: &Environment) -> Result<(), DuplicateClass> {
    registry.add(UpscaleModelLoader(environment.clone()))?;
    registry.add(ImageUpscaleWithModel)
}

/// Pixels of a side of a tile, and those that neighbours share.
const TILE: usize = 512;
const OVERLAP: usize = 32;

/// A network that enlarges pictures, in a file of its own.
struct UpscaleModelLoader(Environment);

impl UpscaleModelLoader {
    fn model(&self, name: &str) -> Result<UpscaleModel, NodeError> {
        let file = open(&self.0, "upscale_models", "model_name", name)?;
        UpscaleModel::new(&file, &self.0.compute)
    }
}

impl Node for UpscaleModelLoader {
    fn schema(&self) -> Schema {
        let models = self.0.models.clone();
        Schema::new("UpscaleModelLoader")
            .display("Load Upscale Model")
            .category("loaders")
            .module("comfy_extras.nodes_upscale_model")
            .input(Input::listed("model_name", move || models.list("upscale_models")))
            .output("UPSCALE_MODEL")
            .compute()
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        Ok(Outcome::payload(self.model(inputs.str("model_name")?)?))
    }

    fn changed(&self, inputs: &Inputs) -> Result<Option<Changed>, NodeError> {
        let file = open(&self.0, "upscale_models", "model_name", inputs.str("model_name")?)?;
        Ok(Some(Changed::Fingerprint(file.fingerprint())))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        let Some(name) = inputs.str("model_name") else { return Ok(Forecast::unknown()) };
        Ok(Forecast::output(Sketch::handle(Arc::new(self.model(name)?))))
    }
}

/// Enlarges pictures, tile by tile: memory does not grow with the picture but for the result.
struct ImageUpscaleWithModel;

fn enlarged(shape: ImageShape, scale: usize) -> ImageShape {
    ImageShape { height: shape.height * scale, width: shape.width * scale, channels: 3, ..shape }
}

/// What one tile takes, and the result's sum and weights while it is put together.
fn scratch(model: &UpscaleModel, shape: ImageShape) -> u64 {
    let one = model.scratch(TILE.min(shape.height), TILE.min(shape.width)).unwrap_or(0);
    let to = enlarged(shape, model.scale());
    one.saturating_add(tiles::blending(3 * shape.batch, to.height * to.width))
}

impl Node for ImageUpscaleWithModel {
    fn schema(&self) -> Schema {
        Schema::new("ImageUpscaleWithModel")
            .display("Upscale Image (using Model)")
            .category("image/upscaling")
            .module("comfy_extras.nodes_upscale_model")
            .input(Input::wire("upscale_model", "UPSCALE_MODEL"))
            .input(Input::wire("image", "IMAGE"))
            .output("IMAGE")
            .compute()
    }

    fn execute(&self, context: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let (model, image) =
            (inputs.payload::<UpscaleModel>("upscale_model")?, inputs.payload::<Image>("image")?);
        let shape = image.shape();
        if shape.channels < 3 {
            return Err(NodeError::input(
                "image",
                format!("has {} channels; upscale models read 3", shape.channels),
            ));
        }
        let loaded = model.load(context)?;
        let _room = model.compute().room(context, "upscaling", scratch(&model, shape))?;
        let pixels = image.tensor().narrow(3, 0, 3).and_then(|t| t.permute((0, 3, 1, 2)));
        let pixels = pixels.and_then(|t| t.contiguous()).or_node()?;
        let total = tiles::count(shape.height, TILE, OVERLAP)
            * tiles::count(shape.width, TILE, OVERLAP)
            * shape.batch;
        let (mut done, scale) = (0, model.scale());
        let upscale = |tile: &Tensor| {
            context.progress(f64::from(done), total as f64)?;
            done += 1;
            loaded.network().upscale(tile).map_err(|e| model_error(&model.spec().label, e))
        };
        let large = tiles::one_way(&pixels, (TILE, TILE), OVERLAP, (scale, 1), 3, upscale)?;
        context.progress(total as f64, total as f64)?;
        let to = enlarged(shape, scale);
        let large = tensor(large, &[to.batch, 3, to.height, to.width])?;
        let large = large.clamp(0f32, 1f32).and_then(|t| t.permute((0, 2, 3, 1))).or_node()?;
        Ok(Outcome::payload(Image::new(large)?))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        let (Some(model), Some(shape)) =
            (inputs.what::<UpscaleModel>("upscale_model"), inputs.what::<ImageShape>("image"))
        else {
            return Ok(Forecast::unknown());
        };
        let output = enlarged(*shape, model.scale()).sketch()?;
        Ok(Forecast::output(output).using(model.spec().clone()).scratch(scratch(&model, *shape)))
    }
}
