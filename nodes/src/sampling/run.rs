//! One sampling run: the denoiser as guidance calls it, and the node that follows it.

use std::cell::RefCell;
use std::ops::ControlFlow;

use candle_core::Tensor;
use ebb_engine::node::{Context, NodeError, Saving};
use ebb_models::denoiser::{Input, Session};
use ebb_sampling::guidance::{Conditioning, InputContext, ModelCall, ModelInput, ModelInputs};
use ebb_sampling::{Observer, SampledModel, Step};

use super::preview::Previewer;
use crate::families::{Family, image_concat};
use crate::values::{LoadedDenoiser, Model, OrNode, sampling_error};

/// A loaded denoiser with what it remembers during a run.
struct Runner<'a> {
    family: &'static Family,
    denoiser: &'a LoadedDenoiser,
    session: Session,
    /// One sample at a time, whatever the batch.
    slices: bool,
}

/// A model crate's failure inside a sampling run.
fn failed(error: ebb_models::Error) -> ebb_sampling::Error {
    match error {
        ebb_models::Error::Cancelled => ebb_sampling::Error::Cancelled,
        ebb_models::Error::Candle(error) => error.into(),
        other => candle_core::Error::Msg(other.to_string()).into(),
    }
}

fn tensor<'a>(inputs: &'a ModelInputs, name: &str) -> Option<&'a Tensor> {
    inputs.get(name)?.tensor()
}

impl ebb_sampling::guidance::Model for Runner<'_> {
    fn predict(&mut self, call: &ModelCall<'_>) -> ebb_sampling::Result<Tensor> {
        let network = self.denoiser.network();
        let x = match tensor(call.inputs, "c_concat") {
            Some(concat) => Tensor::cat(&[call.x, concat], 1)?,
            None => call.x.clone(),
        };
        let batch = x.dim(0)?;
        let empty;
        let context = match tensor(call.inputs, "c_crossattn") {
            Some(context) => context,
            None => {
                empty = Tensor::zeros((batch, 1, network.context_channels()), x.dtype(), x.device())?;
                &empty
            }
        };
        let timesteps = vec![call.timestep as f32; batch];
        let guidance = match call.inputs.get("guidance") {
            Some(ModelInput::Constant(guidance)) => Some(vec![*guidance as f32; batch]),
            _ => None,
        };
        let input = Input {
            x: &x,
            timesteps: &timesteps,
            context,
            y: tensor(call.inputs, "y"),
            guidance: guidance.as_deref(),
            control: None,
        };
        if !self.slices || batch == 1 {
            return network.denoise(&mut self.session, input).map_err(failed);
        }
        let mut predicted = Vec::with_capacity(batch);
        for sample in 0..batch {
            let part = |t: &Tensor| t.narrow(0, sample, 1)?.contiguous();
            let (x, context) = (part(input.x)?, part(input.context)?);
            let y = input.y.map(part).transpose()?;
            let single = Input {
                x: &x,
                timesteps: &timesteps[..1],
                context: &context,
                y: y.as_ref(),
                guidance: input.guidance.map(|guidance| &guidance[..1]),
                control: None,
            };
            predicted.push(network.denoise(&mut self.session, single).map_err(failed)?);
        }
        Ok(Tensor::cat(&predicted, 0)?)
    }

    fn inputs(
        &mut self,
        entry: &Conditioning,
        context: &InputContext<'_>,
    ) -> ebb_sampling::Result<ModelInputs> {
        let network = self.denoiser.network();
        let mut inputs = ModelInputs::new();
        if let Some(prompt) = &entry.cross_attn {
            inputs.insert("c_crossattn".into(), ModelInput::CrossAttn(prompt.clone()));
        }
        if network.input_channels() == self.family.latent_channels + 1 + self.family.latent_channels {
            let concat = image_concat(entry, context, &self.family.latent_format)?;
            inputs.insert("c_concat".into(), ModelInput::OverLatent(concat));
        }
        (self.family.inputs)(entry, context, &mut inputs)?;
        Ok(inputs)
    }
}

/// Follows a run for its node: progress, previews, cancellation.
struct Follower<'a> {
    context: &'a Context,
    previewer: &'a Previewer,
    /// The first failure that is not a cancellation.
    failure: RefCell<Option<NodeError>>,
}

impl Observer for Follower<'_> {
    fn step(&self, step: &Step<'_>) -> ControlFlow<()> {
        let (done, total) = ((step.index + 1) as f64, step.total as f64);
        let reported = match self.previewer.draw(step.denoised) {
            Some(preview) => self.context.progress_with_preview(done, total, preview),
            None => self.context.progress(done, total),
        };
        match reported {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                self.failure.replace(Some(error));
                ControlFlow::Break(())
            }
        }
    }

    fn cancelled(&self) -> bool {
        self.context.check().is_err()
    }
}

/// Loads a model's weights, keeps room for its activations, and runs `sample` with both.
pub(super) fn with_model(
    context: &Context,
    model: &Model,
    latent: &Tensor,
    tokens: usize,
    sample: impl FnOnce(SampledModel<'_>, &dyn Observer) -> ebb_sampling::Result<Tensor>,
) -> Result<Tensor, NodeError> {
    let (batch, channels, height, width) = latent.dims4().or_node()?;
    if channels != model.family.latent_channels {
        return Err(NodeError::input(
            "latent_image",
            format!(
                "has {channels} channels; {} samples {}: it belongs to another family",
                model.family.name, model.family.latent_channels
            ),
        ));
    }
    let loaded = model.load(context)?;
    let slices = context.savings().contains(&Saving::Slices);
    // Guidance runs both sides in one call where their shapes allow.
    let together = if slices { 1 } else { batch * 2 };
    let streams = context.savings().iter().find_map(|saving| model.streaming(saving)).unwrap_or(0);
    let scratch = model.scratch(together, height, width, tokens).map(|bytes| bytes.saturating_add(streams));
    let _scratch = model.compute().room(context, "sampling", scratch.unwrap_or(0))?;
    let mut runner = Runner { family: model.family, denoiser: &loaded, session: Session::new(), slices };
    let previewer = Previewer::new(context, model, (height, width));
    let follower = Follower { context, previewer: &previewer, failure: RefCell::default() };
    let sampled = SampledModel {
        model: &mut runner,
        sampling: &model.sampling,
        latent_format: &model.family.latent_format,
        hooks: &model.hooks,
    };
    sample(sampled, &follower).map_err(|e| follower.failure.take().unwrap_or_else(|| sampling_error(e)))
}
