//! `FeatherMask`, `GrowMask`, `ThresholdMask`.

use ebb_engine::node::{Context, Inputs, Node, NodeError, Outcome};
use ebb_engine::schema::{Input, Schema};

use super::MODULE;
use crate::values::Mask;

/// A mask that fades out towards its sides.
pub(super) struct FeatherMask;

impl Node for FeatherMask {
    fn schema(&self) -> Schema {
        let side = |name| Input::int(name, 0).range(0, 16384).option("step", 1);
        Schema::new("FeatherMask")
            .category("mask")
            .module(MODULE)
            .input(Input::wire("mask", "MASK"))
            .input(side("left"))
            .input(side("top"))
            .input(side("right"))
            .input(side("bottom"))
            .output("MASK")
            .compute()
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let mask = inputs.payload::<Mask>("mask")?;
        let shape = mask.shape();
        let side = |name, most: usize| Ok::<_, NodeError>(inputs.size(name)?.min(most));
        let (left, right) = (side("left", shape.width)?, side("right", shape.width)?);
        let (top, bottom) = (side("top", shape.height)?, side("bottom", shape.height)?);
        // Linear from 1/n at the side to 1 at n cells from it; two sides that meet multiply.
        let ramp = |distance: usize, n: usize| {
            if distance < n { (distance + 1) as f32 / n as f32 } else { 1.0 }
        };
        // ComfyUI counts the cells at the far side as Python counts from a list's end, where 0 is the first: the ramp
        // begins at 2/n, and its 1/n falls on the near side's first cell. Workflows look the way they do with it.
        let far = |place: usize, length: usize, n: usize| {
            let distance = if place == 0 { 0 } else { length - place };
            ramp(distance, n)
        };
        let mut values = mask.to_vec()?;
        for (i, value) in values.iter_mut().enumerate() {
            let (y, x) = (i / shape.width % shape.height, i % shape.width);
            let across = ramp(x, left) * far(x, shape.width, right);
            *value *= across * ramp(y, top) * far(y, shape.height, bottom);
        }
        Ok(Outcome::payload(Mask::from_vec(values, shape)?))
    }
}

/// A mask that is larger (or, by a negative number, smaller) by so many cells.
pub(super) struct GrowMask;

/// Grey dilation (or erosion) by one cell: the largest (smallest) value under a 3×3 kernel, its
/// corners left out where `tapered`. Beyond the side the values mirror.
fn grow_once(
    values: &[f32],
    (height, width): (usize, usize),
    tapered: bool,
    pick: fn(f32, f32) -> f32,
) -> Vec<f32> {
    // One cell beyond a side mirrors to the side's own cell.
    let near = |i: usize, d: isize, n: usize| i.saturating_add_signed(d).min(n - 1);
    let mut out = vec![0f32; values.len()];
    for y in 0..height {
        for x in 0..width {
            let mut best = values[y * width + x];
            for dy in -1isize..=1 {
                for dx in -1isize..=1 {
                    if !(tapered && dx != 0 && dy != 0) {
                        best = pick(best, values[near(y, dy, height) * width + near(x, dx, width)]);
                    }
                }
            }
            out[y * width + x] = best;
        }
    }
    out
}

impl Node for GrowMask {
    fn schema(&self) -> Schema {
        Schema::new("GrowMask")
            .category("mask")
            .module(MODULE)
            .input(Input::wire("mask", "MASK"))
            .input(Input::int("expand", 0).range(-16384, 16384).option("step", 1))
            .input(Input::boolean("tapered_corners", true))
            .output("MASK")
            .compute()
    }

    fn execute(&self, context: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let mask = inputs.payload::<Mask>("mask")?;
        let expand = inputs.int("expand")?;
        let tapered = inputs.bool("tapered_corners")?;
        let shape = mask.shape();
        let pick = if expand < 0 { f32::min } else { f32::max };
        let mut out = Vec::new();
        for plane in mask.to_vec()?.chunks_exact((shape.height * shape.width).max(1)) {
            let mut plane = plane.to_vec();
            for _ in 0..expand.unsigned_abs() {
                context.check()?;
                let next = grow_once(&plane, (shape.height, shape.width), tapered, pick);
                // Once nothing changes nothing ever will.
                if next == plane {
                    break;
                }
                plane = next;
            }
            out.extend(plane);
        }
        Ok(Outcome::payload(Mask::from_vec(out, shape)?))
    }
}

/// 1 where the mask is above a value, else 0.
pub(super) struct ThresholdMask;

impl Node for ThresholdMask {
    fn schema(&self) -> Schema {
        Schema::new("ThresholdMask")
            .category("mask")
            .module(MODULE)
            .input(Input::wire("mask", "MASK"))
            .input(Input::float("value", 0.5).between(0.0, 1.0).option("step", 0.01))
            .output("MASK")
            .compute()
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let mask = inputs.payload::<Mask>("mask")?;
        let limit = inputs.float("value")? as f32;
        let values = mask.to_vec()?.into_iter().map(|v| f32::from(u8::from(v > limit))).collect();
        Ok(Outcome::payload(Mask::from_vec(values, mask.shape())?))
    }
}
