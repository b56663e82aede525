//! One sampling run: the denoiser as guidance calls it, and the node that follows it.

use std::cell::RefCell;
use std::ops::ControlFlow;

use candle_core::Tensor;
use ebb_engine::node::{Context, NodeError, Saving};
use ebb_kernels::KernelError;
use ebb_models::denoiser::{Input, Places, References, Session};
use ebb_sampling::guidance::{Conditioning, Guidance, InputContext, ModelCall, ModelInput, ModelInputs};
use ebb_sampling::{ModelSampling, Observer, SampledModel, Step};

use super::control::Controls;
use super::layers::{Layers, Samples};
use super::preview::Previewer;
use super::reuse::Reuser;
use crate::families::{self, Family};
use crate::values::{LoadedDenoiser, Model, OrNode, model_error, sampling_error};

/// A loaded denoiser with what it remembers during a run.
struct Runner<'a> {
    family: &'static Family,
    sampling: &'a ModelSampling,
    denoiser: &'a LoadedDenoiser,
    session: Session,
    controls: Controls<'a>,
    layers: Layers,
    reuser: Option<Reuser>,
    /// One sample at a time, whatever the batch.
    slices: bool,
    /// Why a call failed for want of memory: samplers know only that it failed.
    memory: &'a RefCell<Option<NodeError>>,
}

impl Runner<'_> {
    /// One call of the network, with what control networks add to it. They see `latent`: the input without what is
    /// concatenated to it.
    fn denoise(
        &mut self,
        call: &ModelCall<'_>,
        latent: &Tensor,
        input: Input<'_>,
        sample: Option<usize>,
    ) -> ebb_sampling::Result<Tensor> {
        let control = match call.control {
            Some(control) => {
                let seen = Input { x: latent, ..input };
                self.controls.residuals(control, self.sampling, call.sigma, seen, sample)?
            }
            None => None,
        };
        let samples = sample.map_or(Samples::All, Samples::One);
        let changes = self.layers.of(call, samples)?;
        let input = Input { control: control.as_ref(), changes: changes.as_ref(), ..input };
        self.denoiser.network().denoise(&mut self.session, input).map_err(|error| {
            if matches!(error, ebb_models::Error::Kernel(KernelError::OutOfMemory { .. })) {
                self.memory.replace(Some(model_error("sampling", error)));
                return ebb_sampling::Error::Cancelled;
            }
            failed(error)
        })
    }
}

/// A model crate's failure inside a sampling run.
pub(super) fn failed(error: ebb_models::Error) -> ebb_sampling::Error {
    match error {
        ebb_models::Error::Cancelled => ebb_sampling::Error::Cancelled,
        ebb_models::Error::Candle(error) => error.into(),
        other => candle_core::Error::Msg(other.to_string()).into(),
    }
}

fn tensor<'a>(inputs: &'a ModelInputs, name: &str) -> Option<&'a Tensor> {
    inputs.get(name)?.tensor()
}

/// Latents beside the picture, by the order in which they were given.
fn references(inputs: &ModelInputs) -> Vec<Tensor> {
    (0..).map_while(|i| tensor(inputs, &reference(i)).cloned()).collect()
}

/// The name of a reference latent among a model's inputs.
pub(crate) fn reference(index: usize) -> String {
    format!("ref_latents.{index}")
}

impl Runner<'_> {
    /// What the network says of a batch.
    fn compute(&mut self, call: &ModelCall<'_>, x: &Tensor) -> ebb_sampling::Result<Tensor> {
        let network = self.denoiser.network();
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
        let y = tensor(call.inputs, "y");
        let guidance = guidance.as_deref();
        let latents = references(call.inputs);
        let places = match call.inputs.get("ref_latents_method") {
            Some(ModelInput::Constant(1.0)) => Places::Index,
            Some(ModelInput::Constant(2.0)) => Places::Diagonal,
            _ => Places::Offset,
        };
        let attention_bias = tensor(call.inputs, "attention_mask");
        self.layers.start_recording(call);
        if !self.slices || batch == 1 {
            let references = References { latents: &latents, places, attention_bias };
            let input = Input { y, guidance, references, ..Input::new(x, &timesteps, context) };
            return self.denoise(call, call.x, input, None);
        }
        let mut predicted = Vec::with_capacity(batch);
        for sample in 0..batch {
            let part = |t: &Tensor| t.narrow(0, sample, 1)?.contiguous();
            let (x, latent, context) = (part(x)?, part(call.x)?, part(context)?);
            let y = y.map(part).transpose()?;
            let guidance = guidance.map(|guidance| &guidance[sample..=sample]);
            let latents = latents.iter().map(part).collect::<candle_core::Result<Vec<_>>>()?;
            let bias = attention_bias.map(part).transpose()?;
            let references = References { latents: &latents, places, attention_bias: bias.as_ref() };
            let input =
                Input { y: y.as_ref(), guidance, references, ..Input::new(&x, &timesteps[..1], &context) };
            predicted.push(self.denoise(call, &latent, input, Some(sample))?);
        }
        Ok(Tensor::cat(&predicted, 0)?)
    }
}

impl ebb_sampling::guidance::Model for Runner<'_> {
    fn begin(&mut self) {
        if let Some(reuser) = &mut self.reuser {
            reuser.begin();
        }
    }

    fn predict(&mut self, call: &ModelCall<'_>) -> ebb_sampling::Result<Tensor> {
        let x = match tensor(call.inputs, "c_concat") {
            Some(concat) => Tensor::cat(&[call.x, concat], 1)?,
            None => call.x.clone(),
        };
        let Some(mut reuser) = self.reuser.take() else { return self.compute(call, &x) };
        let answer = reuser.answer(&x, call.sigma, call.sides, || self.compute(call, &x));
        self.reuser = Some(reuser);
        answer
    }

    fn inputs(
        &mut self,
        entry: &Conditioning,
        context: &InputContext<'_>,
    ) -> ebb_sampling::Result<ModelInputs> {
        let network = self.denoiser.network();
        let mut inputs = ModelInputs::new();
        if let Some(prompt) = &entry.cross_attn {
            // A transformer that reads prompt and picture as one sequence must not read the prompt twice.
            let prompt = prompt.clone();
            let input =
                if self.family.joint { ModelInput::Regular(prompt) } else { ModelInput::CrossAttn(prompt) };
            inputs.insert("c_crossattn".into(), input);
        }
        if let Some(concat) = families::concat(self.family, network.input_channels(), entry, context)? {
            inputs.insert("c_concat".into(), ModelInput::OverLatent(concat));
        }
        (self.family.inputs)(entry, context, &mut inputs)?;
        // What stands for "nothing" is as wide as the family's widest network reads it.
        if let (Some(wanted), Some(ModelInput::Regular(y))) = (network.y_channels(), inputs.get_mut("y"))
            && y.dim(1)? > wanted
        {
            *y = y.narrow(1, 0, wanted)?;
        }
        Ok(inputs)
    }
}

/// Follows a run for its node: progress, previews, cancellation.
struct Follower<'a> {
    context: &'a Context,
    previewer: &'a Previewer,
    /// The first failure that is not a cancellation.
    failure: RefCell<Option<NodeError>>,
    /// The clean latent as the last step saw it, in the model's scale.
    denoised: RefCell<Option<Tensor>>,
}

impl Observer for Follower<'_> {
    fn step(&self, step: &Step<'_>) -> ControlFlow<()> {
        self.denoised.replace(Some(step.denoised.clone()));
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

/// What sampling gives, in the autoencoder's scale.
pub(super) struct Sampled {
    pub(super) latent: Tensor,
    /// The clean latent as the last step saw it; `None` where there was no step.
    pub(super) denoised: Option<Tensor>,
}

/// Samples as a model's family has them: an empty latent that was made for another family gets its channels.
pub(super) fn fitting(model: &Model, samples: &Tensor) -> Result<Tensor, NodeError> {
    let (batch, channels, height, width) = samples.dims4().or_node()?;
    let wanted = model.family.latent_channels;
    if channels == wanted {
        return Ok(samples.clone());
    }
    let peak = samples.abs().and_then(|t| t.max_all()).and_then(|t| t.to_scalar::<f32>()).or_node()?;
    if peak == 0.0 {
        return Tensor::zeros((batch, wanted, height, width), samples.dtype(), samples.device()).or_node();
    }
    Err(NodeError::input(
        "latent_image",
        format!(
            "has {channels} channels; {} samples {wanted}: it belongs to another family",
            model.family.name
        ),
    ))
}

/// Loads a model's weights, keeps room for its activations, and runs `sample` with both. `latent` has the
/// family's channels.
pub(super) fn with_model(
    context: &Context,
    model: &Model,
    latent: &Tensor,
    guidance: &Guidance,
    tokens: usize,
    seed: u64,
    sample: impl FnOnce(SampledModel<'_>, &dyn Observer) -> ebb_sampling::Result<Tensor>,
) -> Result<Sampled, NodeError> {
    let (batch, _, height, width) = latent.dims4().or_node()?;
    let controls = Controls::load(context, model, guidance, latent)?;
    let loaded = model.load(context)?;
    let layers = Layers::load(context, model, guidance, latent, seed)?;
    let slices = context.savings().contains(&Saving::Slices);
    // Guidance runs both sides in one call where their shapes allow.
    let together = if slices { 1 } else { batch * 2 };
    let streams = context.savings().iter().find_map(|saving| model.streaming(saving)).unwrap_or(0);
    let scratch = model.scratch(together, height, width, tokens).unwrap_or(0).saturating_add(streams);
    // Networks run one after the other.
    let scratch = scratch.max(Controls::scratch(guidance, [together, height, width], tokens));
    let _scratch = model.compute().room(context, "sampling", scratch)?;
    let (family, sampling, session) = (model.family, &model.sampling, Session::new());
    let memory = RefCell::default();
    let reuser = model.reuse.map(|settings| Reuser::new(settings, sampling));
    let mut runner = Runner {
        family,
        sampling,
        denoiser: &loaded,
        session,
        controls,
        layers,
        reuser,
        slices,
        memory: &memory,
    };
    let (failure, denoised) = (RefCell::default(), RefCell::default());
    let previewer = Previewer::new(context, model, (height, width));
    let follower = Follower { context, previewer: &previewer, failure, denoised };
    let sampled = SampledModel {
        model: &mut runner,
        sampling: &model.sampling,
        latent_format: &model.family.latent_format,
        hooks: &model.hooks,
    };
    let latent = sample(sampled, &follower)
        .map_err(|e| memory.take().or(follower.failure.take()).unwrap_or_else(|| sampling_error(e)))?;
    if let Some(reuser) = &runner.reuser {
        context.text(format!("EasyCache: {} calls took an earlier answer", reuser.taken()));
    }
    let denoised = follower.denoised.take().map(|t| model.family.latent_format.process_out(&t)).transpose();
    Ok(Sampled { latent, denoised: denoised.map_err(sampling_error)? })
}
