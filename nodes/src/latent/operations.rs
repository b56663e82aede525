//! `LatentApplyOperation`, `LatentApplyOperationCFG`, `LatentOperationTonemapReinhard`, `LatentOperationSharpen`.

use std::sync::Arc;

use candle_core::Tensor;
use ebb_engine::node::{Context, Forecast, Inputs, Node, NodeError, Outcome, Sketch, Sketches};
use ebb_engine::registry::{DuplicateClass, Registry};
use ebb_engine::schema::{Input, Schema};
use ebb_engine::value::Payload;
use ebb_sampling::guidance::Side;

use super::forecast_from;
use crate::values::{Latent, Model, OrNode};

pub(super) fn register(registry: &mut Registry) -> Result<(), DuplicateClass> {
    registry.add(LatentApplyOperation)?;
    registry.add(LatentApplyOperationCFG)?;
    registry.add(LatentOperationTonemapReinhard)?;
    registry.add(LatentOperationSharpen)
}

const MODULE: &str = "comfy_extras.nodes_latent";
const CATEGORY: &str = "latent/advanced/operations";

fn schema(class: &str) -> Schema {
    let mut schema = Schema::new(class).category(CATEGORY).module(MODULE);
    schema.experimental = true;
    schema
}

/// Something to be done to a latent.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Operation {
    /// Brings long vectors of a cell nearer to the others (Reinhard et al. 2002, on lengths).
    Tonemap { multiplier: f64 },
    /// Sharpens directions, and leaves lengths.
    Sharpen { radius: usize, sigma: f64, alpha: f64 },
}

impl Payload for Operation {
    fn type_name(&self) -> &'static str {
        "LATENT_OPERATION"
    }

    fn bytes(&self) -> u64 {
        0
    }

    fn summary(&self) -> String {
        format!("{self:?}")
    }
}

/// The length of each cell's vector, `[n, 1, h, w]`.
fn lengths(latent: &Tensor, least: f64) -> candle_core::Result<Tensor> {
    latent.sqr()?.sum_keepdim(1)?.sqrt()? + least
}

impl Operation {
    fn apply(self, latent: &Tensor) -> candle_core::Result<Tensor> {
        match self {
            Self::Tonemap { multiplier } => {
                let lengths = lengths(latent, 1e-10)?;
                let directions = latent.broadcast_div(&lengths)?;
                let flat = lengths.flatten_from(1)?;
                let mean = flat.mean_keepdim(1)?;
                let deviation = flat.var_keepdim(1)?.sqrt()?;
                let top = (((deviation * 5.0)? + mean)? * multiplier)?;
                let top = top.reshape((latent.dim(0)?, 1, 1, 1))?;
                let shares = lengths.broadcast_div(&top)?;
                let shares = (&shares / (&shares + 1.0)?)?;
                directions.broadcast_mul(&shares.broadcast_mul(&top)?)
            }
            Self::Sharpen { radius, sigma, alpha } => sharpened(latent, radius, sigma, alpha),
        }
    }
}

/// A kernel that takes the neighbours' share away, on directions; edges are mirrored.
fn sharpened(latent: &Tensor, radius: usize, sigma: f64, alpha: f64) -> candle_core::Result<Tensor> {
    let (n, c, h, w) = latent.dims4()?;
    if radius >= h.min(w) {
        candle_core::bail!(
            "a radius of {radius} needs a latent of more than {radius} cells a side; it has {h} × {w}"
        );
    }
    let luminance = lengths(latent, 1e-6)?;
    let directions = latent.broadcast_div(&luminance)?.flatten_all()?.to_vec1::<f32>()?;
    let side = 2 * radius + 1;
    // Places run from −1 to 1, whatever the kernel's size.
    let at = |i: usize| if side > 1 { 2.0 * i as f64 / (side - 1) as f64 - 1.0 } else { 0.0 };
    let mut kernel: Vec<f64> = (0..side * side)
        .map(|i| {
            let (y, x) = (at(i / side), at(i % side));
            (-(x * x + y * y) / (2.0 * sigma * sigma)).exp()
        })
        .collect();
    let total: f64 = kernel.iter().sum();
    kernel.iter_mut().for_each(|k| *k *= alpha * -10.0 / total);
    let center = radius * side + radius;
    let sum: f64 = kernel.iter().sum();
    kernel[center] += 1.0 - sum;
    let mirrored = |i: isize, size: usize| -> usize {
        let last = size as isize - 1;
        let i = i.abs();
        (if i > last { 2 * last - i } else { i }) as usize
    };
    let mut out = vec![0f32; directions.len()];
    for plane in 0..n * c {
        let from = &directions[plane * h * w..][..h * w];
        for y in 0..h {
            for x in 0..w {
                let mut sum = 0.0;
                for (i, k) in kernel.iter().enumerate() {
                    let row = mirrored((y + i / side) as isize - radius as isize, h);
                    let column = mirrored((x + i % side) as isize - radius as isize, w);
                    sum += k * f64::from(from[row * w + column]);
                }
                out[plane * h * w + y * w + x] = sum as f32;
            }
        }
    }
    Tensor::from_vec(out, (n, c, h, w), latent.device())?.broadcast_mul(&luminance)
}

/// Does something to a latent.
struct LatentApplyOperation;

impl Node for LatentApplyOperation {
    fn schema(&self) -> Schema {
        schema("LatentApplyOperation")
            .input(Input::wire("samples", "LATENT"))
            .input(Input::wire("operation", "LATENT_OPERATION"))
            .output("LATENT")
            .compute()
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let latent = inputs.payload::<Latent>("samples")?;
        let operation = inputs.payload::<Operation>("operation")?;
        Ok(Outcome::payload(latent.with_samples(operation.apply(&latent.samples).or_node()?)))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        forecast_from(inputs, "samples", Some)
    }
}

/// Does something to the difference that guidance makes, at every step.
struct LatentApplyOperationCFG;

impl Node for LatentApplyOperationCFG {
    fn schema(&self) -> Schema {
        schema("LatentApplyOperationCFG")
            .input(Input::wire("model", "MODEL"))
            .input(Input::wire("operation", "LATENT_OPERATION"))
            .output("MODEL")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let mut model = (*inputs.payload::<Model>("model")?).clone();
        let operation = *inputs.payload::<Operation>("operation")?;
        Arc::make_mut(&mut model.hooks).pre_cfg.push(Arc::new(move |args| {
            let of = |predictions: &[(Side, Tensor)], side| {
                predictions.iter().find(|(name, _)| *name == side).map(|(_, tensor)| tensor.clone())
            };
            let (positive, negative) =
                (of(args.predictions, Side::Positive), of(args.predictions, Side::Negative));
            let changed = match (positive, negative) {
                (Some(positive), Some(negative)) => (operation.apply(&(positive - &negative)?)? + negative)?,
                (Some(positive), None) => operation.apply(&positive)?,
                _ => return Ok(()),
            };
            for (side, tensor) in args.predictions.iter_mut() {
                if *side == Side::Positive {
                    *tensor = changed.clone();
                }
            }
            Ok(())
        }));
        Ok(Outcome::payload(model))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        let Some(model) = inputs.what::<Model>("model") else { return Ok(Forecast::unknown()) };
        Ok(Forecast::output(Sketch::handle(model)))
    }
}

/// Shortens vectors that are longer than most.
struct LatentOperationTonemapReinhard;

impl Node for LatentOperationTonemapReinhard {
    fn schema(&self) -> Schema {
        schema("LatentOperationTonemapReinhard")
            .input(Input::float("multiplier", 1.0).between(0.0, 100.0).option("step", 0.01))
            .output("LATENT_OPERATION")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        Ok(Outcome::payload(Operation::Tonemap { multiplier: inputs.float("multiplier")? }))
    }
}

/// Sharpens what a latent shows.
struct LatentOperationSharpen;

impl Node for LatentOperationSharpen {
    fn schema(&self) -> Schema {
        schema("LatentOperationSharpen")
            .input(Input::int("sharpen_radius", 9).range(1, 31).option("step", 1))
            .input(Input::float("sigma", 1.0).between(0.1, 10.0).option("step", 0.1))
            .input(Input::float("alpha", 0.1).between(0.0, 5.0).option("step", 0.01))
            .output("LATENT_OPERATION")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        Ok(Outcome::payload(Operation::Sharpen {
            radius: inputs.size("sharpen_radius")?,
            sigma: inputs.float("sigma")?,
            alpha: inputs.float("alpha")?,
        }))
    }
}
