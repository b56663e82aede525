//! `TestCustomIsChanged`, `TestIsChangedWithConstants`: what outside has changed.
//! `TestOutputNodeWithSocketOutput`: an output node in the middle of a graph.

use ebb_engine::node::{Changed, Context, Inputs, Node, NodeError, Outcome};
use ebb_engine::registry::{DuplicateClass, Registry};
use ebb_engine::schema::{Input, Schema};
use ebb_nodes::values::Image;

use crate::picture;

pub(crate) fn register(registry: &mut Registry) -> Result<(), DuplicateClass> {
    registry.add(TestCustomIsChanged)?;
    registry.add(TestIsChangedWithConstants)?;
    registry.add(TestOutputNodeWithSocketOutput)
}

struct TestCustomIsChanged;

impl Node for TestCustomIsChanged {
    fn schema(&self) -> Schema {
        Schema::new("TestCustomIsChanged")
            .category("Testing/Nodes")
            .input(Input::wire("image", "IMAGE"))
            .input(Input::wire("should_change", "BOOL").optional().default(false))
            .output("IMAGE")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        Ok(Outcome::value(inputs.value("image")?.clone()))
    }

    fn changed(&self, inputs: &Inputs) -> Result<Option<Changed>, NodeError> {
        let always = inputs.has("should_change") && inputs.bool("should_change")?;
        Ok(Some(if always { Changed::Always } else { Changed::Fingerprint(String::new()) }))
    }
}

fn scaled(inputs: &Inputs) -> Result<Outcome, NodeError> {
    let value = inputs.float("value")? as f32;
    Ok(Outcome::payload(picture::map(&*inputs.payload::<Image>("image")?, |pixel| pixel * value)?))
}

struct TestIsChangedWithConstants;

impl Node for TestIsChangedWithConstants {
    fn schema(&self) -> Schema {
        Schema::new("TestIsChangedWithConstants")
            .category("Testing/Nodes")
            .input(Input::wire("image", "IMAGE"))
            .input(Input::float("value", 1.0).between(0.0, 10.0))
            .output("IMAGE")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        scaled(inputs)
    }

    fn changed(&self, inputs: &Inputs) -> Result<Option<Changed>, NodeError> {
        // A link has no value yet: only its absence is part of the fingerprint.
        Ok(Some(Changed::Fingerprint(format!("{:?} {:?}", inputs.get("image"), inputs.get("value")))))
    }
}

struct TestOutputNodeWithSocketOutput;

impl Node for TestOutputNodeWithSocketOutput {
    fn schema(&self) -> Schema {
        Schema::new("TestOutputNodeWithSocketOutput")
            .category("Testing/Nodes")
            .input(Input::wire("image", "IMAGE"))
            .input(Input::float("value", 1.0).between(0.0, 10.0))
            .output("IMAGE")
            .output_node()
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        scaled(inputs)
    }
}
