//! `ModelSampling…`: another relation between a model and noise than its family's.

use std::sync::Arc;

use ebb_engine::node::{Context, Forecast, Inputs, Node, NodeError, Outcome, Sketch, Sketches};
use ebb_engine::registry::{DuplicateClass, Registry};
use ebb_engine::schema::{Input, Schema};
use ebb_sampling::ModelSampling;
use ebb_sampling::model_sampling::{
    Cascade, ContinuousEdm, ContinuousV, Discrete, Distilled, Prediction, flux_shift_for_size,
};

use crate::values::Model;

const MODULE: &str = "comfy_extras.nodes_model_advanced";

/// A class of this file: what it is told, and the relation that this means.
struct Relation {
    class: &'static str,
    inputs: fn(Schema) -> Schema,
    sampling: fn(&Inputs) -> Result<ModelSampling, NodeError>,
}

pub(super) fn register(registry: &mut Registry) -> Result<(), DuplicateClass> {
    registry.add(Relation {
        class: "ModelSamplingDiscrete",
        inputs: |schema| {
            let kinds = ["eps", "v_prediction", "lcm", "x0", "img_to_img"];
            schema.input(Input::combo("sampling", kinds)).input(Input::boolean("zsnr", false))
        },
        sampling: discrete,
    })?;
    registry.add(Relation {
        class: "ModelSamplingContinuousEDM",
        inputs: |schema| {
            let kinds = ["v_prediction", "edm", "edm_playground_v2.5", "eps", "cosmos_rflow"];
            sigmas(schema.input(Input::combo("sampling", kinds)), 120.0, 0.002)
        },
        sampling: continuous_edm,
    })?;
    registry.add(Relation {
        class: "ModelSamplingContinuousV",
        inputs: |schema| sigmas(schema.input(Input::combo("sampling", ["v_prediction"])), 500.0, 0.03),
        sampling: |inputs| {
            let (low, high) = range(inputs)?;
            Ok(ModelSampling::new(Prediction::V, ContinuousV::new(low, high)))
        },
    })?;
    registry.add(Relation {
        class: "ModelSamplingStableCascade",
        inputs: |schema| schema.input(shift("shift", 2.0)),
        sampling: |inputs| Ok(ModelSampling::new(Prediction::EPS, Cascade::new(inputs.float("shift")?))),
    })?;
    registry.add(Relation {
        class: "ModelSamplingSD3",
        inputs: |schema| schema.input(shift("shift", 3.0)),
        sampling: |inputs| Ok(ModelSampling::flow(inputs.float("shift")?, 1000.0)),
    })?;
    registry.add(Relation {
        class: "ModelSamplingAuraFlow",
        inputs: |schema| schema.input(shift("shift", 1.73)),
        sampling: |inputs| Ok(ModelSampling::flow(inputs.float("shift")?, 1.0)),
    })?;
    registry.add(Relation {
        class: "ModelSamplingFlux",
        inputs: |schema| {
            let side = |name| Input::int(name, 1024).range(16, 16384).option("step", 8);
            let schema = schema.input(shift("max_shift", 1.15)).input(shift("base_shift", 0.5));
            schema.input(side("width")).input(side("height"))
        },
        sampling: |inputs| {
            let (width, height) = (inputs.size("width")?, inputs.size("height")?);
            let (base, max) = (inputs.float("base_shift")?, inputs.float("max_shift")?);
            Ok(ModelSampling::flux(flux_shift_for_size(width, height, base, max)))
        },
    })
}

fn shift(name: &str, default: f64) -> Input {
    Input::float(name, default).between(0.0, 100.0).option("step", 0.01)
}

fn sigmas(schema: Schema, max: f64, min: f64) -> Schema {
    let sigma = |name, default| {
        Input::float(name, default).between(0.0, 1000.0).option("step", 0.001).option("round", false)
    };
    schema.input(sigma("sigma_max", max)).input(sigma("sigma_min", min))
}

/// Both ends of a range of sigmas, whose logarithms must exist.
fn range(inputs: &Inputs) -> Result<(f64, f64), NodeError> {
    let (low, high) = (inputs.float("sigma_min")?, inputs.float("sigma_max")?);
    if low > 0.0 && low < high {
        return Ok((low, high));
    }
    Err(NodeError::input(
        "sigma_min",
        format!("is {low}; sigmas from above 0 up to sigma_max ({high}) are needed"),
    ))
}

fn discrete(inputs: &Inputs) -> Result<ModelSampling, NodeError> {
    let plain = Discrete::default();
    let levels = if inputs.bool("zsnr")? { plain.zero_terminal_snr() } else { plain };
    Ok(match inputs.str("sampling")? {
        "eps" => ModelSampling::new(Prediction::EPS, levels),
        "v_prediction" => ModelSampling::new(Prediction::V, levels),
        "lcm" => ModelSampling::new(Prediction::Lcm, Distilled::new(&levels)),
        "x0" => ModelSampling::new(Prediction::X0, levels),
        "img_to_img" => ModelSampling::new(Prediction::ImageToImage, levels),
        other => return Err(NodeError::input("sampling", format!("'{other}' is not known"))),
    })
}

fn continuous_edm(inputs: &Inputs) -> Result<ModelSampling, NodeError> {
    let prediction = match inputs.str("sampling")? {
        "v_prediction" => Prediction::V,
        "edm" => Prediction::Edm { sigma_data: 0.5 },
        "eps" => Prediction::EPS,
        other => {
            let said = format!("'{other}' is for a family that does not run here");
            return Err(NodeError::input("sampling", said));
        }
    };
    let (low, high) = range(inputs)?;
    Ok(ModelSampling::new(prediction, ContinuousEdm::new(low, high)))
}

impl Node for Relation {
    fn schema(&self) -> Schema {
        let schema = Schema::new(self.class).display(self.class).category("advanced/model").module(MODULE);
        (self.inputs)(schema.input(Input::wire("model", "MODEL"))).output("MODEL")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let mut model = (*inputs.payload::<Model>("model")?).clone();
        model.sampling = (self.sampling)(inputs)?;
        Ok(Outcome::payload(model))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        let Some(model) = inputs.what::<Model>("model") else { return Ok(Forecast::unknown()) };
        // The same weights, the same sizes.
        Ok(Forecast::output(Sketch::handle(Arc::clone(&model))))
    }
}
