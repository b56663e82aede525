//! `ConditioningSetTimestepRange`.

use ebb_engine::node::{Context, Inputs, Node, NodeError, Outcome};
use ebb_engine::schema::{Input, Schema};

use crate::values::Conditioning;

/// A prompt that speaks during a part of sampling only.
pub(super) struct ConditioningSetTimestepRange;

impl Node for ConditioningSetTimestepRange {
    fn schema(&self) -> Schema {
        let share = |name, default: f64| Input::float(name, default).between(0.0, 1.0).option("step", 0.001);
        Schema::new("ConditioningSetTimestepRange")
            .category("advanced/conditioning")
            .input(Input::wire("conditioning", "CONDITIONING"))
            .input(share("start", 0.0))
            .input(share("end", 1.0))
            .output("CONDITIONING")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let (start, end) = (inputs.float("start")?, inputs.float("end")?);
        let set = inputs.payload::<Conditioning>("conditioning")?.map(|entry| {
            entry.start_percent = Some(start);
            entry.end_percent = Some(end);
        });
        Ok(Outcome::payload(set))
    }
}
