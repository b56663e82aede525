//! `LotusConditioning`.

use ebb_engine::node::{Context, Forecast, Inputs, Node, NodeError, Outcome, Sketch, Sketches};
use ebb_engine::schema::Schema;

use crate::values::{Conditioning, tensor};

/// What SD 2's text encoder makes of an empty prompt without its fillers, start and end token, in half precision:
/// the one prompt that Lotus was trained with.
const EMPTY: &[u8] = include_bytes!("lotus.f16");
/// Tokens, and channels of each.
const DIMS: [usize; 3] = [1, 2, 1024];

/// The prompt of Lotus.
pub(super) struct LotusConditioning;

impl Node for LotusConditioning {
    fn schema(&self) -> Schema {
        Schema::new("LotusConditioning")
            .category("conditioning/lotus")
            .module("comfy_extras.nodes_lotus")
            .named_output("CONDITIONING", "conditioning")
    }

    fn execute(&self, _: &Context, _: &Inputs) -> Result<Outcome, NodeError> {
        let values = EMPTY.chunks_exact(2).map(|two| half::f16::from_le_bytes([two[0], two[1]]).to_f32());
        let prompt = tensor(values.collect(), &DIMS)?;
        let entry = ebb_sampling::guidance::Conditioning::prompt(prompt, None);
        Ok(Outcome::payload(Conditioning { entries: vec![entry] }))
    }

    fn forecast(&self, _: &Sketches) -> Result<Forecast, NodeError> {
        Ok(Forecast::output(Sketch::Unknown))
    }
}
