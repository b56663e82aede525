//! `ModelSave`, `CheckpointSave`, `CLIPSave`, `VAESave`: safetensors files in the output folder, one tensor in
//! memory at a time.

use std::cell::RefCell;
use std::sync::Arc;

use ebb_engine::node::{Context, Forecast, Inputs, Node, NodeError, Outcome, Sketches};
use ebb_engine::registry::{DuplicateClass, Registry};
use ebb_engine::schema::{Hidden, Input, Schema};
use ebb_models::clip::Kind;
use ebb_models::text::Composition;
use ebb_sampling::model_sampling::Prediction;
use ebb_weights::{DType, Metadata, TensorSpec, write_safetensors};

use super::names::{self, Entry};
use super::{CATEGORY, MODULE};
use crate::families::{SD3, SDXL, SDXL_REFINER};
use crate::folders::Folders;
use crate::image::{Saver, metadata};
use crate::values::{Clip, Model, Vae};

pub(super) fn register(registry: &mut Registry, folders: &Arc<Folders>) -> Result<(), DuplicateClass> {
    registry.add(ModelSave(folders.clone()))?;
    registry.add(CheckpointSave(folders.clone()))?;
    registry.add(CLIPSave(folders.clone()))?;
    registry.add(VAESave(folders.clone()))
}

/// A file that is to be written.
struct Checkpoint {
    entries: Vec<Entry>,
    /// Tensors that say something by being there, and numbers: their names and values.
    markers: Vec<(&'static str, Vec<f32>)>,
    metadata: Metadata,
}

impl Checkpoint {
    fn new(context: &Context, entries: Vec<Entry>) -> Self {
        Self { entries, markers: Vec::new(), metadata: metadata(context).into_iter().collect() }
    }

    /// Writes the next file of a series.
    fn write(&self, context: &Context, folders: &Folders, prefix: &str) -> Result<(), NodeError> {
        let mut saver = Saver::new(&folders.output, prefix, 0, 0)?;
        let own = self.entries.iter().map(|entry| TensorSpec {
            name: entry.name.clone(),
            dtype: entry.dtype(),
            shape: entry.shape.clone(),
        });
        let markers = self.markers.iter().map(|(name, values)| TensorSpec {
            name: (*name).to_owned(),
            dtype: DType::F32,
            shape: if values.len() == 1 { Vec::new() } else { vec![values.len()] },
        });
        let specs: Vec<TensorSpec> = own.chain(markers).collect();
        let largest = self.entries.iter().map(Entry::bytes).max().unwrap_or(0);
        // As it is read, and as it is written.
        let _room = context.reserve("saving a model", largest.saturating_mul(2))?;
        let failure: RefCell<Option<NodeError>> = RefCell::default();
        let (mut done, total) = (0usize, specs.len());
        saver.save_as("safetensors", |path| {
            let written = write_safetensors(path, &self.metadata, &specs, |spec, out| {
                let bytes = self.bytes(context, done, total).map_err(|error| {
                    failure.replace(Some(error));
                    stopped(path, &spec.name)
                })?;
                done += 1;
                out.write_all(&bytes).map_err(|e| ebb_weights::WeightError::io(path, e))
            });
            written.map_err(|e| failure.take().unwrap_or_else(|| NodeError::failed(e.to_string())))
        })?;
        context.progress(total as f64, total as f64)
    }

    fn bytes(&self, context: &Context, index: usize, total: usize) -> Result<Vec<u8>, NodeError> {
        context.progress(index as f64, total as f64)?;
        match self.entries.get(index) {
            Some(entry) => entry.read().map_err(|e| NodeError::model(e.to_string())),
            None => {
                let (_, values) = &self.markers[index - self.entries.len()];
                Ok(values.iter().flat_map(|v| v.to_le_bytes()).collect())
            }
        }
    }
}

/// What ends a file that is not to be written on; its reason is kept beside.
fn stopped(path: &std::path::Path, tensor: &str) -> ebb_weights::WeightError {
    ebb_weights::WeightError::io(path, std::io::Error::other(format!("{tensor} was not written")))
}

/// A denoiser's tensors, and what else a file says of it.
fn of_model(context: &Context, model: &Model) -> Checkpoint {
    let entries = names::prefixed(&model.tensors().source, "model.diffusion_model.");
    let mut checkpoint = Checkpoint::new(context, entries);
    let architecture = [
        (SDXL.name, "stable-diffusion-xl-v1-base"),
        (SDXL_REFINER.name, "stable-diffusion-xl-v1-refiner"),
        (SD3.name, "stable-diffusion-v3-medium"),
    ];
    let mut say = |key: &str, value: &str| {
        checkpoint.metadata.insert(format!("modelspec.{key}"), value.to_owned());
    };
    if let Some((_, name)) = architecture.iter().find(|(family, _)| *family == model.family.name) {
        say("architecture", name);
        say("sai_model_spec", "1.0.0");
        say("implementation", "sgm");
    }
    match model.sampling.prediction {
        Prediction::EPS => say("predict_key", "epsilon"),
        Prediction::V => say("predict_key", "v"),
        _ => {}
    }
    if model.sampling.prediction == Prediction::V {
        // Sigmas of a range of their own are continuous.
        let (low, high) = (model.sampling.sigma_min(), model.sampling.sigma_max());
        checkpoint.markers.push(("v_pred", Vec::new()));
        if high > 1000.0 {
            checkpoint.markers.push(("ztsnr", Vec::new()));
        } else if (high - 14.6146).abs() > 1e-2 {
            checkpoint.markers.push(("edm_vpred.sigma_max", vec![high as f32]));
            checkpoint.markers.push(("edm_vpred.sigma_min", vec![low as f32]));
        }
    }
    checkpoint
}

/// Where a checkpoint has a text encoder, and whether in OpenCLIP's names.
fn place(composition: Composition, kind: Kind) -> (&'static str, bool) {
    match (composition, kind) {
        (Composition::Sd1, _) => ("cond_stage_model.transformer.", false),
        (Composition::Sd2, _) => ("cond_stage_model.model.", true),
        (Composition::Sdxl, Kind::L) => ("conditioner.embedders.0.transformer.", false),
        (Composition::Sdxl, _) => ("conditioner.embedders.1.model.", true),
        (Composition::SdxlRefiner, _) => ("conditioner.embedders.0.model.", true),
        (_, Kind::L) => ("text_encoders.clip_l.transformer.", false),
        (_, Kind::G | Kind::H) => ("text_encoders.clip_g.transformer.", false),
    }
}

fn hidden(schema: Schema) -> Schema {
    schema
        .hidden("prompt", Hidden::Prompt)
        .hidden("extra_pnginfo", Hidden::ExtraPngInfo)
        .output_node()
        .compute()
}

/// Weights pass through, tensor by tensor: nothing is loaded for it.
fn nothing(_: &Sketches) -> Result<Forecast, NodeError> {
    Ok(Forecast::default())
}

/// Writes a denoiser.
struct ModelSave(Arc<Folders>);

impl Node for ModelSave {
    fn schema(&self) -> Schema {
        hidden(
            Schema::new("ModelSave")
                .category(CATEGORY)
                .module(MODULE)
                .input(Input::wire("model", "MODEL"))
                .input(Input::string("filename_prefix", "diffusion_models/ComfyUI")),
        )
    }

    fn execute(&self, context: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let model = inputs.payload::<Model>("model")?;
        of_model(context, &model).write(context, &self.0, inputs.str("filename_prefix")?)?;
        Ok(Outcome::none())
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        nothing(inputs)
    }
}

/// Writes denoiser, text encoders and autoencoder as one file.
struct CheckpointSave(Arc<Folders>);

impl Node for CheckpointSave {
    fn schema(&self) -> Schema {
        hidden(
            Schema::new("CheckpointSave")
                .display("Save Checkpoint")
                .category(CATEGORY)
                .module(MODULE)
                .input(Input::wire("model", "MODEL"))
                .input(Input::wire("clip", "CLIP"))
                .input(Input::wire("vae", "VAE"))
                .input(Input::string("filename_prefix", "checkpoints/ComfyUI")),
        )
    }

    fn execute(&self, context: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let (model, clip) = (inputs.payload::<Model>("model")?, inputs.payload::<Clip>("clip")?);
        let vae = inputs.payload::<Vae>("vae")?;
        let mut checkpoint = of_model(context, &model);
        for (kind, tensors) in clip.encoders() {
            let (prefix, open) = place(clip.composition(), kind);
            checkpoint.entries.extend(names::text_encoder(&tensors.source, prefix, kind, open));
        }
        if let Some(t5) = clip.t5_tensors() {
            checkpoint.entries.extend(names::prefixed(&t5, "text_encoders.t5xxl.transformer."));
        }
        if let Some(language) = clip.language_tensors() {
            checkpoint.entries.extend(names::prefixed(&language, "text_encoders.qwen3_4b.transformer."));
        }
        checkpoint.entries.extend(names::prefixed(&vae.tensors().source, "first_stage_model."));
        checkpoint.write(context, &self.0, inputs.str("filename_prefix")?)?;
        Ok(Outcome::none())
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        nothing(inputs)
    }
}

/// Writes text encoders, each to a file of its own.
struct CLIPSave(Arc<Folders>);

impl Node for CLIPSave {
    fn schema(&self) -> Schema {
        hidden(
            Schema::new("CLIPSave")
                .category(CATEGORY)
                .module(MODULE)
                .input(Input::wire("clip", "CLIP"))
                .input(Input::string("filename_prefix", "clip/ComfyUI")),
        )
    }

    fn execute(&self, context: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let (clip, prefix) = (inputs.payload::<Clip>("clip")?, inputs.str("filename_prefix")?);
        let mut files: Vec<(&str, Vec<Entry>)> = Vec::new();
        for (kind, tensors) in clip.encoders() {
            let name = match kind {
                Kind::L => "clip_l",
                Kind::G => "clip_g",
                Kind::H => "clip_h",
            };
            files.push((name, names::prefixed(&tensors.source, "")));
        }
        if let Some(language) = clip.language_tensors() {
            files.push(("qwen3_4b", names::prefixed(&language, "")));
        }
        if let Some(t5) = clip.t5_tensors() {
            files.push(("t5xxl", names::prefixed(&t5, "")));
        }
        for (name, entries) in files {
            let mut checkpoint = Checkpoint::new(context, entries);
            checkpoint.metadata.insert("format".into(), "pt".into());
            checkpoint.write(context, &self.0, &format!("{prefix}_{name}"))?;
        }
        Ok(Outcome::none())
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        nothing(inputs)
    }
}

/// Writes an autoencoder.
struct VAESave(Arc<Folders>);

impl Node for VAESave {
    fn schema(&self) -> Schema {
        hidden(
            Schema::new("VAESave")
                .category(CATEGORY)
                .module(MODULE)
                .input(Input::wire("vae", "VAE"))
                .input(Input::string("filename_prefix", "vae/ComfyUI_vae")),
        )
    }

    fn execute(&self, context: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let vae = inputs.payload::<Vae>("vae")?;
        let entries = names::prefixed(&vae.tensors().source, "");
        if entries.is_empty() {
            return Err(NodeError::input("vae", "has no weights to write"));
        }
        Checkpoint::new(context, entries).write(context, &self.0, inputs.str("filename_prefix")?)?;
        Ok(Outcome::none())
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        nothing(inputs)
    }
}
