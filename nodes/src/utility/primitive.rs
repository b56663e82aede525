//! Values as nodes: what a workflow sets once and reads in several places.

use ebb_engine::node::{Context, Forecast, Inputs, Node, NodeError, Outcome, Sketches};
use ebb_engine::registry::{DuplicateClass, Registry};
use ebb_engine::schema::{Input, InputType, Schema};

pub(super) fn register(registry: &mut Registry) -> Result<(), DuplicateClass> {
    registry.add(PrimitiveString)?;
    registry.add(PrimitiveStringMultiline)?;
    registry.add(PrimitiveInt)?;
    registry.add(PrimitiveFloat)?;
    registry.add(PrimitiveBoolean)
}

/// Text.
struct PrimitiveString;

impl Node for PrimitiveString {
    fn schema(&self) -> Schema {
        Schema::new("PrimitiveString")
            .display("String")
            .category("utils/primitive")
            .module("comfy_extras.nodes_primitive")
            .input(Input::new("value", InputType::String).option("multiline", false))
            .output("STRING")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        Ok(Outcome::value(inputs.value("value")?.clone()))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        Ok(Forecast::output(inputs.get("value").clone()))
    }
}

/// Text of several lines.
struct PrimitiveStringMultiline;

impl Node for PrimitiveStringMultiline {
    fn schema(&self) -> Schema {
        Schema::new("PrimitiveStringMultiline")
            .display("String (Multiline)")
            .category("utils/primitive")
            .module("comfy_extras.nodes_primitive")
            .input(Input::new("value", InputType::String).option("multiline", true))
            .output("STRING")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        Ok(Outcome::value(inputs.value("value")?.clone()))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        Ok(Forecast::output(inputs.get("value").clone()))
    }
}

/// A whole number.
struct PrimitiveInt;

impl Node for PrimitiveInt {
    fn schema(&self) -> Schema {
        Schema::new("PrimitiveInt")
            .display("Int")
            .category("utils/primitive")
            .module("comfy_extras.nodes_primitive")
            .input(
                Input::new("value", InputType::Int)
                    .range(-i64::MAX, i64::MAX)
                    .option("control_after_generate", true),
            )
            .output("INT")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        Ok(Outcome::value(inputs.value("value")?.clone()))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        Ok(Forecast::output(inputs.get("value").clone()))
    }
}

/// A number.
struct PrimitiveFloat;

impl Node for PrimitiveFloat {
    fn schema(&self) -> Schema {
        Schema::new("PrimitiveFloat")
            .display("Float")
            .category("utils/primitive")
            .module("comfy_extras.nodes_primitive")
            .input(
                Input::new("value", InputType::Float).between(-9.223372036854776e+18, 9.223372036854776e+18),
            )
            .output("FLOAT")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        Ok(Outcome::value(inputs.value("value")?.clone()))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        Ok(Forecast::output(inputs.get("value").clone()))
    }
}

/// True or false.
struct PrimitiveBoolean;

impl Node for PrimitiveBoolean {
    fn schema(&self) -> Schema {
        Schema::new("PrimitiveBoolean")
            .display("Boolean")
            .category("utils/primitive")
            .module("comfy_extras.nodes_primitive")
            .input(Input::new("value", InputType::Boolean))
            .output("BOOLEAN")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        Ok(Outcome::value(inputs.value("value")?.clone()))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        Ok(Forecast::output(inputs.get("value").clone()))
    }
}
