//! `CLIPMergeSimple`, `CLIPMergeAdd`, `CLIPMergeSubtract`: encoder by encoder.

use std::sync::Arc;

use ebb_engine::node::{Context, Forecast, Inputs, Node, NodeError, Outcome, Sketch, Sketches};
use ebb_engine::registry::{DuplicateClass, Registry};
use ebb_engine::schema::{Input, Schema};
use ebb_models::source::Source;

use super::mixed::{Mixed, Shares, digest};
use super::model::{CATEGORY, MODULE};
use crate::values::Clip;

/// A number that a class is told: its name, default and bounds.
type Number = (&'static str, f64, f64, f64);

struct Merge {
    class: &'static str,
    number: Option<Number>,
    shares: fn(f64) -> Shares,
}

pub(super) fn register(registry: &mut Registry) -> Result<(), DuplicateClass> {
    registry.add(Merge {
        class: "CLIPMergeSimple",
        number: Some(("ratio", 1.0, 0.0, 1.0)),
        shares: Shares::ratio,
    })?;
    registry.add(Merge {
        class: "CLIPMergeSubtract",
        number: Some(("multiplier", 1.0, -10.0, 10.0)),
        shares: |by| Shares { own: by as f32, other: -by as f32 },
    })?;
    registry.add(Merge { class: "CLIPMergeAdd", number: None, shares: |_| Shares { own: 1.0, other: 1.0 } })
}

impl Merge {
    /// Encoders that only one side has stay as they are.
    fn merge(&self, first: &Clip, second: &Clip, number: f64) -> Result<Clip, NodeError> {
        let shares = (self.shares)(number);
        let others: Vec<_> = second.encoders().map(|(kind, tensors)| (kind, tensors.clone())).collect();
        let mut names: Vec<String> = others.iter().map(|(_, tensors)| tensors.identity()).collect();
        names.sort();
        let identity = format!("merge {} {number} {}", self.class, names.join(" "));
        let name = others.first().map(|(_, tensors)| tensors.name().to_owned()).unwrap_or_default();
        first.view(&format!("merged with {name}"), &identity, |_, kind, tensors| {
            let Some((_, other)) = others.iter().find(|(other, _)| *other == kind) else { return Ok(None) };
            let of = move |name: &str| {
                // Positions are no weights, and the scale of similarities is not read.
                let left_out = name.ends_with("position_ids") || name.ends_with("logit_scale");
                if left_out { Shares { own: 1.0, other: 0.0 } } else { shares }
            };
            let mixed = Mixed::new(tensors.source.clone(), other.source.clone(), digest(&identity), of);
            Ok(Some(Arc::new(mixed) as Arc<dyn Source>))
        })
    }
}

impl Node for Merge {
    fn schema(&self) -> Schema {
        let schema = Schema::new(self.class)
            .category(CATEGORY)
            .module(MODULE)
            .input(Input::wire("clip1", "CLIP"))
            .input(Input::wire("clip2", "CLIP"));
        let schema = match self.number {
            Some((name, default, low, high)) => {
                schema.input(Input::float(name, default).between(low, high).option("step", 0.01))
            }
            None => schema,
        };
        schema.output("CLIP").compute()
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let (first, second) = (inputs.payload::<Clip>("clip1")?, inputs.payload::<Clip>("clip2")?);
        let number = self.number.map_or(Ok(0.0), |(name, ..)| inputs.float(name))?;
        Ok(Outcome::payload(self.merge(&first, &second, number)?))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        let (Some(first), Some(second)) = (inputs.what::<Clip>("clip1"), inputs.what::<Clip>("clip2")) else {
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
