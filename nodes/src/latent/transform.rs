//! `LatentCrop`, `LatentFlip`, `LatentRotate`.

use candle_core::Tensor;
use ebb_engine::node::{Context, Forecast, Inputs, Node, NodeError, Outcome, Sketches};
use ebb_engine::schema::{Input, Schema};

use super::forecast_from;
use crate::values::{Latent, LatentShape, OrNode};

/// A rectangle of a latent, in pixels.
pub(super) struct LatentCrop;

/// The rectangle in cells: it keeps inside, and starts at least 8 cells before the far side.
fn rectangle(from: LatentShape, [x, y, width, height]: [usize; 4]) -> [usize; 4] {
    let x = (x / 8).min(from.width.saturating_sub(8));
    let y = (y / 8).min(from.height.saturating_sub(8));
    [x, y, (width / 8).min(from.width - x), (height / 8).min(from.height - y)]
}

impl Node for LatentCrop {
    fn schema(&self) -> Schema {
        let side = |name| Input::int(name, 512).range(64, 16384).option("step", 8);
        let place = |name| Input::int(name, 0).range(0, 16384).option("step", 8);
        Schema::new("LatentCrop")
            .display("Crop Latent")
            .category("latent/transform")
            .input(Input::wire("samples", "LATENT"))
            .input(side("width"))
            .input(side("height"))
            .input(place("x"))
            .input(place("y"))
            .output("LATENT")
            .compute()
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let latent = inputs.payload::<Latent>("samples")?;
        let asked = [inputs.size("x")?, inputs.size("y")?, inputs.size("width")?, inputs.size("height")?];
        let [x, y, width, height] = rectangle(latent.shape()?, asked);
        let part = latent.samples.narrow(3, x, width).and_then(|t| t.narrow(2, y, height));
        Ok(Outcome::payload(latent.with_samples(part.and_then(|t| t.contiguous()).or_node()?)))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        forecast_from(inputs, "samples", |from| {
            let side = |name| Some(inputs.uint(name)? as usize);
            let asked = [side("x")?, side("y")?, side("width")?, side("height")?];
            let [_, _, width, height] = rectangle(from, asked);
            Some(LatentShape { width, height, ..from })
        })
    }
}

/// A latent upside down, or mirrored.
pub(super) struct LatentFlip;

impl Node for LatentFlip {
    fn schema(&self) -> Schema {
        Schema::new("LatentFlip")
            .display("Flip Latent")
            .category("latent/transform")
            .input(Input::wire("samples", "LATENT"))
            .input(Input::combo("flip_method", ["x-axis: vertically", "y-axis: horizontally"]))
            .output("LATENT")
            .compute()
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let latent = inputs.payload::<Latent>("samples")?;
        let axis = if inputs.str("flip_method")?.starts_with('x') { 2 } else { 3 };
        let flipped = latent.samples.flip(&[axis]).and_then(|t| t.contiguous()).or_node()?;
        Ok(Outcome::payload(latent.with_samples(flipped)))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        forecast_from(inputs, "samples", Some)
    }
}

/// A latent turned by quarters, clockwise.
pub(super) struct LatentRotate;

fn turn(samples: &Tensor, quarters: usize) -> candle_core::Result<Tensor> {
    match quarters {
        1 => samples.flip(&[2])?.transpose(2, 3)?.contiguous(),
        2 => samples.flip(&[2, 3])?.contiguous(),
        3 => samples.flip(&[3])?.transpose(2, 3)?.contiguous(),
        _ => Ok(samples.clone()),
    }
}

impl Node for LatentRotate {
    fn schema(&self) -> Schema {
        Schema::new("LatentRotate")
            .display("Rotate Latent")
            .category("latent/transform")
            .input(Input::wire("samples", "LATENT"))
            .input(Input::combo("rotation", ["none", "90 degrees", "180 degrees", "270 degrees"]))
            .output("LATENT")
            .compute()
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let latent = inputs.payload::<Latent>("samples")?;
        let quarters = match inputs.str("rotation")? {
            "90 degrees" => 1,
            "180 degrees" => 2,
            "270 degrees" => 3,
            _ => 0,
        };
        Ok(Outcome::payload(latent.with_samples(turn(&latent.samples, quarters).or_node()?)))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        forecast_from(inputs, "samples", |from| {
            let sideways = matches!(inputs.str("rotation")?, "90 degrees" | "270 degrees");
            let (width, height) =
                if sideways { (from.height, from.width) } else { (from.width, from.height) };
            Some(LatentShape { width, height, ..from })
        })
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn a_quarter_turns_clockwise() {
        let latent = Tensor::new(&[[[[1f32, 2.0, 3.0], [4.0, 5.0, 6.0]]]], &Device::Cpu).unwrap();
        let rows = |t: Tensor| t.squeeze(0).unwrap().squeeze(0).unwrap().to_vec2::<f32>().unwrap();
        assert_eq!(rows(turn(&latent, 1).unwrap()), [[4.0, 1.0], [5.0, 2.0], [6.0, 3.0]]);
        assert_eq!(rows(turn(&latent, 2).unwrap()), [[6.0, 5.0, 4.0], [3.0, 2.0, 1.0]]);
        assert_eq!(rows(turn(&latent, 3).unwrap()), [[3.0, 6.0], [2.0, 5.0], [1.0, 4.0]]);
    }
}
