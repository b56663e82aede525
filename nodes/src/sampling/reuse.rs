//! Steps that take an earlier step's answer (Zhou et al. 2025, "Less is Enough: Training-Free Video Diffusion
//! Acceleration via Runtime-Adaptive Caching"): as long as the answer is expected to have changed little, what the
//! network added to its input is added again.

use std::collections::BTreeMap;

use candle_core::{DType, Tensor};
use ebb_sampling::guidance::Side;
use ebb_sampling::{ModelSampling, Result};

use crate::values::Reuse;

/// An entry of a side, by its place among those that speak.
type Entry = (Side, usize);

/// Every n-th row and column is enough to tell how much a latent changed.
const EVERY: usize = 8;

/// What a run remembers of its last steps.
pub(super) struct Reuser {
    settings: Reuse,
    /// The noise levels from which on and until which answers may be taken again.
    sigmas: (f64, f64),
    /// How much an answer changes for a change of the input.
    rate: Option<f64>,
    /// How much the answer is expected to have changed since it was computed.
    changed: f64,
    /// The entry that decides for all.
    leader: Option<Entry>,
    takes: bool,
    input: Option<Tensor>,
    output: Option<Tensor>,
    norm: Option<f64>,
    added: BTreeMap<Entry, Tensor>,
    seen: BTreeMap<Side, usize>,
    taken: usize,
}

fn mean_of_sizes(x: &Tensor) -> Result<f64> {
    Ok(f64::from(x.to_dtype(DType::F32)?.abs()?.mean_all()?.to_scalar::<f32>()?))
}

/// A few rows and columns of one of several parts of a batch.
fn sample(x: &Tensor, part: usize, parts: usize) -> Result<Tensor> {
    let (batch, _, height, width) = x.dims4()?;
    let each = batch / parts.max(1);
    let every = |size: usize| Tensor::arange_step(0u32, size as u32, EVERY as u32, x.device());
    let own = x.narrow(0, part * each, each)?;
    Ok(own.index_select(&every(height)?, 2)?.index_select(&every(width)?, 3)?)
}

impl Reuser {
    pub(super) fn new(settings: Reuse, sampling: &ModelSampling) -> Self {
        let sigmas = (
            sampling.percent_to_sigma(settings.start_percent),
            sampling.percent_to_sigma(settings.end_percent),
        );
        Self::blank(settings, sigmas)
    }

    /// Before each evaluation of all sides.
    pub(super) fn begin(&mut self) {
        self.takes = false;
        self.seen.clear();
    }

    /// How many evaluations took an earlier answer.
    pub(super) fn taken(&self) -> usize {
        self.taken
    }

    fn entries(&mut self, sides: &[Side]) -> Vec<Entry> {
        let mut place = |side: &Side| {
            let next = self.seen.entry(*side).or_default();
            *next += 1;
            (*side, *next - 1)
        };
        sides.iter().map(&mut place).collect()
    }

    /// The network's answer to `x`, which has as many parts as there are `sides`, or an earlier one moved along.
    pub(super) fn answer(
        &mut self,
        x: &Tensor,
        sigma: f64,
        sides: &[Side],
        compute: impl FnOnce() -> Result<Tensor>,
    ) -> Result<Tensor> {
        let entries = self.entries(sides);
        if sigma <= self.sigmas.1 {
            return compute();
        }
        let mut input_change = None;
        let parts = entries.len();
        if sigma <= self.sigmas.0 {
            if self.input.as_ref().is_some_and(|before| !same_size(before, x)) {
                let (settings, sigmas) = (self.settings, self.sigmas);
                let seen = std::mem::take(&mut self.seen);
                *self = Self { seen, ..Self::blank(settings, sigmas) };
            }
            if self.takes
                && let Some(answer) = self.again(x, &entries)?
            {
                return Ok(answer);
            }
            let leader = *self.leader.get_or_insert(entries[0]);
            if let Some(part) = entries.iter().position(|entry| *entry == leader) {
                if let Some(before) = &self.input {
                    input_change = Some(mean_of_sizes(&(sample(x, part, parts)? - before)?)?);
                }
                if let (Some(norm), Some(rate), Some(change)) = (self.norm, self.rate, input_change) {
                    self.changed += rate * change / norm;
                    if self.changed < self.settings.threshold
                        && let Some(answer) = self.again(x, &entries)?
                    {
                        self.takes = true;
                        self.taken += 1;
                        if self.settings.verbose {
                            tracing::info!(
                                changed = self.changed,
                                sigma,
                                "EasyCache takes an earlier answer"
                            );
                        }
                        return Ok(answer);
                    }
                    self.changed = 0.0;
                }
            }
        }
        let output = compute()?;
        let leads = self.leader.and_then(|leader| entries.iter().position(|entry| *entry == leader));
        if let (Some(part), Some(before), Some(change)) = (leads, &self.output, input_change) {
            let output_change = mean_of_sizes(&(sample(&output, part, parts)? - before)?)?;
            self.rate = Some(output_change / change);
        }
        let added = (&output - beside(x, &output)?)?;
        for (entry, added) in entries.iter().zip(added.chunk(parts, 0)?) {
            self.added.insert(*entry, added);
        }
        if let Some(part) = leads {
            self.input = Some(sample(x, part, parts)?);
            self.output = Some(sample(&output, part, parts)?);
            self.norm = Some(mean_of_sizes(&output)?);
        }
        Ok(output)
    }

    fn blank(settings: Reuse, sigmas: (f64, f64)) -> Self {
        Self {
            settings,
            sigmas,
            rate: None,
            changed: 0.0,
            leader: None,
            takes: false,
            input: None,
            output: None,
            norm: None,
            added: BTreeMap::new(),
            seen: BTreeMap::new(),
            taken: 0,
        }
    }

    /// The input with what the network added before; `None` where an entry was not there.
    fn again(&self, x: &Tensor, entries: &[Entry]) -> Result<Option<Tensor>> {
        let Some(added) = entries.iter().map(|entry| self.added.get(entry)).collect::<Option<Vec<_>>>()
        else {
            return Ok(None);
        };
        let added = Tensor::cat(&added, 0)?;
        let x = beside(x, &added)?;
        if x.dims() != added.dims() {
            return Ok(None);
        }
        Ok(Some((x + added)?))
    }
}

fn same_size(sampled: &Tensor, x: &Tensor) -> bool {
    let few = |size: usize| size.div_ceil(EVERY);
    match (sampled.dims(), x.dims()) {
        ([_, c, h, w], [_, channels, height, width]) => (c, h, w) == (channels, &few(*height), &few(*width)),
        _ => false,
    }
}

/// The channels of an input that stand for those of an output: the last ones, where pictures are concatenated.
fn beside(x: &Tensor, output: &Tensor) -> Result<Tensor> {
    let (from, to) = (x.dim(1)?, output.dim(1)?);
    Ok(if from > to { x.narrow(1, from - to, to)? } else { x.clone() })
}
