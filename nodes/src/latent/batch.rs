//! `RepeatLatentBatch`, `LatentFromBatch`.

use ebb_engine::node::{Context, Forecast, Inputs, Node, NodeError, Outcome, Sketches};
use ebb_engine::schema::{Input, Schema};
use ebb_engine::value::Payload;

use super::forecast_from;
use crate::values::{Latent, LatentShape, Mask, OrNode, repeat_to_batch};

/// A batch several times over; each copy gets noise of its own.
pub(super) struct RepeatLatentBatch;

impl Node for RepeatLatentBatch {
    fn schema(&self) -> Schema {
        Schema::new("RepeatLatentBatch")
            .display("Repeat Latent Batch")
            .category("latent/batch")
            .input(Input::wire("samples", "LATENT"))
            .input(Input::int("amount", 1).range(1, 64))
            .output("LATENT")
            .compute()
    }

    fn execute(&self, context: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let latent = inputs.payload::<Latent>("samples")?;
        let amount = inputs.size("amount")?;
        let batch = latent.shape()?.batch;
        drop(context.reserve("RepeatLatentBatch", latent.bytes().saturating_mul(amount as u64))?);
        let mut out = latent.with_samples(latent.samples.repeat((amount, 1, 1, 1)).or_node()?);
        if let Some(mask) = &latent.noise_mask
            && mask.shape().batch > 1
        {
            let whole = repeat_to_batch(mask.tensor(), batch)?;
            out.noise_mask = Some(Mask::new(whole.repeat((amount, 1, 1)).or_node()?)?);
        }
        if let Some(index) = &latent.batch_index {
            // Copies go on counting after the largest index, so that no two share a draw.
            let span = index.iter().max().zip(index.iter().min()).map_or(0, |(max, min)| max - min + 1);
            let copies = (0..amount as u64).flat_map(|i| index.iter().map(move |x| x + i * span));
            out.batch_index = Some(copies.collect());
        }
        Ok(Outcome::payload(out))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        forecast_from(inputs, "samples", |from| {
            let batch = from.batch.checked_mul(inputs.uint("amount")? as usize)?;
            Some(LatentShape { batch, ..from })
        })
    }
}

/// Some items of a batch; they keep the noise that they would have had in it.
pub(super) struct LatentFromBatch;

fn window(batch: usize, index: usize, length: usize) -> (usize, usize) {
    let start = index.min(batch.saturating_sub(1));
    (start, length.min(batch - start))
}

impl Node for LatentFromBatch {
    fn schema(&self) -> Schema {
        Schema::new("LatentFromBatch")
            .display("Latent From Batch")
            .category("latent/batch")
            .input(Input::wire("samples", "LATENT"))
            .input(Input::int("batch_index", 0).range(0, 63))
            .input(Input::int("length", 1).range(1, 64))
            .output("LATENT")
            .compute()
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let latent = inputs.payload::<Latent>("samples")?;
        let batch = latent.shape()?.batch;
        let (start, length) = window(batch, inputs.size("batch_index")?, inputs.size("length")?);
        // A copy, so that the rest of the batch is not kept alive by a part of it.
        let part = latent.samples.narrow(0, start, length).and_then(|t| t.copy()).or_node()?;
        let mut out = latent.with_samples(part);
        if let Some(mask) = &latent.noise_mask
            && mask.shape().batch > 1
        {
            let whole = repeat_to_batch(mask.tensor(), batch)?;
            out.noise_mask = Some(Mask::new(whole.narrow(0, start, length).or_node()?)?);
        }
        out.batch_index = Some(match &latent.batch_index {
            Some(index) => index.iter().skip(start).take(length).copied().collect(),
            None => (start as u64..(start + length) as u64).collect(),
        });
        Ok(Outcome::payload(out))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        forecast_from(inputs, "samples", |from| {
            let side = |name| Some(inputs.uint(name)? as usize);
            let (_, batch) = window(from.batch, side("batch_index")?, side("length")?);
            Some(LatentShape { batch, ..from })
        })
    }
}
