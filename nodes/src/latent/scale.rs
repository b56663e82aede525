//! `LatentUpscale`, `LatentUpscaleBy`.

use ebb_engine::node::{Context, Forecast, Inputs, Node, NodeError, Outcome, Sketches};
use ebb_engine::schema::{Input, Schema};

use super::forecast_from;
use crate::pixels::{self, Crop, Method};
use crate::values::{Latent, LatentShape};

/// Scales to a width and a height in pixels; a 0 keeps the aspect ratio.
pub(super) struct LatentUpscale;

/// Smallest side in pixels.
const LEAST: usize = 64;

/// The size in cells that `width`×`height` pixels ask of a latent; `None` keeps it.
fn wanted_cells(from: LatentShape, width: usize, height: usize) -> Option<(usize, usize)> {
    let follow = |pixels: usize, by: usize, of: usize| {
        ((pixels as f64 * by as f64 / of.max(1) as f64).round_ties_even() as usize).max(LEAST)
    };
    let (width, height) = match (width, height) {
        (0, 0) => return None,
        (0, h) => (follow(from.width, h.max(LEAST), from.height), h.max(LEAST)),
        (w, 0) => (w.max(LEAST), follow(from.height, w.max(LEAST), from.width)),
        (w, h) => (w.max(LEAST), h.max(LEAST)),
    };
    Some((width / 8, height / 8))
}

impl Node for LatentUpscale {
    fn schema(&self) -> Schema {
        let side = |name| Input::int(name, 512).range(0, 16384).option("step", 8);
        Schema::new("LatentUpscale")
            .display("Upscale Latent")
            .category("latent")
            .input(Input::wire("samples", "LATENT"))
            .input(Input::combo("upscale_method", Method::LATENT))
            .input(side("width"))
            .input(side("height"))
            .input(Input::combo("crop", ["disabled", "center"]))
            .output("LATENT")
            .compute()
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let latent = inputs.payload::<Latent>("samples")?;
        let size = wanted_cells(latent.shape()?, inputs.size("width")?, inputs.size("height")?);
        let Some((width, height)) = size else { return Ok(Outcome::payload((*latent).clone())) };
        let (method, crop) = (inputs.str("upscale_method")?.parse()?, inputs.str("crop")?.parse()?);
        let samples = pixels::latent(&latent.samples, width, height, method, crop)?;
        Ok(Outcome::payload(latent.with_samples(samples)))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        forecast_from(inputs, "samples", |from| {
            let (width, height) = (inputs.uint("width")? as usize, inputs.uint("height")? as usize);
            let (width, height) = wanted_cells(from, width, height).unwrap_or((from.width, from.height));
            Some(LatentShape { width, height, ..from })
        })
    }
}

/// Scales by a factor.
pub(super) struct LatentUpscaleBy;

fn times(length: usize, factor: f64) -> usize {
    (length as f64 * factor).round_ties_even() as usize
}

impl Node for LatentUpscaleBy {
    fn schema(&self) -> Schema {
        Schema::new("LatentUpscaleBy")
            .display("Upscale Latent By")
            .category("latent")
            .input(Input::wire("samples", "LATENT"))
            .input(Input::combo("upscale_method", Method::LATENT))
            .input(Input::float("scale_by", 1.5).between(0.01, 8.0).option("step", 0.01))
            .output("LATENT")
            .compute()
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let latent = inputs.payload::<Latent>("samples")?;
        let (from, factor) = (latent.shape()?, inputs.float("scale_by")?);
        let (width, height) = (times(from.width, factor), times(from.height, factor));
        let method = inputs.str("upscale_method")?.parse()?;
        let samples = pixels::latent(&latent.samples, width, height, method, Crop::Disabled)?;
        Ok(Outcome::payload(latent.with_samples(samples)))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        forecast_from(inputs, "samples", |from| {
            let factor = inputs.get("scale_by").as_json()?.as_f64()?;
            Some(LatentShape { width: times(from.width, factor), height: times(from.height, factor), ..from })
        })
    }
}
