//! `InstructPixToPixConditioning`: a picture that a model edits or follows.

use ebb_engine::node::{Context, Inputs, Node, NodeError, Outcome};
use ebb_engine::schema::{Input, Schema};
use ebb_engine::value::Value;

use super::encode::encode;
use crate::families::set_picture;
use crate::values::{Conditioning, Image, Latent, OrNode, Vae};

/// What an editing model is given beside the noisy latent: a picture's latent.
pub(super) struct InstructPixToPixConditioning;

impl Node for InstructPixToPixConditioning {
    fn schema(&self) -> Schema {
        Schema::new("InstructPixToPixConditioning")
            .category("conditioning/instructpix2pix")
            .module("comfy_extras.nodes_ip2p")
            .input(Input::wire("positive", "CONDITIONING"))
            .input(Input::wire("negative", "CONDITIONING"))
            .input(Input::wire("vae", "VAE"))
            .input(Input::wire("pixels", "IMAGE"))
            .named_output("CONDITIONING", "positive")
            .named_output("CONDITIONING", "negative")
            .named_output("LATENT", "latent")
            .compute()
    }

    fn execute(&self, context: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let vae = inputs.payload::<Vae>("vae")?;
        let picture = encode(context, &vae, inputs.payload::<Image>("pixels")?.tensor())?;
        let given = |name| -> Result<Value, NodeError> {
            let prompt = inputs.payload::<Conditioning>(name)?;
            Ok(Value::payload(prompt.map(|entry| set_picture(entry, &picture))))
        };
        let latent = Latent::new(picture.zeros_like().or_node()?);
        Ok(Outcome::values(vec![given("positive")?, given("negative")?, Value::payload(latent)]))
    }
}
