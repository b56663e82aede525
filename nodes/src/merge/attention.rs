//! `UNetSelfAttentionMultiply` and its siblings: factors on the matrices of attention.

use std::sync::Arc;

use ebb_engine::node::{Context, Forecast, Inputs, Node, NodeError, Outcome, Sketch, Sketches};
use ebb_engine::registry::{DuplicateClass, Registry};
use ebb_engine::schema::{Input, Schema};
use ebb_models::source::Source;

use super::mixed::{Mixed, digest};
use crate::values::{Clip, Model};

/// Names of matrices, and the input that says their factor.
type Matrices = [(&'static [&'static str], &'static str); 4];

/// A class of this file.
struct Multiply {
    class: &'static str,
    of: Of,
    matrices: Matrices,
}

#[derive(Clone, Copy, PartialEq)]
enum Of {
    Model,
    Clip,
}

const SELF: Matrices = [
    (&["attn1.to_q."], "q"),
    (&["attn1.to_k."], "k"),
    (&["attn1.to_v."], "v"),
    (&["attn1.to_out.0."], "out"),
];
const CROSS: Matrices = [
    (&["attn2.to_q."], "q"),
    (&["attn2.to_k."], "k"),
    (&["attn2.to_v."], "v"),
    (&["attn2.to_out.0."], "out"),
];
const TEXT: Matrices = [
    (&["self_attn.q_proj."], "q"),
    (&["self_attn.k_proj."], "k"),
    (&["self_attn.v_proj."], "v"),
    (&["self_attn.out_proj."], "out"),
];

pub(super) fn register(registry: &mut Registry) -> Result<(), DuplicateClass> {
    registry.add(Multiply { class: "UNetSelfAttentionMultiply", of: Of::Model, matrices: SELF })?;
    registry.add(Multiply { class: "UNetCrossAttentionMultiply", of: Of::Model, matrices: CROSS })?;
    registry.add(Multiply { class: "CLIPAttentionMultiply", of: Of::Clip, matrices: TEXT })
}

impl Multiply {
    /// The tensors, each times its factor.
    fn scaled(&self, tensors: Arc<dyn Source>, factors: [f64; 4]) -> Arc<dyn Source> {
        let (matrices, digest) = (self.matrices, digest(&self.identity(factors)));
        Arc::new(Mixed::scaled(tensors, digest, move |name| {
            let found = matrices.iter().position(|(names, _)| {
                names.iter().any(|part| {
                    name.rsplit_once('.').is_some_and(|(module, _)| format!("{module}.").ends_with(part))
                })
            });
            found.map_or(1.0, |i| factors[i] as f32)
        }))
    }

    fn identity(&self, factors: [f64; 4]) -> String {
        format!("{} {factors:?}", self.class)
    }

    fn model(&self, model: &Model, factors: [f64; 4]) -> Result<Model, NodeError> {
        let source = self.scaled(model.tensors().source.clone(), factors);
        model.view(source, "attention", &self.identity(factors))
    }

    fn clip(&self, clip: &Clip, factors: [f64; 4]) -> Result<Clip, NodeError> {
        clip.view("attention", &self.identity(factors), |_, _, tensors| {
            Ok(Some(self.scaled(tensors.source.clone(), factors)))
        })
    }
}

impl Node for Multiply {
    fn schema(&self) -> Schema {
        let schema = Schema::new(self.class)
            .category("_for_testing/attention_experiments")
            .module("comfy_extras.nodes_attention_multiply");
        let (name, kind) = match self.of {
            Of::Model => ("model", "MODEL"),
            Of::Clip => ("clip", "CLIP"),
        };
        let factor = |name| Input::float(name, 1.0).between(0.0, 10.0).option("step", 0.01);
        let schema = schema.input(Input::wire(name, kind));
        let mut schema =
            self.matrices.iter().fold(schema, |schema, (_, name)| schema.input(factor(name))).output(kind);
        schema.experimental = true;
        schema.compute()
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let mut factors = [1.0; 4];
        for (factor, (_, name)) in factors.iter_mut().zip(&self.matrices) {
            *factor = inputs.float(name)?;
        }
        Ok(match self.of {
            Of::Model => Outcome::payload(self.model(&*inputs.payload::<Model>("model")?, factors)?),
            Of::Clip => Outcome::payload(self.clip(&*inputs.payload::<Clip>("clip")?, factors)?),
        })
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        let mut factors = [1.0; 4];
        for (factor, (_, name)) in factors.iter_mut().zip(&self.matrices) {
            let Some(found) = inputs.get(name).as_json().and_then(|v| v.as_f64()) else {
                return Ok(Forecast::unknown());
            };
            *factor = found;
        }
        Ok(match self.of {
            Of::Model => match inputs.what::<Model>("model") {
                Some(model) => Forecast::output(Sketch::handle(Arc::new(self.model(&model, factors)?))),
                None => Forecast::unknown(),
            },
            Of::Clip => match inputs.what::<Clip>("clip") {
                Some(clip) => Forecast::output(Sketch::handle(Arc::new(self.clip(&clip, factors)?))),
                None => Forecast::unknown(),
            },
        })
    }
}
