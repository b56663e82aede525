//! Control networks during a run: their weights, their hints, what they add at each call.

use std::collections::HashMap;

use candle_core::Tensor;
use ebb_engine::node::{Context, NodeError};
use ebb_engine::residency::Lease;
use ebb_models::denoiser::{Input, Residuals, Session};
use ebb_models::ops::Ops;
use ebb_sampling::ModelSampling;
use ebb_sampling::guidance::{Guidance, Opaque};

use super::run::failed;
use crate::pixels::{self, Crop, Method};
use crate::values::{Control, HINT_SCALE, LoadedControlNet, Model, Read, repeat_to_batch};

/// What a hint depends on: the control, which of its pictures alone, and the batch and cells of the latent.
type HintKey = (usize, Option<usize>, [usize; 3]);

/// The control networks of a run, in memory.
pub(super) struct Controls {
    nets: Vec<(ebb_engine::residency::ComponentKey, Lease<LoadedControlNet>, Session)>,
    /// Hints as networks see them are the same at every step.
    hints: HashMap<HintKey, Read>,
    ops: Ops,
}

impl Controls {
    /// Loads the networks on any entry; there may be none.
    pub(super) fn load(context: &Context, model: &Model, guidance: &Guidance) -> Result<Self, NodeError> {
        let mut nets: Vec<(_, _, Session)> = Vec::new();
        for control in guidance.entries().filter_map(Control::of) {
            for control in control.chain() {
                let key = &control.net.spec().key;
                if !nets.iter().any(|(loaded, ..)| loaded == key) {
                    nets.push((key.clone(), control.net.load(context)?, Session::new()));
                }
            }
        }
        Ok(Self { nets, hints: HashMap::new(), ops: model.compute().ops().clone() })
    }

    /// Bytes of scratch that the most demanding of a guidance's networks takes.
    pub(super) fn scratch(guidance: &Guidance, [n, h, w]: [usize; 3], tokens: usize) -> u64 {
        let mut most = 0;
        for control in guidance.entries().filter_map(Control::of) {
            let each = control.chain().filter_map(|control| control.net.scratch(n, h, w, tokens));
            most = most.max(each.max().unwrap_or(0));
        }
        most
    }

    /// What all networks of a call's control add to the UNet; `None` where none speaks at this sigma. `sample` is the
    /// place in the batch of an input that is one sample of several.
    pub(super) fn residuals(
        &mut self,
        control: &Opaque,
        sampling: &ModelSampling,
        sigma: f64,
        input: Input<'_>,
        sample: Option<usize>,
    ) -> ebb_sampling::Result<Option<Residuals>> {
        let Ok(control) = control.clone().downcast::<Control>() else { return Ok(None) };
        let mut all: Option<Residuals> = None;
        for control in control.chain() {
            let (start, end) = (
                sampling.percent_to_sigma(control.start_percent),
                sampling.percent_to_sigma(control.end_percent),
            );
            if sigma > start || sigma < end {
                continue;
            }
            let residuals = self.one(control, input, sample)?;
            all = Some(match all {
                Some(others) => others.joined(&self.ops, residuals).map_err(failed)?,
                None => residuals,
            });
        }
        Ok(all)
    }

    fn one(
        &mut self,
        control: &Control,
        input: Input<'_>,
        sample: Option<usize>,
    ) -> ebb_sampling::Result<Residuals> {
        let key = &control.net.spec().key;
        let Some((_, net, session)) = self.nets.iter_mut().find(|(loaded, ..)| loaded == key) else {
            return Err(candle_core::Error::Msg("a control network was not loaded".into()).into());
        };
        let (batch, _, height, width) = input.x.dims4()?;
        let picture = sample.map(|sample| sample % control.hint.dim(0).unwrap_or(1).max(1));
        let place = (std::ptr::from_ref(control) as usize, picture, [batch, height, width]);
        let hint = match self.hints.entry(place) {
            std::collections::hash_map::Entry::Occupied(found) => found.into_mut(),
            std::collections::hash_map::Entry::Vacant(free) => {
                let pictures = match picture {
                    Some(picture) => control.hint.narrow(0, picture, 1)?,
                    None => control.hint.clone(),
                };
                let multiple = net.network().multiple();
                let side = |cells: usize| (cells * HINT_SCALE).next_multiple_of(multiple);
                let pixels = fitted(&pictures, batch, side(height), side(width))?;
                free.insert(net.network().hint(&pixels, control).map_err(failed)?)
            }
        };
        let residuals = net.network().residuals(session, hint, input, control).map_err(failed)?;
        if control.net.averages() { residuals.averaged(&self.ops).map_err(failed) } else { Ok(residuals) }
    }
}

/// A hint in the size and batch of what is sampled.
fn fitted(hint: &Tensor, batch: usize, height: usize, width: usize) -> ebb_sampling::Result<Tensor> {
    let failed = |e: NodeError| candle_core::Error::Msg(e.message);
    let fits = hint.dims4().is_ok_and(|(_, _, h, w)| (h, w) == (height, width));
    let hint = if fits {
        hint.clone()
    } else {
        pixels::latent(hint, width, height, Method::NearestExact, Crop::Center).map_err(failed)?
    };
    Ok(repeat_to_batch(&hint, batch).map_err(failed)?)
}
