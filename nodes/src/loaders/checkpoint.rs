//! `CheckpointLoaderSimple`.

use std::sync::Arc;

use ebb_engine::node::{Changed, Context, Forecast, Inputs, Node, NodeError, Outcome, Sketch, Sketches};
use ebb_engine::schema::{Input, Schema};
use ebb_engine::value::Value;

use super::parts::{Opened, no_vae};
use super::{fingerprint, open};
use crate::environment::Environment;
use crate::values::{Clip, Model, Vae};

/// Denoiser, text encoders and autoencoder of a single file.
pub(super) struct CheckpointLoaderSimple(pub(super) Environment);

/// Handles on the parts of a checkpoint.
struct Parts {
    model: Arc<Model>,
    clip: Arc<Clip>,
    vae: Option<Arc<Vae>>,
}

impl CheckpointLoaderSimple {
    fn parts(&self, name: &str) -> Result<Parts, NodeError> {
        let opened = Opened::new(name, &open(&self.0, "checkpoints", "ckpt_name", name)?)?;
        Ok(Parts {
            model: Arc::new(opened.model(&self.0)?),
            clip: Arc::new(opened.clip(&self.0)?),
            vae: opened.vae(&self.0)?.map(Arc::new),
        })
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
        let name = inputs.str("ckpt_name")?;
        let Parts { model, clip, vae } = self.parts(name)?;
        let vae = vae.map_or_else(|| no_vae(name), |vae| Value::Payload(vae));
        Ok(Outcome::values(vec![Value::Payload(model), Value::Payload(clip), vae]))
    }

    fn changed(&self, inputs: &Inputs) -> Result<Option<Changed>, NodeError> {
        fingerprint(&self.0, inputs, "checkpoints", &["ckpt_name"])
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        let Some(name) = inputs.str("ckpt_name") else { return Ok(Forecast::unknown()) };
        let Parts { model, clip, vae } = self.parts(name)?;
        let vae = vae.map_or(Sketch::Unknown, Sketch::handle);
        Ok(Forecast {
            outputs: vec![Sketch::handle(model), Sketch::handle(clip), vae],
            ..Forecast::default()
        })
    }
}
