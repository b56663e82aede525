//! `KSamplerSelect`.

use ebb_engine::node::{Context, Inputs, Node, NodeError, Outcome};
use ebb_engine::schema::{Input, Schema};
use ebb_sampling::{Sampler, samplers};

use crate::values::{ChosenSampler, sampling_error};

/// Names a sampler.
pub(super) struct KSamplerSelect;

impl Node for KSamplerSelect {
    fn schema(&self) -> Schema {
        Schema::new("KSamplerSelect")
            .module("comfy_extras.nodes_custom_sampler")
            .display("KSamplerSelect")
            .category("sampling/custom_sampling/samplers")
            .input(Input::combo("sampler_name", samplers::names()))
            .output("SAMPLER")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let sampler: Sampler = inputs.str("sampler_name")?.parse().map_err(sampling_error)?;
        Ok(Outcome::payload(ChosenSampler(sampler)))
    }
}
