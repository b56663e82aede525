//! `SetLatentNoiseMask`.

use ebb_engine::node::{Context, Forecast, Inputs, Node, NodeError, Outcome, Sketches};
use ebb_engine::schema::{Input, Schema};

use super::forecast_from;
use crate::values::{Latent, Mask};

/// Paints only where a mask is set.
pub(super) struct SetLatentNoiseMask;

impl Node for SetLatentNoiseMask {
    fn schema(&self) -> Schema {
        Schema::new("SetLatentNoiseMask")
            .display("Set Latent Noise Mask")
            .category("latent/inpaint")
            .input(Input::wire("samples", "LATENT"))
            .input(Input::wire("mask", "MASK"))
            .output("LATENT")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let mut latent = (*inputs.payload::<Latent>("samples")?).clone();
        latent.noise_mask = Some((*inputs.payload::<Mask>("mask")?).clone());
        Ok(Outcome::payload(latent))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        forecast_from(inputs, "samples", Some)
    }
}
