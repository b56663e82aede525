//! `DiffusersLoader`.

use std::sync::Arc;

use ebb_engine::node::{Changed, Context, Forecast, Inputs, Node, NodeError, Outcome, Sketch, Sketches};
use ebb_engine::schema::{Input, Schema};
use ebb_engine::value::Value;
use ebb_weights::detect::Part;

use super::parts::{self, Opened, no_vae, refused};
use crate::environment::Environment;
use crate::families;
use crate::values::{Clip, Model, Vae};

/// A model in a folder of parts, as the diffusers library saves it.
pub(super) struct DiffusersLoader(pub(super) Environment);

struct Parts {
    model: Arc<Model>,
    clip: Arc<Clip>,
    vae: Option<Arc<Vae>>,
}

/// The folders of a denoiser, and of text encoders.
const DENOISERS: [&str; 2] = ["unet", "transformer"];
const ENCODERS: [&str; 3] = ["text_encoder", "text_encoder_2", "text_encoder_3"];
const VAE: &str = "vae";

impl DiffusersLoader {
    fn part(&self, name: &str, part: &str) -> Result<Option<Opened>, NodeError> {
        let files = self.0.models.open_part(name, part).map_err(refused)?;
        Opened::of_files(&format!("{name}/{part}"), &files)
    }

    fn parts(&self, name: &str) -> Result<Parts, NodeError> {
        let denoiser = DENOISERS.iter().find_map(|part| self.part(name, part).transpose()).transpose()?;
        let denoiser = denoiser.ok_or_else(|| {
            NodeError::model(format!(
                "{name}: has neither {}; those hold the denoiser's weights",
                DENOISERS.map(|part| format!("{part}/diffusion_pytorch_model.safetensors")).join(" nor ")
            ))
        })?;
        let family = denoiser.require(Part::Denoiser)?;
        let model = denoiser.model(&self.0)?;
        let composition = families::composition(family.family).ok_or_else(|| {
            NodeError::model(format!("{name}: is {}, which does not run here", family.title))
        })?;
        let mut opened = Vec::new();
        for part in ENCODERS {
            opened.extend(self.part(name, part)?);
        }
        let mut found = Vec::new();
        for file in &opened {
            found.push((file, file.require(Part::TextEncoder)?));
        }
        let clip = parts::encoders(composition, &found, &self.0)?;
        let vae = match self.part(name, VAE)? {
            Some(vae) => vae.vae(&self.0)?,
            None => None,
        };
        Ok(Parts { model: Arc::new(model), clip: Arc::new(clip), vae: vae.map(Arc::new) })
    }
}

impl Node for DiffusersLoader {
    fn schema(&self) -> Schema {
        let models = self.0.models.clone();
        Schema::new("DiffusersLoader")
            .display("DiffusersLoader")
            .category("advanced/loaders/deprecated")
            .input(Input::listed("model_path", move || models.list("diffusers")))
            .output("MODEL")
            .output("CLIP")
            .output("VAE")
            .compute()
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let name = inputs.str("model_path")?;
        let Parts { model, clip, vae } = self.parts(name)?;
        let vae = vae.map_or_else(|| no_vae(name), |vae| Value::Payload(vae));
        Ok(Outcome::values(vec![Value::Payload(model), Value::Payload(clip), vae]))
    }

    fn changed(&self, inputs: &Inputs) -> Result<Option<Changed>, NodeError> {
        let name = inputs.str("model_path")?;
        let mut all = Vec::new();
        for part in DENOISERS.iter().chain(&ENCODERS).chain([&VAE]) {
            let files = self.0.models.open_part(name, part).map_err(refused)?;
            all.extend(files.iter().map(|file| file.fingerprint()));
        }
        Ok(Some(Changed::Fingerprint(all.join("+"))))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        let Some(name) = inputs.str("model_path") else { return Ok(Forecast::unknown()) };
        let Parts { model, clip, vae } = self.parts(name)?;
        let vae = vae.map_or(Sketch::Unknown, Sketch::handle);
        Ok(Forecast {
            outputs: vec![Sketch::handle(model), Sketch::handle(clip), vae],
            ..Forecast::default()
        })
    }
}
