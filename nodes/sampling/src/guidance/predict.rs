//! One evaluation of all sides: entries of equal shapes share a call of the model, and each side's entries
//! are averaged with their weights.

use candle_core::Tensor;

use super::conditioning::Opaque;
use super::hooks::NegativePatch;
use super::inputs::{ModelInputs, can_batch, concatenated};
use super::model::{Model, ModelCall, Side};
use super::prepare::{Prepared, spatial_size};
use super::weights::{CellArea, area_weights, mask_weights};
use crate::model_sampling::ModelSampling;
use crate::observer::Observer;
use crate::{Error, Result};

/// Keeps cells of which nobody speaks from dividing zero by zero.
const NOBODY: f64 = 1e-37;

/// What every evaluation needs.
pub(super) struct Evaluator<'a> {
    pub(super) model: &'a mut dyn Model,
    pub(super) sampling: &'a ModelSampling,
    pub(super) observer: &'a dyn Observer,
}

/// An entry's share of an evaluation.
struct Part<'a> {
    /// The side's place in the answer.
    slot: usize,
    side: Side,
    x: Tensor,
    weights: Weights,
    inputs: ModelInputs,
    area: Option<CellArea>,
    control: Option<&'a Opaque>,
    patches: Option<&'a Opaque>,
}

/// How loud a part speaks.
enum Weights {
    Everywhere(f64),
    Cells(Tensor),
}

impl Evaluator<'_> {
    /// The clean latent as each side sees it. A side that is `None` answers zeros, as does one of which no
    /// entry speaks at this sigma.
    pub(super) fn evaluate(
        &mut self,
        sides: &[(Side, Option<&[Prepared]>)],
        x: &Tensor,
        sigma: f64,
        patch: Option<&Opaque>,
    ) -> Result<Vec<Tensor>> {
        self.model.begin();
        let latent = spatial_size(x)?;
        let mut waiting = Vec::new();
        for (slot, (side, entries)) in sides.iter().enumerate() {
            for entry in entries.unwrap_or_default().iter().filter(|entry| entry.speaks_at(sigma)) {
                waiting.push(part(slot, *side, entry, x, latent)?);
            }
        }
        let mut averages: Vec<Average> = sides.iter().map(|_| Average::default()).collect();
        while !waiting.is_empty() {
            let batch = self.next_batch(&mut waiting);
            for (part, denoised) in batch.iter().zip(self.call(&batch, sigma, patch)?) {
                averages[part.slot].add(part, &denoised, latent)?;
            }
        }
        averages.into_iter().map(|average| average.finish(x)).collect()
    }

    /// As [`Evaluator::evaluate`], but a negative side whose layers are changed gets a call of its own.
    pub(super) fn evaluate_patching_negative(
        &mut self,
        sides: &[(Side, Option<&[Prepared]>)],
        x: &Tensor,
        sigma: f64,
        patch: Option<&NegativePatch>,
    ) -> Result<Vec<(Side, Tensor)>> {
        let patch = patch.filter(|patch| (patch.end_sigma..=patch.start_sigma).contains(&sigma));
        let is_patched = |side: Side, entries: Option<&[Prepared]>| {
            side == Side::Negative && entries.is_some() && patch.is_some()
        };
        // Each side is left out of the other evaluation, where it then answers zeros.
        let only = |patched: bool| -> Vec<(Side, Option<&[Prepared]>)> {
            let keep =
                |(side, entries)| (side, if is_patched(side, entries) == patched { entries } else { None });
            sides.iter().copied().map(keep).collect()
        };
        let mut found = self.evaluate(&only(false), x, sigma, None)?;
        if let Some(patch) = patch {
            for ((&(side, entries), found), weakened) in
                sides.iter().zip(&mut found).zip(self.evaluate(&only(true), x, sigma, Some(&patch.patch))?)
            {
                if is_patched(side, entries) {
                    *found = weakened;
                }
            }
        }
        Ok(sides.iter().map(|(side, _)| *side).zip(found).collect())
    }

    /// Takes the first part and those that go with it, as many as the model can hold.
    ///
    /// The last of them come first in the batch, and a batch that is too large is halved, thirded … until it
    /// fits: the reference's order, which decides the last bits of a picture.
    fn next_batch<'p>(&self, waiting: &mut Vec<Part<'p>>) -> Vec<Part<'p>> {
        let goes_with_first: Vec<usize> =
            (0..waiting.len()).filter(|i| waiting[*i].goes_with(&waiting[0])).rev().collect();
        let most = self.model.largest_batch(waiting[0].x.dims()).max(1);
        let found = goes_with_first.len();
        let fits = (1..=found).map(|parts| found / parts).find(|count| *count <= most).unwrap_or(1);
        goes_with_first[..fits].iter().map(|i| waiting.remove(*i)).collect()
    }

    /// Calls the model for a batch; answers each part's clean latent.
    fn call(&mut self, batch: &[Part<'_>], sigma: f64, patch: Option<&Opaque>) -> Result<Vec<Tensor>> {
        if self.observer.cancelled() {
            return Err(Error::Cancelled);
        }
        let x = Tensor::cat(&batch.iter().map(|part| &part.x).collect::<Vec<_>>(), 0)?;
        let inputs = concatenated(&batch.iter().map(|part| &part.inputs).collect::<Vec<_>>())?;
        let sides: Vec<Side> = batch.iter().map(|part| part.side).collect();
        let patches: Vec<Opaque> = batch[0].patches.into_iter().chain(patch).cloned().collect();
        let output = self.model.predict(&ModelCall {
            x: &self.sampling.model_input(sigma, &x)?,
            x_unscaled: &x,
            sigma,
            timestep: self.sampling.timestep(sigma),
            inputs: &inputs,
            control: batch[0].control,
            patches: &patches,
            sides: &sides,
        })?;
        if output.dims() != x.dims() {
            let (found, expected) = (output.dims().to_vec(), format!("the latent's, {:?}", x.dims()));
            return Err(Error::Shape { what: "the model's output", found, expected });
        }
        let denoised = self.sampling.denoised(sigma, &output.to_dtype(x.dtype())?, &x)?;
        Ok(denoised.chunk(batch.len(), 0)?)
    }
}

fn part<'a>(
    slot: usize,
    side: Side,
    entry: &'a Prepared,
    x: &Tensor,
    latent: (usize, usize),
) -> Result<Part<'a>> {
    let area = entry.area;
    let crop = area.as_ref().map_or_else(|| Ok(x.clone()), |area| area.crop(x))?;
    let weights = match (&entry.mask, &area) {
        (Some((mask, strength)), area) => {
            Weights::Cells(mask_weights(mask, area.as_ref(), strength * entry.strength, &crop)?)
        }
        (None, Some(area)) => Weights::Cells(area_weights(area, latent, entry.strength, &crop)?),
        (None, None) => Weights::Everywhere(entry.strength),
    };
    let batch = x.dim(0)?;
    let mut inputs = ModelInputs::new();
    for (name, input) in &entry.inputs {
        inputs.insert(name.clone(), input.fitted(batch, area.as_ref())?);
    }
    let (control, patches) = (entry.control.as_ref(), entry.patches.as_ref());
    Ok(Part { slot, side, x: crop, weights, inputs, area, control, patches })
}

impl Part<'_> {
    fn goes_with(&self, other: &Self) -> bool {
        self.x.dims() == other.x.dims()
            && same(self.control, other.control)
            && same(self.patches, other.patches)
            && can_batch(&self.inputs, &other.inputs)
    }
}

fn same(a: Option<&Opaque>, b: Option<&Opaque>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => std::sync::Arc::ptr_eq(a, b),
        (None, None) => true,
        _ => false,
    }
}

/// The weighted mean of what a side's entries say.
#[derive(Default)]
struct Average {
    sum: Option<Tensor>,
    /// The sum of the weights in each cell, and of those that are the same everywhere.
    weights: Option<Tensor>,
    everywhere: f64,
}

impl Average {
    fn add(&mut self, part: &Part<'_>, denoised: &Tensor, (height, width): (usize, usize)) -> Result<()> {
        let mut weighted = match &part.weights {
            Weights::Everywhere(weight) => (denoised * *weight)?,
            Weights::Cells(weights) => denoised.broadcast_mul(weights)?,
        };
        if let Some(area) = &part.area {
            weighted = area.pad(&weighted, height, width)?;
        }
        self.sum = Some(add(self.sum.take(), weighted)?);
        match &part.weights {
            Weights::Everywhere(weight) => self.everywhere += weight,
            Weights::Cells(weights) => {
                let weights = match &part.area {
                    Some(area) => area.pad(weights, height, width)?,
                    None => weights.clone(),
                };
                self.weights = Some(add(self.weights.take(), weights)?);
            }
        }
        Ok(())
    }

    fn finish(self, x: &Tensor) -> Result<Tensor> {
        let Some(sum) = self.sum else { return Ok(x.zeros_like()?) };
        let weight = self.everywhere + NOBODY;
        Ok(match self.weights {
            Some(weights) => sum.broadcast_div(&(weights + weight)?)?,
            None => (sum / weight)?,
        })
    }
}

/// A sum; weights of one image spread over the batch of another.
fn add(sum: Option<Tensor>, term: Tensor) -> Result<Tensor> {
    Ok(match sum {
        Some(sum) => sum.broadcast_add(&term)?,
        None => term,
    })
}
