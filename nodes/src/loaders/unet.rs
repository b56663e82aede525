//! `UNETLoader`, `UnetLoaderGGUF`.

use std::sync::Arc;

use ebb_engine::node::{Changed, Context, Forecast, Inputs, Node, NodeError, Outcome, Sketch, Sketches};
use ebb_engine::schema::{Input, Schema};

use super::parts::Opened;
use super::{GGUF_MODULE, fingerprint, gguf, open};
use crate::environment::Environment;
use crate::values::Model;

const FOLDER: &str = "diffusion_models";

fn model(environment: &Environment, name: &str) -> Result<Model, NodeError> {
    Opened::new(name, &open(environment, FOLDER, "unet_name", name)?)?.model(environment)
}

fn forecast(environment: &Environment, inputs: &Sketches) -> Result<Forecast, NodeError> {
    let Some(name) = inputs.str("unet_name") else { return Ok(Forecast::unknown()) };
    Ok(Forecast::output(Sketch::handle(Arc::new(model(environment, name)?))))
}

/// A denoiser in a file of its own.
///
/// `weight_dtype` chooses how ComfyUI keeps weights on a graphics card. Here the process's precision holds for
/// every model, and weights that are stored in fp8 are widened when they are read: the choice changes nothing.
pub(super) struct UNETLoader(pub(super) Environment);

impl Node for UNETLoader {
    fn schema(&self) -> Schema {
        let models = self.0.models.clone();
        Schema::new("UNETLoader")
            .display("Load Diffusion Model")
            .category("advanced/loaders")
            .input(Input::listed("unet_name", move || models.list(FOLDER)))
            .input(Input::combo("weight_dtype", ["default", "fp8_e4m3fn", "fp8_e4m3fn_fast", "fp8_e5m2"]))
            .output("MODEL")
            .compute()
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        Ok(Outcome::payload(model(&self.0, inputs.str("unet_name")?)?))
    }

    fn changed(&self, inputs: &Inputs) -> Result<Option<Changed>, NodeError> {
        fingerprint(&self.0, inputs, FOLDER, &["unet_name"])
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        forecast(&self.0, inputs)
    }
}

/// A denoiser in a GGUF file, by the class name of the custom nodes that brought these files to ComfyUI.
pub(super) struct UnetLoaderGGUF(pub(super) Environment);

impl Node for UnetLoaderGGUF {
    fn schema(&self) -> Schema {
        let models = self.0.models.clone();
        Schema::new("UnetLoaderGGUF")
            .display("Unet Loader (GGUF)")
            .category("bootleg")
            .module(GGUF_MODULE)
            .input(Input::listed("unet_name", move || gguf(models.list(FOLDER))))
            .output("MODEL")
            .compute()
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        Ok(Outcome::payload(model(&self.0, inputs.str("unet_name")?)?))
    }

    fn changed(&self, inputs: &Inputs) -> Result<Option<Changed>, NodeError> {
        fingerprint(&self.0, inputs, FOLDER, &["unet_name"])
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        forecast(&self.0, inputs)
    }
}
