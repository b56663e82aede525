//! `LatentComposite`, `LatentBlend`.

use ebb_engine::node::{Context, Forecast, Inputs, Node, NodeError, Outcome, Sketches};
use ebb_engine::schema::{Input, Schema};

use super::forecast_from;
use crate::pixels::{self, Crop, Method};
use crate::values::{Latent, OrNode, elements, repeat_to_batch, tensor};

/// One latent laid over another at a place, its inner sides faded.
pub(super) struct LatentComposite;

impl Node for LatentComposite {
    fn schema(&self) -> Schema {
        let place = |name| Input::int(name, 0).range(0, 16384).option("step", 8);
        Schema::new("LatentComposite")
            .display("Latent Composite")
            .category("latent")
            .input(Input::wire("samples_to", "LATENT"))
            .input(Input::wire("samples_from", "LATENT"))
            .input(place("x"))
            .input(place("y"))
            .input(place("feather"))
            .output("LATENT")
            .compute()
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let below = inputs.payload::<Latent>("samples_to")?;
        let above = inputs.payload::<Latent>("samples_from")?;
        let (x, y) = (inputs.size("x")? / 8, inputs.size("y")? / 8);
        let feather = inputs.size("feather")? / 8;
        let (to, from) = (below.shape()?, above.shape()?);
        if from.channels != to.channels {
            return Err(NodeError::input(
                "samples_from",
                format!(
                    "has {} channels; samples_to has {}: they are of different families",
                    from.channels, to.channels
                ),
            ));
        }
        let mut out = elements(&below.samples)?;
        let source = elements(&repeat_to_batch(&above.samples, to.batch)?)?;
        // A side fades only where it lies inside of the picture below.
        let ramp = |inside: bool, distance: usize| {
            if inside && distance < feather { (distance + 1) as f32 / feather as f32 } else { 1.0 }
        };
        let width = from.width.min(to.width.saturating_sub(x));
        let height = from.height.min(to.height.saturating_sub(y));
        for plane in 0..to.batch * to.channels {
            for row in 0..height {
                let down = ramp(y != 0, row) * ramp(y + from.height < to.height, from.height - 1 - row);
                for column in 0..width {
                    let across =
                        ramp(x != 0, column) * ramp(x + from.width < to.width, from.width - 1 - column);
                    let weight = down * across;
                    let at = (plane * to.height + y + row) * to.width + x + column;
                    let value = source[(plane * from.height + row) * from.width + column];
                    out[at] = value * weight + out[at] * (1.0 - weight);
                }
            }
        }
        Ok(Outcome::payload(below.with_samples(tensor(out, below.samples.dims())?)))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        forecast_from(inputs, "samples_to", Some)
    }
}

/// A weighted mean of two latents.
pub(super) struct LatentBlend;

impl Node for LatentBlend {
    fn schema(&self) -> Schema {
        Schema::new("LatentBlend")
            .display("Latent Blend")
            .category("_for_testing")
            .input(Input::wire("samples1", "LATENT"))
            .input(Input::wire("samples2", "LATENT"))
            .input(Input::float("blend_factor", 0.5).range(0, 1).option("step", 0.01))
            .output("LATENT")
            .compute()
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let first = inputs.payload::<Latent>("samples1")?;
        let second = inputs.payload::<Latent>("samples2")?;
        let factor = inputs.float("blend_factor")?;
        let shape = first.shape()?;
        let mut other = second.samples.clone();
        if second.shape()? != shape {
            other = pixels::latent(&other, shape.width, shape.height, Method::Bicubic, Crop::Center)?;
        }
        let blended = (first.samples.affine(factor, 0.0))
            .and_then(|a| a.broadcast_add(&other.affine(1.0 - factor, 0.0)?))
            .or_node()?;
        Ok(Outcome::payload(first.with_samples(blended)))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        forecast_from(inputs, "samples1", Some)
    }
}
