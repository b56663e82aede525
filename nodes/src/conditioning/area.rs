//! Where a prompt speaks: `ConditioningSetArea`, `…Percentage`, `…Strength`, `ConditioningSetMask`.

use ebb_engine::node::{Context, Inputs, Node, NodeError, Outcome};
use ebb_engine::schema::{Input, Schema};
use ebb_sampling::guidance::{Area, Mask as Weights};

use crate::values::{Conditioning, Mask};

fn strength() -> Input {
    Input::float("strength", 1.0).between(0.0, 10.0).option("step", 0.01)
}

/// Sets the area and the strength; a mask that is there no longer cuts the area.
fn with_area(inputs: &Inputs, area: Area) -> Result<Outcome, NodeError> {
    let strength = inputs.float("strength")?;
    let set = inputs.payload::<Conditioning>("conditioning")?.map(|entry| {
        entry.area = Some(area);
        entry.strength = Some(strength);
        if let Some(mask) = &mut entry.mask {
            mask.area_is_its_bounds = false;
        }
    });
    Ok(Outcome::payload(set))
}

/// A rectangle in pixels.
pub(super) struct ConditioningSetArea;

impl Node for ConditioningSetArea {
    fn schema(&self) -> Schema {
        let side = |name| Input::int(name, 64).range(64, 16384).option("step", 8);
        let place = |name| Input::int(name, 0).range(0, 16384).option("step", 8);
        Schema::new("ConditioningSetArea")
            .display("Conditioning (Set Area)")
            .category("conditioning")
            .input(Input::wire("conditioning", "CONDITIONING"))
            .input(side("width"))
            .input(side("height"))
            .input(place("x"))
            .input(place("y"))
            .input(strength())
            .output("CONDITIONING")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let cells = |name| Ok::<_, NodeError>(inputs.size(name)? / 8);
        let (height, width, y, x) = (cells("height")?, cells("width")?, cells("y")?, cells("x")?);
        with_area(inputs, Area::Cells { height, width, y, x })
    }
}

/// A rectangle in shares of the picture.
pub(super) struct ConditioningSetAreaPercentage;

impl Node for ConditioningSetAreaPercentage {
    fn schema(&self) -> Schema {
        let share = |name, default: f64| Input::float(name, default).range(0, 1).option("step", 0.01);
        Schema::new("ConditioningSetAreaPercentage")
            .display("Conditioning (Set Area with Percentage)")
            .category("conditioning")
            .input(Input::wire("conditioning", "CONDITIONING"))
            .input(share("width", 1.0))
            .input(share("height", 1.0))
            .input(share("x", 0.0))
            .input(share("y", 0.0))
            .input(strength())
            .output("CONDITIONING")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let (height, width) = (inputs.float("height")?, inputs.float("width")?);
        let (y, x) = (inputs.float("y")?, inputs.float("x")?);
        with_area(inputs, Area::Share { height, width, y, x })
    }
}

/// How strongly a prompt counts where several speak.
pub(super) struct ConditioningSetAreaStrength;

impl Node for ConditioningSetAreaStrength {
    fn schema(&self) -> Schema {
        Schema::new("ConditioningSetAreaStrength")
            .category("conditioning")
            .input(Input::wire("conditioning", "CONDITIONING"))
            .input(strength())
            .output("CONDITIONING")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let strength = inputs.float("strength")?;
        let set = inputs.payload::<Conditioning>("conditioning")?.map(|e| e.strength = Some(strength));
        Ok(Outcome::payload(set))
    }
}

/// A map of weights.
pub(super) struct ConditioningSetMask;

impl Node for ConditioningSetMask {
    fn schema(&self) -> Schema {
        Schema::new("ConditioningSetMask")
            .display("Conditioning (Set Mask)")
            .category("conditioning")
            .input(Input::wire("conditioning", "CONDITIONING"))
            .input(Input::wire("mask", "MASK"))
            .input(strength())
            .input(Input::combo("set_cond_area", ["default", "mask bounds"]))
            .output("CONDITIONING")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let mask = Weights {
            weights: inputs.payload::<Mask>("mask")?.tensor().clone(),
            strength: inputs.float("strength")?,
            area_is_its_bounds: inputs.str("set_cond_area")? != "default",
        };
        let set = inputs.payload::<Conditioning>("conditioning")?.map(|e| e.mask = Some(mask.clone()));
        Ok(Outcome::payload(set))
    }
}
