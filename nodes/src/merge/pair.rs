//! The classes that mix two of a kind: `…MergeSimple`, `…MergeAdd`, `…MergeSubtract`.

use std::marker::PhantomData;
use std::sync::Arc;

use ebb_engine::node::{Context, Forecast, Inputs, Node, NodeError, Outcome, Sketch, Sketches};
use ebb_engine::registry::{DuplicateClass, Registry};
use ebb_engine::schema::{Input, Schema};
use ebb_engine::value::Payload;

use super::mixed::Shares;
use super::{CATEGORY, MODULE};

/// What two of can be mixed.
pub(super) trait Mixable: Payload + Sized {
    /// What its classes begin with, the type on the wire, and both inputs.
    const NAMES: [&'static str; 4];

    /// This with weights mixed from another's; `how` tells the mixture from others.
    fn mixed_with(&self, other: &Self, how: &str, shares: Shares) -> Result<Self, NodeError>;
}

/// A number that a class is told: its name, default and bounds.
type Number = (&'static str, f64, f64, f64);

/// A class: the number that it is told, and what this means for both.
struct Merge<T> {
    class: String,
    number: Option<Number>,
    shares: fn(f64) -> Shares,
    of: PhantomData<fn() -> T>,
}

/// The three classes of a type.
pub(super) fn register<T: Mixable>(registry: &mut Registry) -> Result<(), DuplicateClass> {
    registry.add(Merge::<T>::new("Simple", Some(("ratio", 1.0, 0.0, 1.0)), Shares::ratio))?;
    registry.add(Merge::<T>::new("Subtract", Some(("multiplier", 1.0, -10.0, 10.0)), |by| Shares {
        own: by as f32,
        other: -by as f32,
    }))?;
    registry.add(Merge::<T>::new("Add", None, |_| Shares { own: 1.0, other: 1.0 }))
}

impl<T: Mixable> Merge<T> {
    fn new(end: &str, number: Option<Number>, shares: fn(f64) -> Shares) -> Self {
        Self { class: format!("{}Merge{end}", T::NAMES[0]), number, shares, of: PhantomData }
    }

    fn merge(&self, first: &T, second: &T, number: f64) -> Result<T, NodeError> {
        first.mixed_with(second, &format!("{} {number}", self.class), (self.shares)(number))
    }
}

impl<T: Mixable> Node for Merge<T> {
    fn schema(&self) -> Schema {
        let [_, kind, first, second] = T::NAMES;
        let schema = Schema::new(self.class.as_str())
            .category(CATEGORY)
            .module(MODULE)
            .input(Input::wire(first, kind))
            .input(Input::wire(second, kind));
        let schema = match self.number {
            Some((name, default, low, high)) => {
                schema.input(Input::float(name, default).between(low, high).option("step", 0.01))
            }
            None => schema,
        };
        schema.output(kind).compute()
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let [_, _, first, second] = T::NAMES;
        let (first, second) = (inputs.payload::<T>(first)?, inputs.payload::<T>(second)?);
        let number = self.number.map_or(Ok(0.0), |(name, ..)| inputs.float(name))?;
        Ok(Outcome::payload(self.merge(&first, &second, number)?))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        let [_, _, first, second] = T::NAMES;
        let (Some(first), Some(second)) = (inputs.what::<T>(first), inputs.what::<T>(second)) else {
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
