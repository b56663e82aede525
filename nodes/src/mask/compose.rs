//! `InvertMask`, `CropMask`, `MaskComposite`.

use ebb_engine::node::{Context, Inputs, Node, NodeError, Outcome};
use ebb_engine::schema::{Input, Schema};

use super::MODULE;
use crate::values::{Mask, OrNode};

fn place(name: &str) -> Input {
    Input::int(name, 0).range(0, 16384).option("step", 1)
}

/// 1 − the mask.
pub(super) struct InvertMask;

impl Node for InvertMask {
    fn schema(&self) -> Schema {
        Schema::new("InvertMask")
            .category("mask")
            .module(MODULE)
            .input(Input::wire("mask", "MASK"))
            .output("MASK")
            .compute()
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let mask = inputs.payload::<Mask>("mask")?;
        Ok(Outcome::payload(Mask::new(mask.tensor().affine(-1.0, 1.0).or_node()?)?))
    }
}

/// A rectangle of a mask.
pub(super) struct CropMask;

impl Node for CropMask {
    fn schema(&self) -> Schema {
        let side = |name| Input::int(name, 512).range(1, 16384).option("step", 1);
        Schema::new("CropMask")
            .category("mask")
            .module(MODULE)
            .input(Input::wire("mask", "MASK"))
            .input(place("x"))
            .input(place("y"))
            .input(side("width"))
            .input(side("height"))
            .output("MASK")
            .compute()
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let mask = inputs.payload::<Mask>("mask")?;
        let from = mask.shape();
        let (x, y) = (inputs.size("x")?, inputs.size("y")?);
        if x >= from.width || y >= from.height {
            return Err(NodeError::input(
                if x >= from.width { "x" } else { "y" },
                format!("({x}, {y}) lies outside of the mask of {}×{}", from.width, from.height),
            ));
        }
        let width = inputs.size("width")?.min(from.width - x);
        let height = inputs.size("height")?.min(from.height - y);
        let part = mask.tensor().narrow(1, y, height).and_then(|t| t.narrow(2, x, width)).or_node()?;
        Ok(Outcome::payload(Mask::new(part)?))
    }
}

/// One mask worked into another at a place.
pub(super) struct MaskComposite;

/// How two values combine. `and`, `or` and `xor` see a value as set when it rounds to something.
fn combine(operation: &str, destination: f32, source: f32) -> f32 {
    let set = |v: f32| v.round_ties_even() != 0.0;
    let flag = |b: bool| f32::from(u8::from(b));
    match operation {
        "multiply" => destination * source,
        "add" => destination + source,
        "subtract" => destination - source,
        "and" => flag(set(destination) && set(source)),
        "or" => flag(set(destination) || set(source)),
        _ => flag(set(destination) != set(source)),
    }
}

impl Node for MaskComposite {
    fn schema(&self) -> Schema {
        Schema::new("MaskComposite")
            .category("mask")
            .module(MODULE)
            .input(Input::wire("destination", "MASK"))
            .input(Input::wire("source", "MASK"))
            .input(place("x"))
            .input(place("y"))
            .input(Input::combo("operation", ["multiply", "add", "subtract", "and", "or", "xor"]))
            .output("MASK")
            .compute()
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let destination = inputs.payload::<Mask>("destination")?;
        let source = inputs.payload::<Mask>("source")?;
        let operation = inputs.str("operation")?;
        let (x, y) = (inputs.size("x")?, inputs.size("y")?);
        let (to, from) = (destination.shape(), source.shape());
        if from.batch != 1 && from.batch < to.batch {
            return Err(NodeError::input(
                "source",
                format!("a batch of {} does not go with a batch of {}", from.batch, to.batch),
            ));
        }
        let mut values = destination.to_vec()?;
        let other = source.to_vec()?;
        let width = from.width.min(to.width.saturating_sub(x));
        let height = from.height.min(to.height.saturating_sub(y));
        for item in 0..to.batch {
            // A batch of one serves every item; others go item by item.
            let partner = if from.batch == 1 { 0 } else { item };
            for row in 0..height {
                let at = (item * to.height + y + row) * to.width + x;
                let with = (partner * from.height + row) * from.width;
                for column in 0..width {
                    values[at + column] = combine(operation, values[at + column], other[with + column]);
                }
            }
        }
        values.iter_mut().for_each(|v| *v = v.clamp(0.0, 1.0));
        Ok(Outcome::payload(Mask::from_vec(values, to)?))
    }
}
