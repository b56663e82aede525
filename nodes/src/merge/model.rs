//! `ModelMergeSimple`, `ModelMergeAdd`, `ModelMergeSubtract`.

use std::sync::Arc;

use ebb_engine::node::{Context, Forecast, Inputs, Node, NodeError, Outcome, Sketch, Sketches};
use ebb_engine::registry::{DuplicateClass, Registry};
use ebb_engine::schema::{Input, Schema};

use super::mixed::{Mixed, Shares, digest};
use crate::values::Model;

pub(super) const MODULE: &str = "comfy_extras.nodes_model_merging";
pub(super) const CATEGORY: &str = "advanced/model_merging";

/// A number that a class is told: its name, default and bounds.
type Number = (&'static str, f64, f64, f64);

/// A class of this file: the number that it is told, and what this means for both models.
struct Merge {
    class: &'static str,
    number: Option<Number>,
    shares: fn(f64) -> Shares,
}

pub(super) fn register(registry: &mut Registry) -> Result<(), DuplicateClass> {
    registry.add(Merge {
        class: "ModelMergeSimple",
        number: Some(("ratio", 1.0, 0.0, 1.0)),
        shares: Shares::ratio,
    })?;
    registry.add(Merge {
        class: "ModelMergeSubtract",
        number: Some(("multiplier", 1.0, -10.0, 10.0)),
        shares: |by| Shares { own: by as f32, other: -by as f32 },
    })?;
    registry.add(Merge { class: "ModelMergeAdd", number: None, shares: |_| Shares { own: 1.0, other: 1.0 } })
}

/// The first model with weights mixed from the second's. `name` is for people, `how` tells the mixture from others.
pub(super) fn mixed(
    first: &Model,
    second: &Model,
    name: &str,
    how: &str,
    shares: impl Fn(&str) -> Shares + Send + Sync + 'static,
) -> Result<Model, NodeError> {
    if first.family.name != second.family.name {
        return Err(NodeError::input(
            "model2",
            format!(
                "is {}; model1 is {}: they have no weights in common",
                second.family.name, first.family.name
            ),
        ));
    }
    let identity = format!("merge {how} {}", second.tensors().identity());
    let (own, other) = (first.tensors().source.clone(), second.tensors().source.clone());
    let source = Arc::new(Mixed::new(own, other, digest(&identity), shares));
    first.view(source, &format!("{name} {}", second.tensors().name()), &identity)
}

impl Merge {
    fn merge(&self, first: &Model, second: &Model, number: f64) -> Result<Model, NodeError> {
        let shares = (self.shares)(number);
        mixed(first, second, "merged with", &format!("{} {number}", self.class), move |_| shares)
    }
}

impl Node for Merge {
    fn schema(&self) -> Schema {
        let schema = Schema::new(self.class)
            .category(CATEGORY)
            .module(MODULE)
            .input(Input::wire("model1", "MODEL"))
            .input(Input::wire("model2", "MODEL"));
        let schema = match self.number {
            Some((name, default, low, high)) => {
                schema.input(Input::float(name, default).between(low, high).option("step", 0.01))
            }
            None => schema,
        };
        schema.output("MODEL").compute()
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let (first, second) = (inputs.payload::<Model>("model1")?, inputs.payload::<Model>("model2")?);
        let number = self.number.map_or(Ok(0.0), |(name, ..)| inputs.float(name))?;
        Ok(Outcome::payload(self.merge(&first, &second, number)?))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        let (Some(first), Some(second)) = (inputs.what::<Model>("model1"), inputs.what::<Model>("model2"))
        else {
            return Ok(Forecast::unknown());
        };
        let number = match self.number {
            Some((name, ..)) => inputs.get(name).as_json().and_then(|v| v.as_f64()),
            None => Some(0.0),
        };
        let Some(number) = number else { return Ok(Forecast::unknown()) };
        Ok(Forecast::output(Sketch::handle(Arc::new(self.merge(&first, &second, number)?))))
    }
}
