//! `CheckpointLoaderSimple`.

use std::sync::Arc;

use ebb_engine::node::{Changed, Context, Forecast, Inputs, Node, NodeError, Outcome, Sketch, Sketches};
use ebb_engine::schema::{Input, Schema};
use ebb_engine::value::Value;
use ebb_models::clip;
use ebb_models::text::Composition;
use ebb_weights::WeightSource;

use super::open;
use crate::environment::Environment;
use crate::families::SD1;
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
        let source = WeightSource::of_file(&open(&self.0, "checkpoints", "ckpt_name", name)?);
        let model = Model::new(&SD1, source.under("model.diffusion_model."), compute)?;
        let text = vec![(clip::Kind::L, source.under("cond_stage_model.transformer."))];
        let clip = Clip::new(Composition::Sd1, text, models, compute)?;
        let vae = Vae::new(source.under("first_stage_model."), compute)?;
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
