//! `StubImage`, `StubConstantImage`, `StubMask`, `StubInt`, `StubFloat`.

use ebb_engine::node::{Context, Inputs, Node, NodeError, Outcome};
use ebb_engine::registry::{DuplicateClass, Registry};
use ebb_engine::schema::{Input, Schema};

use crate::picture;

pub(crate) fn register(registry: &mut Registry) -> Result<(), DuplicateClass> {
    registry.add(StubImage)?;
    registry.add(StubConstantImage)?;
    registry.add(StubMask)?;
    registry.add(StubInt)?;
    registry.add(StubFloat)
}

const SIDE: i64 = 1024 * 1024 * 1024;

fn sized(schema: Schema) -> Schema {
    schema
        .category("Testing/Stub Nodes")
        .input(Input::int("height", 512).range(1, SIDE).option("step", 1))
        .input(Input::int("width", 512).range(1, SIDE).option("step", 1))
        .input(Input::int("batch_size", 1).range(1, SIDE).option("step", 1))
}

fn size(inputs: &Inputs) -> Result<(usize, usize, usize), NodeError> {
    Ok((inputs.size("batch_size")?, inputs.size("height")?, inputs.size("width")?))
}

fn share(name: &str) -> Input {
    Input::float(name, 0.5).between(0.0, 1.0).option("step", 0.01)
}

struct StubImage;

impl Node for StubImage {
    fn schema(&self) -> Schema {
        let content = Input::combo("content", ["WHITE", "BLACK", "NOISE"]);
        sized(Schema::new("StubImage").input(content)).output("IMAGE")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let (batch, height, width) = size(inputs)?;
        let image = match inputs.str("content")? {
            "WHITE" => picture::constant(1.0, batch, height, width),
            "BLACK" => picture::constant(0.0, batch, height, width),
            _ => {
                let now = std::time::UNIX_EPOCH.elapsed().map_or(1, |time| time.as_nanos() as u64);
                picture::noise(now, batch, height, width)
            }
        };
        Ok(Outcome::payload(image?))
    }
}

struct StubConstantImage;

impl Node for StubConstantImage {
    fn schema(&self) -> Schema {
        sized(Schema::new("StubConstantImage").input(share("value"))).output("IMAGE")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let (batch, height, width) = size(inputs)?;
        Ok(Outcome::payload(picture::constant(inputs.float("value")? as f32, batch, height, width)?))
    }
}

struct StubMask;

impl Node for StubMask {
    fn schema(&self) -> Schema {
        sized(Schema::new("StubMask").input(share("value"))).output("MASK")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let (batch, height, width) = size(inputs)?;
        Ok(Outcome::payload(picture::mask(inputs.float("value")? as f32, batch, height, width)?))
    }
}

struct StubInt;

impl Node for StubInt {
    fn schema(&self) -> Schema {
        let value = Input::int("value", 0).range(i64::from(i32::MIN), i64::from(i32::MAX));
        Schema::new("StubInt").category("Testing/Stub Nodes").input(value).output("INT")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        Ok(Outcome::value(inputs.int("value")?))
    }
}

struct StubFloat;

impl Node for StubFloat {
    fn schema(&self) -> Schema {
        let value = Input::float("value", 0.0).between(-1.0e38, 1.0e38).option("step", 0.01);
        Schema::new("StubFloat").category("Testing/Stub Nodes").input(value).output("FLOAT")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        Ok(Outcome::value(inputs.float("value")?))
    }
}
