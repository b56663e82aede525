//! Control networks during a run: their weights, their hints, what they add at each call.

use std::collections::HashMap;

use candle_core::Tensor;
use ebb_engine::node::{Context, NodeError};
use ebb_engine::residency::{ComponentKey, Lease};
use ebb_models::controlnet::Sees;
use ebb_models::denoiser::{Input, Residuals, Session};
use ebb_models::ops::Ops;
use ebb_sampling::ModelSampling;
use ebb_sampling::guidance::{Guidance, Opaque};

use super::run::failed;
use crate::pixels::{self, Crop, Method};
use crate::vae;
use crate::values::{Control, HINT_SCALE, LoadedControlNet, Model, OrNode, Read, repeat_to_batch};

/// What a hint depends on: the control, which of its pictures alone, and the batch and cells of the latent.
type HintKey = (usize, Option<usize>, [usize; 3]);

/// A control network that was loaded for a run.
struct Net {
    /// What it is among those of the prompts.
    key: ComponentKey,
    lease: Lease<LoadedControlNet>,
    session: Session,
}

/// The control networks of a run, in memory.
pub(super) struct Controls<'a> {
    context: &'a Context,
    nets: Vec<Net>,
    /// Hints as networks see them are the same at every step.
    hints: HashMap<HintKey, Read>,
    /// All pictures of a hint as latents, by the control and the cells of the latent.
    latents: HashMap<(usize, [usize; 2]), Tensor>,
    ops: Ops,
}

impl<'a> Controls<'a> {
    /// Loads the networks on any entry; there may be none. Hints become latents of as many cells as `latent` has, or
    /// an entry's area, before the denoiser takes its room.
    pub(super) fn load(
        context: &'a Context,
        model: &Model,
        guidance: &Guidance,
        latent: &Tensor,
    ) -> Result<Self, NodeError> {
        let ops = model.compute().ops().clone();
        let mut all = Self { context, nets: Vec::new(), hints: HashMap::new(), latents: HashMap::new(), ops };
        let (_, _, height, width) = latent.dims4().or_node()?;
        for entry in guidance.entries() {
            let Some(control) = Control::of(entry) else { continue };
            let cells = entry.area.map_or([height, width], |area| area.size(height, width));
            for control in control.chain() {
                let key = &control.net.spec().key;
                if !all.nets.iter().any(|net| net.key == *key) {
                    let lease = control.net.guiding(model)?.load(context)?;
                    all.nets.push(Net { key: key.clone(), lease, session: Session::new() });
                }
                all.latent(control, cells)?;
            }
        }
        Ok(all)
    }

    /// A control's pictures as latents of so many rows and columns, one each; `None` where the network sees pixels.
    fn latent(&mut self, control: &Control, cells: [usize; 2]) -> Result<Option<&Tensor>, NodeError> {
        let Sees::Latent { shift, scale, masked } = control.net.sees() else { return Ok(None) };
        let place = (std::ptr::from_ref(control) as usize, cells);
        if !self.latents.contains_key(&place) {
            let key = &control.net.spec().key;
            let net = self.nets.iter().find(|net| net.key == *key).map(|net| net.lease.network());
            let (Some(net), Some(vae)) = (net, &control.vae) else {
                return Err(NodeError::failed("a control network or its VAE was not given"));
            };
            let [height, width] = cells.map(|cells| cells * vae.scale());
            let pixels = pixels::latent(&control.hint, width, height, Method::NearestExact, Crop::Center)?;
            let pixels = net.prepared(&pixels).map_err(|e| NodeError::failed(e.to_string()))?;
            let pixels = pixels.permute((0, 2, 3, 1)).and_then(|t| t.contiguous()).or_node()?;
            let mut latent =
                vae::encode(self.context, vae, &pixels)?.affine(scale, -shift * scale).or_node()?;
            if masked {
                let mask = match &control.mask {
                    Some(mask) => {
                        pixels::latent(mask, cells[1], cells[0], Method::NearestExact, Crop::Center)?
                    }
                    None => {
                        Tensor::ones((1, 1, cells[0], cells[1]), latent.dtype(), latent.device()).or_node()?
                    }
                };
                let mask = repeat_to_batch(&mask, latent.dim(0).or_node()?)?;
                latent = Tensor::cat(&[&latent, &mask], 1).or_node()?;
            }
            self.latents.insert(place, latent);
        }
        Ok(self.latents.get(&place))
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
        let (batch, _, height, width) = input.x.dims4()?;
        let latent = self.latent(control, [height, width]).map_err(as_sampling)?.cloned();
        let Some(Net { lease: net, session, .. }) = self.nets.iter_mut().find(|net| net.key == *key) else {
            return Err(candle_core::Error::Msg("a control network was not loaded".into()).into());
        };
        let picture = sample.map(|sample| sample % control.hint.dim(0).unwrap_or(1).max(1));
        let place = (std::ptr::from_ref(control) as usize, picture, [batch, height, width]);
        let hint = match self.hints.entry(place) {
            std::collections::hash_map::Entry::Occupied(found) => found.into_mut(),
            std::collections::hash_map::Entry::Vacant(free) => {
                let all = latent.as_ref().unwrap_or(&control.hint);
                let pictures = match picture {
                    Some(picture) => all.narrow(0, picture, 1)?,
                    None => all.clone(),
                };
                let multiple = net.network().multiple();
                let side = |cells: usize| (cells * HINT_SCALE).next_multiple_of(multiple);
                let seen = match latent {
                    Some(_) => repeat_to_batch(&pictures, batch).map_err(as_sampling)?,
                    None => fitted(&pictures, batch, side(height), side(width))?,
                };
                free.insert(net.network().hint(&seen, control).map_err(failed)?)
            }
        };
        let residuals = net.network().residuals(session, hint, input, control).map_err(failed)?;
        if control.net.averages() { residuals.averaged(&self.ops).map_err(failed) } else { Ok(residuals) }
    }
}

/// A node's failure inside a sampling run.
fn as_sampling(error: NodeError) -> ebb_sampling::Error {
    candle_core::Error::Msg(error.message).into()
}

/// A hint in the size and batch of what is sampled.
fn fitted(hint: &Tensor, batch: usize, height: usize, width: usize) -> ebb_sampling::Result<Tensor> {
    let fits = hint.dims4().is_ok_and(|(_, _, h, w)| (h, w) == (height, width));
    let hint = if fits {
        hint.clone()
    } else {
        pixels::latent(hint, width, height, Method::NearestExact, Crop::Center).map_err(as_sampling)?
    };
    repeat_to_batch(&hint, batch).map_err(as_sampling)
}
