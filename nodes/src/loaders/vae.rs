//! `VAELoader`.

use std::sync::Arc;

use ebb_engine::node::{Changed, Context, Forecast, Inputs, Node, NodeError, Outcome, Sketch, Sketches};
use ebb_engine::schema::{Input, Schema};
use ebb_weights::WeightSource;

use super::open;
use crate::environment::Environment;
use crate::values::Vae;

/// An autoencoder in a file of its own.
pub(super) struct VAELoader(pub(super) Environment);

impl VAELoader {
    fn vae(&self, name: &str) -> Result<Vae, NodeError> {
        let source = WeightSource::of_file(&open(&self.0, "vae", "vae_name", name)?);
        // A whole checkpoint serves as well: its autoencoder is taken.
        let inner = source.under("first_stage_model.");
        Vae::new(if inner.is_empty() { source } else { inner }, &self.0.compute)
    }
}

impl Node for VAELoader {
    fn schema(&self) -> Schema {
        let models = self.0.models.clone();
        Schema::new("VAELoader")
            .display("Load VAE")
            .category("loaders")
            .input(Input::listed("vae_name", move || models.list("vae")))
            .output("VAE")
            .compute()
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        Ok(Outcome::payload(self.vae(inputs.str("vae_name")?)?))
    }

    fn changed(&self, inputs: &Inputs) -> Result<Option<Changed>, NodeError> {
        let file = open(&self.0, "vae", "vae_name", inputs.str("vae_name")?)?;
        Ok(Some(Changed::Fingerprint(file.fingerprint())))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        let Some(name) = inputs.str("vae_name") else { return Ok(Forecast::unknown()) };
        Ok(Forecast::output(Sketch::handle(Arc::new(self.vae(name)?))))
    }
}
