//! `TestCustomValidation1` to `5`: validators of every kind.

use ebb_engine::node::{Context, Inputs, Node, NodeError, Outcome, ValidatorScope, Verdict};
use ebb_engine::registry::{DuplicateClass, Registry};
use ebb_engine::schema::{Input, Schema};
use ebb_engine::value::Value;
use ebb_nodes::values::Image;
use serde_json::Value as Json;

use crate::picture;

pub(crate) fn register(registry: &mut Registry) -> Result<(), DuplicateClass> {
    for kind in [Kind::Values, Kind::Types, Kind::TypeSets, Kind::Floats, Kind::Keywords] {
        registry.add(TestCustomValidation(kind))?;
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// 1: looks at the two values; links are matched by the engine.
    Values,
    /// 2: looks at the types that links bring as well, so that the engine does not.
    Types,
    /// 3: looks at the types alone, as sets.
    TypeSets,
    /// 4: looks at values that are declared as floats.
    Floats,
    /// 5: looks at everything, so that the engine checks no range.
    Keywords,
}

struct TestCustomValidation(Kind);

fn refuse(reason: impl Into<String>) -> Verdict {
    Verdict::Refuse(Some(reason.into()))
}

impl TestCustomValidation {
    fn values(inputs: &Inputs) -> Verdict {
        for name in ["input1", "input2"] {
            if let Some(value) = inputs.get(name)
                && !value.as_json().is_some_and(Json::is_f64)
            {
                return refuse(format!("Invalid type of {name}: {}", value.type_name()));
            }
        }
        Verdict::Accept
    }

    fn types(link_types: &[(String, String)]) -> Verdict {
        let wrong = link_types.iter().find(|(_, kind)| kind != "IMAGE" && kind != "FLOAT");
        wrong.map_or(Verdict::Accept, |(name, kind)| refuse(format!("Invalid type of {name}: {kind}")))
    }

    fn type_sets(link_types: &[(String, String)]) -> Verdict {
        let fits = |kind: &str| kind == "*" || kind.split(',').all(|kind| ["IMAGE", "FLOAT"].contains(&kind));
        match link_types.iter().find(|(_, kind)| !fits(kind)) {
            Some((name, kind)) => refuse(format!("Invalid type of {name}: {kind} (expected IMAGE,FLOAT)")),
            None => Verdict::Accept,
        }
    }
}

impl Node for TestCustomValidation {
    fn schema(&self) -> Schema {
        let number = match self.0 {
            Kind::Values => 1,
            Kind::Types => 2,
            Kind::TypeSets => 3,
            Kind::Floats => 4,
            Kind::Keywords => 5,
        };
        let input = |name| match self.0 {
            Kind::Floats => Input::new(name, ebb_engine::schema::InputType::Float),
            Kind::Keywords => Input::new(name, ebb_engine::schema::InputType::Float).between(0.0, 1.0),
            _ => Input::wire(name, "IMAGE,FLOAT"),
        };
        Schema::new(format!("TestCustomValidation{number}"))
            .category("Testing/Nodes")
            .input(input("input1"))
            .input(input("input2"))
            .output("IMAGE")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let float = |name| match inputs.get(name) {
            Some(Value::Plain(_)) => inputs.float(name).map(Some),
            _ => Ok(None),
        };
        let image = match (float("input1")?, float("input2")?) {
            (Some(a), Some(b)) => picture::constant((a * b) as f32, 1, 512, 512)?,
            (Some(a), None) => picture::map(&*inputs.payload::<Image>("input2")?, |pixel| pixel * a as f32)?,
            (None, Some(b)) => picture::map(&*inputs.payload::<Image>("input1")?, |pixel| pixel * b as f32)?,
            (None, None) => {
                let (a, b) = (inputs.payload::<Image>("input1")?, inputs.payload::<Image>("input2")?);
                picture::same_shape(&a, &b)?;
                let product = a.to_vec()?.iter().zip(b.to_vec()?).map(|(a, b)| a * b).collect();
                Image::from_vec(product, a.shape())?
            }
        };
        Ok(Outcome::payload(image))
    }

    fn validator(&self) -> Option<ValidatorScope> {
        let both = || vec!["input1".to_owned(), "input2".to_owned()];
        Some(match self.0 {
            Kind::Values | Kind::Floats => ValidatorScope { inputs: both(), ..ValidatorScope::default() },
            Kind::Types => ValidatorScope { inputs: both(), link_types: true, ..ValidatorScope::default() },
            Kind::TypeSets => ValidatorScope { link_types: true, ..ValidatorScope::default() },
            Kind::Keywords => ValidatorScope { all_inputs: true, ..ValidatorScope::default() },
        })
    }

    fn validate(&self, inputs: &Inputs, link_types: &[(String, String)]) -> Verdict {
        match self.0 {
            Kind::Values | Kind::Floats => Self::values(inputs),
            Kind::Types => match Self::values(inputs) {
                Verdict::Accept => Self::types(link_types),
                refused @ Verdict::Refuse(_) => refused,
            },
            Kind::TypeSets => Self::type_sets(link_types),
            Kind::Keywords => match inputs.get("input2").and_then(Value::as_json).and_then(Json::as_f64) {
                Some(7.0) => refuse("7s are not allowed. I've never liked 7s."),
                _ => Verdict::Accept,
            },
        }
    }
}
