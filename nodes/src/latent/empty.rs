//! `EmptyLatentImage`, `EmptySD3LatentImage`.

use candle_core::{DType, Device, Tensor};
use ebb_engine::node::{Context, Forecast, Inputs, Node, NodeError, Outcome, Sketches};
use ebb_engine::schema::{Input, Schema};

use crate::values::{Latent, LatentShape, OrNode};

/// Nothing yet: zeros of a size, to which the sampler adds noise. A class for each number of channels.
pub(super) struct EmptyLatent {
    class: &'static str,
    channels: usize,
    schema: fn(Schema) -> Schema,
}

/// Latents of 4 channels: Stable Diffusion 1, 2 and XL.
pub(super) const EMPTY: EmptyLatent = EmptyLatent {
    class: "EmptyLatentImage",
    channels: 4,
    schema: |schema| sized(schema.display("Empty Latent Image").category("latent"), 512, 8),
};

/// Latents of 16 channels: Stable Diffusion 3, Flux and many after them.
pub(super) const EMPTY_SD3: EmptyLatent = EmptyLatent {
    class: "EmptySD3LatentImage",
    channels: 16,
    schema: |schema| sized(schema.category("latent/sd3").module("comfy_extras.nodes_sd3"), 1024, 16),
};

fn sized(schema: Schema, default: u64, step: u64) -> Schema {
    let side = |name| Input::int(name, default).range(16, 16384).option("step", step);
    schema.input(side("width")).input(side("height")).input(Input::int("batch_size", 1).range(1, 4096))
}

impl Node for EmptyLatent {
    fn schema(&self) -> Schema {
        (self.schema)(Schema::new(self.class)).output("LATENT")
    }

    fn execute(&self, context: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let (batch, height, width) =
            (inputs.size("batch_size")?, inputs.size("height")? / 8, inputs.size("width")? / 8);
        let shape = LatentShape { batch, channels: self.channels, height, width };
        drop(context.reserve(self.class, shape.sketch()?.bytes())?);
        let dims = (batch, self.channels, height, width);
        let zeros = Tensor::zeros(dims, DType::F32, &Device::Cpu).or_node()?;
        Ok(Outcome::payload(Latent::new(zeros)))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        let side = |name| inputs.uint(name).map(|n| n as usize);
        let (Some(batch), Some(width), Some(height)) = (side("batch_size"), side("width"), side("height"))
        else {
            return Ok(Forecast::unknown());
        };
        let shape = LatentShape { batch, channels: self.channels, height: height / 8, width: width / 8 };
        Ok(Forecast::output(shape.sketch()?))
    }
}
