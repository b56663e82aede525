//! What nodes changed of a denoiser's layers, made ready for one run.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::Tensor;
use ebb_engine::node::{Context, NodeError};
use ebb_engine::residency::{ComponentKey, Lease};
use ebb_models::changes::{AttentionChange, Changes, Draw, Recording, Tiling};
use ebb_models::gligen::{Fuser, Gligen};
use ebb_models::hypernetwork::Hypernetwork;
use ebb_sampling::guidance::{Guidance, ModelCall, Side};
use ebb_sampling::rng::Generator;

use super::run::failed;
use crate::values::{Boxes, Loaded, Model, Patch};

/// What a set of boxes is fused for: the boxes, and the batch, rows and columns of the latent.
type Place = (usize, [usize; 3]);

/// A run's changes of layers, with the networks that they need in memory.
pub(super) struct Layers {
    /// Those of the model, for every call.
    always: Changes,
    fusing: Vec<(ComponentKey, Lease<Loaded<Gligen>>)>,
    fusers: HashMap<Place, Arc<Fuser>>,
    /// Held for as long as the run.
    _networks: Vec<Lease<Loaded<Hypernetwork>>>,
}

/// Which of a call's samples run: all, or one.
#[derive(Clone, Copy)]
pub(super) enum Samples {
    /// The whole batch.
    All,
    /// One of several, by its place.
    One(usize),
}

/// The job's own stream of numbers, behind the noise that it began with.
fn draw(seed: u64, latent: &Tensor) -> ebb_sampling::Result<Draw> {
    let mut generator = Generator::new(seed);
    generator.randn(latent.shape().clone(), latent.device())?;
    Ok(Arc::new(Mutex::new(move || generator.random())))
}

impl Layers {
    /// Loads what the model's patches and the prompts' entries need.
    pub(super) fn load(
        context: &Context,
        model: &Model,
        guidance: &Guidance,
        latent: &Tensor,
        seed: u64,
    ) -> Result<Self, NodeError> {
        let mut always = Changes::default();
        let mut networks = Vec::new();
        let drawn = draw(seed, latent).map_err(|e| NodeError::failed(e.to_string()))?;
        for patch in &model.patches {
            match patch {
                Patch::Layers(changes) => always = always.with(changes),
                Patch::Tiles { size, swap, depth, scales } => {
                    let (size, swap, depth, scales) = (*size, *swap, *depth, *scales);
                    let tiling = Tiling { size, swap, depth, scales, draw: drawn.clone() };
                    always.attention.push(AttentionChange::Tiles(tiling));
                }
                Patch::Merge(ratio) => {
                    always.attention.push(AttentionChange::Merge { ratio: *ratio, draw: drawn.clone() });
                }
                Patch::Hypernetwork(network, strength) => {
                    let lease = network.load(context)?;
                    always.hypernetworks.push((lease.network().clone(), *strength as f32));
                    networks.push(lease);
                }
                Patch::Shrink(shrink) => always.shrink.push(shrink.clone()),
            }
        }
        let mut fusing: Vec<(ComponentKey, Lease<Loaded<Gligen>>)> = Vec::new();
        for boxes in guidance.entries().filter_map(|entry| entry.patches.clone()?.downcast::<Boxes>().ok()) {
            let key = &boxes.gligen.spec().key;
            if !fusing.iter().any(|(loaded, _)| loaded == key) {
                fusing.push((key.clone(), boxes.gligen.load(context)?));
            }
        }
        Ok(Self { always, fusing, fusers: HashMap::new(), _networks: networks })
    }

    /// The changes for a call; `None` where there is none.
    pub(super) fn of(
        &mut self,
        call: &ModelCall<'_>,
        samples: Samples,
    ) -> ebb_sampling::Result<Option<Changes>> {
        if self.always.is_empty() && call.patches.is_empty() {
            return Ok(None);
        }
        let mut all = self.always.clone();
        all.shrink.retain(|shrink| call.sigma <= shrink.sigmas.0 && call.sigma >= shrink.sigmas.1);
        let (batch, _, height, width) = call.x.dims4()?;
        for patch in call.patches {
            if let Some(changes) = patch.downcast_ref::<Changes>() {
                all = all.with(changes);
            } else if let Some(boxes) = patch.downcast_ref::<Boxes>() {
                let batch = if matches!(samples, Samples::All) { batch } else { 1 };
                all.fuser = self.fuser(boxes, [batch, height, width])?;
            }
        }
        all.recorder = match all.recorder.take() {
            Some(recorder) => recorded(call, samples, batch).map(|samples| Recording { samples, ..recorder }),
            None => None,
        };
        Ok((!all.is_empty()).then_some(all))
    }

    /// Forgets what was written down in the call before.
    pub(super) fn start_recording(&self, call: &ModelCall<'_>) {
        if let Some(recorder) = self.always.recorder.as_ref().filter(|_| call.sides.contains(&Side::Negative))
        {
            recorder.sums.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
    }

    fn fuser(&mut self, boxes: &Boxes, size: [usize; 3]) -> ebb_sampling::Result<Option<Arc<Fuser>>> {
        let place = (std::ptr::from_ref(boxes) as usize, size);
        if let Some(found) = self.fusers.get(&place) {
            return Ok(Some(found.clone()));
        }
        let key = &boxes.gligen.spec().key;
        let Some((_, gligen)) = self.fusing.iter().find(|(loaded, _)| loaded == key) else { return Ok(None) };
        let placed: Vec<_> = boxes.boxes.iter().map(|one| one.placed(size[1], size[2])).collect();
        let fuser = Arc::new(gligen.network().fuser(size[0], &placed).map_err(failed)?);
        self.fusers.insert(place, fuser.clone());
        Ok(Some(fuser))
    }
}

/// The samples of the first negative entry of a call: first, and how many, among those that run.
fn recorded(call: &ModelCall<'_>, samples: Samples, batch: usize) -> Option<(usize, usize)> {
    let chunk = call.sides.iter().position(|side| *side == Side::Negative)?;
    let count = batch / call.sides.len().max(1);
    let first = chunk * count;
    match samples {
        Samples::All => Some((first, count)),
        Samples::One(sample) => (first..first + count).contains(&sample).then_some((0, 1)),
    }
}
