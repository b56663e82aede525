//! Nodes that change guidance: before, where and after the sides are combined.

use std::sync::Arc;

use ebb_engine::node::{Context, Forecast, Inputs, Node, NodeError, Outcome, Sketch, Sketches};
use ebb_engine::registry::{DuplicateClass, Registry};
use ebb_engine::schema::{Input, Schema};
use ebb_sampling::guidance::{Hooks, functions};

use crate::values::Model;

pub(super) fn register(registry: &mut Registry) -> Result<(), DuplicateClass> {
    registry.add(RescaleCFG)?;
    registry.add(DifferentialDiffusion)?;
    registry.add(CFGNorm)?;
    registry.add(CFGZeroStar)?;
    registry.add(VideoLinearCFGGuidance)?;
    registry.add(VideoTriangleCFGGuidance)
}

/// The model with its hooks changed; weights stay shared.
fn hooked(inputs: &Inputs, change: impl FnOnce(&mut Hooks)) -> Result<Outcome, NodeError> {
    let mut model = (*inputs.payload::<Model>("model")?).clone();
    change(Arc::make_mut(&mut model.hooks));
    Ok(Outcome::payload(model))
}

/// Hooks need no memory of note: plans reckon with the model as it was.
fn unchanged(inputs: &Sketches) -> Result<Forecast, NodeError> {
    let Some(model) = inputs.what::<Model>("model") else { return Ok(Forecast::unknown()) };
    Ok(Forecast::output(Sketch::handle(model)))
}

/// Guidance whose result keeps the deviation of the positive side.
struct RescaleCFG;

impl Node for RescaleCFG {
    fn schema(&self) -> Schema {
        Schema::new("RescaleCFG")
            .category("advanced/model")
            .module("comfy_extras.nodes_model_advanced")
            .input(Input::wire("model", "MODEL"))
            .input(Input::float("multiplier", 0.7).between(0.0, 1.0).option("step", 0.01))
            .output("MODEL")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let multiplier = inputs.float("multiplier")?;
        hooked(inputs, |hooks| hooks.cfg = Some(functions::rescale_cfg(multiplier)))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        unchanged(inputs)
    }
}

/// Reads a mask's grey values as times.
struct DifferentialDiffusion;

impl Node for DifferentialDiffusion {
    fn schema(&self) -> Schema {
        Schema::new("DifferentialDiffusion")
            .display("Differential Diffusion")
            .category("_for_testing")
            .module("comfy_extras.nodes_differential_diffusion")
            .input(Input::wire("model", "MODEL"))
            .input(Input::float("strength", 1.0).between(0.0, 1.0).option("step", 0.01).optional())
            .output("MODEL")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let strength = inputs.get("strength").map_or(Ok(1.0), |_| inputs.float("strength"))?;
        hooked(inputs, |hooks| hooks.denoise_mask = Some(functions::differential_diffusion(strength)))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        unchanged(inputs)
    }
}

/// Keeps guidance from making cells longer than the positive side sees them.
struct CFGNorm;

impl Node for CFGNorm {
    fn schema(&self) -> Schema {
        Schema::new("CFGNorm")
            .category("advanced/guidance")
            .module("comfy_extras.nodes_cfg")
            .input(Input::wire("model", "MODEL"))
            .input(Input::float("strength", 1.0).between(0.0, 100.0).option("step", 0.01))
            .named_output("MODEL", "patched_model")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let strength = inputs.float("strength")?;
        hooked(inputs, |hooks| hooks.post_cfg.push(functions::cfg_norm(strength)))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        unchanged(inputs)
    }
}

/// Scales the negative side to the positive one before guiding.
struct CFGZeroStar;

impl Node for CFGZeroStar {
    fn schema(&self) -> Schema {
        Schema::new("CFGZeroStar")
            .category("advanced/guidance")
            .module("comfy_extras.nodes_cfg")
            .input(Input::wire("model", "MODEL"))
            .named_output("MODEL", "patched_model")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        hooked(inputs, |hooks| hooks.post_cfg.push(functions::cfg_zero_star()))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        unchanged(inputs)
    }
}

/// A scale of guidance that rises from the first frame to the last.
struct VideoLinearCFGGuidance;

impl Node for VideoLinearCFGGuidance {
    fn schema(&self) -> Schema {
        Schema::new("VideoLinearCFGGuidance")
            .category("sampling/video_models")
            .module("comfy_extras.nodes_video_model")
            .input(Input::wire("model", "MODEL"))
            .input(Input::float("min_cfg", 1.0).between(0.0, 100.0).option("step", 0.5).option("round", 0.01))
            .output("MODEL")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let lowest = inputs.float("min_cfg")?;
        hooked(inputs, |hooks| hooks.cfg = Some(functions::linear_cfg(lowest)))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        unchanged(inputs)
    }
}

/// A scale of guidance that rises to the middle frame and falls again.
struct VideoTriangleCFGGuidance;

impl Node for VideoTriangleCFGGuidance {
    fn schema(&self) -> Schema {
        Schema::new("VideoTriangleCFGGuidance")
            .category("sampling/video_models")
            .module("comfy_extras.nodes_video_model")
            .input(Input::wire("model", "MODEL"))
            .input(Input::float("min_cfg", 1.0).between(0.0, 100.0).option("step", 0.5).option("round", 0.01))
            .output("MODEL")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let lowest = inputs.float("min_cfg")?;
        hooked(inputs, |hooks| hooks.cfg = Some(functions::triangle_cfg(lowest)))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        unchanged(inputs)
    }
}
