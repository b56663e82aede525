//! `CheckpointLoaderSimple`.

use std::sync::Arc;

use ebb_engine::node::{Changed, Context, Forecast, Inputs, Node, NodeError, Outcome, Sketch, Sketches};
use ebb_engine::schema::{Input, Schema};
use ebb_engine::value::Value;
use ebb_weights::detect::{self, Part};
use ebb_weights::{WeightError, WeightSource};

use super::open;
use crate::environment::Environment;
use crate::families;
use crate::values::{Clip, Model, Vae};

/// Denoiser, text encoders and autoencoder of a single file.
pub(super) struct CheckpointLoaderSimple(pub(super) Environment);

/// Handles on the parts of a checkpoint.
struct Parts {
    model: Arc<Model>,
    clip: Arc<Clip>,
    vae: Arc<Vae>,
}

impl CheckpointLoaderSimple {
    fn parts(&self, name: &str) -> Result<Parts, NodeError> {
        let Environment { models, compute, .. } = &self.0;
        let file = open(&self.0, "checkpoints", "ckpt_name", name)?;
        let refused = |e: WeightError| NodeError::model(e.to_string());
        let inspection = detect::inspect(&file).map_err(refused)?;
        let source = WeightSource::of_file(&file);
        let denoiser = inspection.require(Part::Denoiser).map_err(refused)?;
        let unsupported =
            || NodeError::model(format!("{name}: is {}; that family does not run here yet", denoiser.title));
        let family = families::family(denoiser.family).ok_or_else(unsupported)?;
        let composition = families::composition(denoiser.family).ok_or_else(unsupported)?;
        let mut model = Model::new(family, denoiser.source(&source), compute)?;
        if let Some(sampling) = families::sampling(denoiser.prediction) {
            model.sampling = sampling;
        }
        let encoders = inspection.all(Part::TextEncoder);
        let encoders = encoders.filter_map(|c| Some((families::encoder(c.family)?, c.source(&source))));
        let clip = Clip::new(composition, encoders.collect(), models, compute)?;
        let vae = inspection.require(Part::Vae).map_err(refused)?;
        let vae = Vae::new(vae.source(&source), compute)?;
        Ok(Parts { model: Arc::new(model), clip: Arc::new(clip), vae: Arc::new(vae) })
    }
}

impl Node for CheckpointLoaderSimple {
    fn schema(&self) -> Schema {
        let models = self.0.models.clone();
        Schema::new("CheckpointLoaderSimple")
            .display("Load Checkpoint")
            .category("loaders")
            .input(Input::listed("ckpt_name", move || models.list("checkpoints")))
            .output("MODEL")
            .output("CLIP")
            .output("VAE")
            .compute()
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let parts = self.parts(inputs.str("ckpt_name")?)?;
        let values = [Value::Payload(parts.model), Value::Payload(parts.clip), Value::Payload(parts.vae)];
        Ok(Outcome::values(values.into()))
    }

    fn changed(&self, inputs: &Inputs) -> Result<Option<Changed>, NodeError> {
        let file = open(&self.0, "checkpoints", "ckpt_name", inputs.str("ckpt_name")?)?;
        Ok(Some(Changed::Fingerprint(file.fingerprint())))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        let Some(name) = inputs.str("ckpt_name") else { return Ok(Forecast::unknown()) };
        let parts = self.parts(name)?;
        let outputs =
            vec![Sketch::handle(parts.model), Sketch::handle(parts.clip), Sketch::handle(parts.vae)];
        Ok(Forecast { outputs, ..Forecast::default() })
    }
}
