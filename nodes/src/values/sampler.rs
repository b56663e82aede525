//! `SAMPLER`.

use ebb_engine::value::Payload;
use ebb_sampling::Sampler;

/// A sampler that a node chose, for the nodes that take noise, sigmas and guidance apart.
#[derive(Clone, Debug)]
pub struct ChosenSampler(pub Sampler);

impl Payload for ChosenSampler {
    fn type_name(&self) -> &'static str {
        "SAMPLER"
    }

    fn bytes(&self) -> u64 {
        0
    }

    fn summary(&self) -> String {
        self.0.name().to_owned()
    }
}
