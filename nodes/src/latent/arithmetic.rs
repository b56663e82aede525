//! `LatentAdd`, `LatentSubtract`, `LatentMultiply`, `LatentInterpolate`, `LatentBatch`, `LatentConcat`, `LatentCut`,
//! `LatentBatchSeedBehavior`.

use candle_core::Tensor;
use ebb_engine::node::{Context, Forecast, Inputs, Node, NodeError, Outcome, Sketches};
use ebb_engine::registry::{DuplicateClass, Registry};
use ebb_engine::schema::{Input, Schema};

use super::forecast_from;
use crate::pixels::{self, Crop, Method};
use crate::values::{Latent, OrNode, elements, repeat_to_batch, tensor};

pub(super) fn register(registry: &mut Registry) -> Result<(), DuplicateClass> {
    registry.add(LatentAdd)?;
    registry.add(LatentSubtract)?;
    registry.add(LatentMultiply)?;
    registry.add(LatentInterpolate)?;
    registry.add(LatentBatch)?;
    registry.add(LatentConcat)?;
    registry.add(LatentCut)?;
    registry.add(LatentBatchSeedBehavior)
}

/// The second latent's samples in the first one's size.
fn sized(first: &Latent, second: &Latent) -> Result<Tensor, NodeError> {
    let (to, from) = (first.shape()?, second.shape()?);
    if to.channels != from.channels {
        return Err(NodeError::input(
            "samples2",
            format!(
                "has {} channels; samples1 has {}: they are of different families",
                from.channels, to.channels
            ),
        ));
    }
    if (to.height, to.width) == (from.height, from.width) {
        return Ok(second.samples.clone());
    }
    pixels::latent(&second.samples, to.width, to.height, Method::Bilinear, Crop::Center)
}

/// Both latents, the second in the first one's size and batch.
fn pair(inputs: &Inputs) -> Result<(std::sync::Arc<Latent>, Tensor), NodeError> {
    let (first, second) = (inputs.payload::<Latent>("samples1")?, inputs.payload::<Latent>("samples2")?);
    let second = repeat_to_batch(&sized(&first, &second)?, first.shape()?.batch)?;
    Ok((first, second))
}

/// The sum of two latents.
struct LatentAdd;

impl Node for LatentAdd {
    fn schema(&self) -> Schema {
        Schema::new("LatentAdd")
            .category("latent/advanced")
            .module("comfy_extras.nodes_latent")
            .input(Input::wire("samples1", "LATENT"))
            .input(Input::wire("samples2", "LATENT"))
            .output("LATENT")
            .compute()
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let (first, second) = pair(inputs)?;
        Ok(Outcome::payload(first.with_samples((&first.samples + second).or_node()?)))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        forecast_from(inputs, "samples1", Some)
    }
}

/// The difference of two latents.
struct LatentSubtract;

impl Node for LatentSubtract {
    fn schema(&self) -> Schema {
        Schema::new("LatentSubtract")
            .category("latent/advanced")
            .module("comfy_extras.nodes_latent")
            .input(Input::wire("samples1", "LATENT"))
            .input(Input::wire("samples2", "LATENT"))
            .output("LATENT")
            .compute()
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let (first, second) = pair(inputs)?;
        Ok(Outcome::payload(first.with_samples((&first.samples - second).or_node()?)))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        forecast_from(inputs, "samples1", Some)
    }
}

/// A latent times a number.
struct LatentMultiply;

impl Node for LatentMultiply {
    fn schema(&self) -> Schema {
        Schema::new("LatentMultiply")
            .category("latent/advanced")
            .module("comfy_extras.nodes_latent")
            .input(Input::wire("samples", "LATENT"))
            .input(Input::float("multiplier", 1.0).between(-10.0, 10.0).option("step", 0.01))
            .output("LATENT")
            .compute()
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let latent = inputs.payload::<Latent>("samples")?;
        let scaled = (&latent.samples * inputs.float("multiplier")?).or_node()?;
        Ok(Outcome::payload(latent.with_samples(scaled)))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        forecast_from(inputs, "samples", Some)
    }
}

/// Between two latents: directions and lengths of the cells' channel vectors are mixed apart.
struct LatentInterpolate;

impl Node for LatentInterpolate {
    fn schema(&self) -> Schema {
        Schema::new("LatentInterpolate")
            .category("latent/advanced")
            .module("comfy_extras.nodes_latent")
            .input(Input::wire("samples1", "LATENT"))
            .input(Input::wire("samples2", "LATENT"))
            .input(Input::float("ratio", 1.0).between(0.0, 1.0).option("step", 0.01))
            .output("LATENT")
            .compute()
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let (first, second) = pair(inputs)?;
        let shape = first.shape()?;
        let ratio = inputs.float("ratio")? as f32;
        let (a, b) = (elements(&first.samples)?, elements(&second)?);
        let (plane, channels) = (shape.height * shape.width, shape.channels);
        let mut mixed = vec![0f32; a.len()];
        for item in 0..shape.batch {
            for cell in 0..plane {
                let at = |channel: usize| (item * channels + channel) * plane + cell;
                let length = |v: &[f32]| (0..channels).map(|c| v[at(c)] * v[at(c)]).sum::<f32>().sqrt();
                let unit = |v: f32, length: f32| if length == 0.0 { 0.0 } else { v / length };
                let (long_a, long_b) = (length(&a), length(&b));
                for c in 0..channels {
                    mixed[at(c)] = unit(a[at(c)], long_a) * ratio + unit(b[at(c)], long_b) * (1.0 - ratio);
                }
                let (direction, target) = (length(&mixed), long_a * ratio + long_b * (1.0 - ratio));
                (0..channels).for_each(|c| mixed[at(c)] = unit(mixed[at(c)], direction) * target);
            }
        }
        Ok(Outcome::payload(first.with_samples(tensor(mixed, first.samples.dims())?)))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        forecast_from(inputs, "samples1", Some)
    }
}

/// Two latents as one batch.
struct LatentBatch;

impl Node for LatentBatch {
    fn schema(&self) -> Schema {
        Schema::new("LatentBatch")
            .category("latent/batch")
            .module("comfy_extras.nodes_latent")
            .input(Input::wire("samples1", "LATENT"))
            .input(Input::wire("samples2", "LATENT"))
            .output("LATENT")
            .compute()
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let (first, second) = (inputs.payload::<Latent>("samples1")?, inputs.payload::<Latent>("samples2")?);
        let samples = Tensor::cat(&[&first.samples, &sized(&first, &second)?], 0).or_node()?;
        let index = |latent: &Latent| -> Result<Vec<u64>, NodeError> {
            let batch = latent.shape()?.batch as u64;
            Ok(latent.batch_index.clone().unwrap_or_else(|| (0..batch).collect()))
        };
        let batch_index = Some([index(&first)?, index(&second)?].concat());
        Ok(Outcome::payload(Latent { batch_index, ..first.with_samples(samples) }))
    }
}

/// The axis that a name means; time is the one before rows.
fn axis(name: &str) -> usize {
    match name.trim_start_matches('-') {
        "x" => 3,
        "y" => 2,
        _ => 1,
    }
}

/// Two latents side by side.
struct LatentConcat;

impl Node for LatentConcat {
    fn schema(&self) -> Schema {
        Schema::new("LatentConcat")
            .category("latent/advanced")
            .module("comfy_extras.nodes_latent")
            .input(Input::wire("samples1", "LATENT"))
            .input(Input::wire("samples2", "LATENT"))
            .input(Input::combo("dim", ["x", "-x", "y", "-y", "t", "-t"]).named_combo())
            .output("LATENT")
            .compute()
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let (first, second) = (inputs.payload::<Latent>("samples1")?, inputs.payload::<Latent>("samples2")?);
        let other = repeat_to_batch(&second.samples, first.shape()?.batch)?;
        let name = inputs.str("dim")?;
        let parts = if name.starts_with('-') { [&other, &first.samples] } else { [&first.samples, &other] };
        let joined = Tensor::cat(&parts, axis(name)).map_err(|_| {
            NodeError::input(
                "samples2",
                format!("is {:?}, which does not fit beside {:?}", other.dims(), first.samples.dims()),
            )
        })?;
        Ok(Outcome::payload(first.with_samples(joined)))
    }
}

/// A part of a latent.
struct LatentCut;

impl Node for LatentCut {
    fn schema(&self) -> Schema {
        Schema::new("LatentCut")
            .category("latent/advanced")
            .module("comfy_extras.nodes_latent")
            .input(Input::wire("samples", "LATENT"))
            .input(Input::combo("dim", ["x", "y", "t"]).named_combo())
            .input(Input::int("index", 0).range(-16384, 16384).option("step", 1))
            .input(Input::int("amount", 1).range(1, 16384).option("step", 1))
            .output("LATENT")
            .compute()
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let latent = inputs.payload::<Latent>("samples")?;
        let axis = axis(inputs.str("dim")?);
        let length = latent.samples.dim(axis).or_node()? as i64;
        let (index, amount) = (inputs.int("index")?, inputs.int("amount")?);
        // A negative place counts from the end.
        let start = if index < 0 { (length + index).max(0) } else { index.min((length - 1).max(0)) };
        let amount = amount.min(length - start);
        let part = latent.samples.narrow(axis, start as usize, amount.max(0) as usize);
        Ok(Outcome::payload(latent.with_samples(part.and_then(|t| t.contiguous()).or_node()?)))
    }
}

/// Whether the items of a batch get noise of their own or all the same.
struct LatentBatchSeedBehavior;

impl Node for LatentBatchSeedBehavior {
    fn schema(&self) -> Schema {
        Schema::new("LatentBatchSeedBehavior")
            .category("latent/advanced")
            .module("comfy_extras.nodes_latent")
            .input(Input::wire("samples", "LATENT"))
            .input(Input::combo("seed_behavior", ["random", "fixed"]).named_combo().default("fixed"))
            .output("LATENT")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let mut latent = (*inputs.payload::<Latent>("samples")?).clone();
        latent.batch_index = match inputs.str("seed_behavior")? {
            "fixed" => {
                let first = latent.batch_index.as_ref().and_then(|index| index.first().copied()).unwrap_or(0);
                Some(vec![first; latent.shape()?.batch])
            }
            _ => None,
        };
        Ok(Outcome::payload(latent))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        forecast_from(inputs, "samples", Some)
    }
}
