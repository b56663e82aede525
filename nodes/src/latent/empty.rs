//! `EmptyLatentImage`.

use candle_core::{DType, Device, Tensor};
use ebb_engine::node::{Context, Forecast, Inputs, Node, NodeError, Outcome, Sketches};
use ebb_engine::schema::{Input, Schema};

use crate::values::{Latent, LatentShape, OrNode};

/// Nothing yet: zeros of a size, to which the sampler adds noise.
pub(super) struct EmptyLatentImage;

impl Node for EmptyLatentImage {
    fn schema(&self) -> Schema {
        let side = |name| Input::int(name, 512).range(16, 16384).option("step", 8);
        Schema::new("EmptyLatentImage")
            .display("Empty Latent Image")
            .category("latent")
            .input(side("width"))
            .input(side("height"))
            .input(Input::int("batch_size", 1).range(1, 4096))
            .output("LATENT")
    }

    fn execute(&self, context: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let (batch, height, width) =
            (inputs.size("batch_size")?, inputs.size("height")? / 8, inputs.size("width")? / 8);
        let shape = LatentShape { batch, channels: 4, height, width };
        drop(context.reserve("EmptyLatentImage", shape.sketch()?.bytes())?);
        let zeros = Tensor::zeros((batch, 4, height, width), DType::F32, &Device::Cpu).or_node()?;
        Ok(Outcome::payload(Latent::new(zeros)))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        let side = |name| inputs.uint(name).map(|n| n as usize);
        let (Some(batch), Some(width), Some(height)) = (side("batch_size"), side("width"), side("height"))
        else {
            return Ok(Forecast::unknown());
        };
        let shape = LatentShape { batch, channels: 4, height: height / 8, width: width / 8 };
        Ok(Forecast::output(shape.sketch()?))
    }
}
