//! `TestExecutionBlocker`, `TestMakeListNode`, and the nodes on accumulations: lists that travel
//! on one wire.

use ebb_engine::node::{Context, Inputs, Node, NodeError, Outcome};
use ebb_engine::registry::{DuplicateClass, Registry};
use ebb_engine::schema::{Input, Schema};
use ebb_engine::value::Value;

pub(crate) fn register(registry: &mut Registry) -> Result<(), DuplicateClass> {
    registry.add(TestExecutionBlocker)?;
    registry.add(TestMakeListNode)?;
    registry.add(TestAccumulateNode)?;
    registry.add(End(true))?;
    registry.add(End(false))?;
    registry.add(TestAccumulationToListNode)?;
    registry.add(TestListToAccumulationNode)?;
    registry.add(TestAccumulationGetLengthNode)?;
    registry.add(TestAccumulationGetItemNode)?;
    registry.add(TestAccumulationSetItemNode)
}

fn schema(class: &str) -> Schema {
    Schema::new(class).category("Testing/Lists")
}

struct TestExecutionBlocker;

impl Node for TestExecutionBlocker {
    fn schema(&self) -> Schema {
        schema("TestExecutionBlocker")
            .input(Input::wire("input", "*"))
            .input(Input::boolean("block", false))
            .input(Input::boolean("verbose", false))
            .named_output("*", "output")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        if !inputs.bool("block")? {
            return Ok(Outcome::value(inputs.value("input")?.clone()));
        }
        let why = inputs.bool("verbose")?.then(|| "Blocked Execution".into());
        Ok(Outcome::values(vec![Value::Blocked(why)]))
    }
}

struct TestMakeListNode;

impl Node for TestMakeListNode {
    fn schema(&self) -> Schema {
        let first = schema("TestMakeListNode").input(Input::wire("value1", "*"));
        (2..=9)
            .fold(first, |schema, i| schema.input(Input::wire(&format!("value{i}"), "*").optional()))
            .list_output("*", "list")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let values = (1..=9).filter_map(|i| inputs.get(&format!("value{i}")).cloned());
        Ok(Outcome::values(vec![Value::list(values.collect())]))
    }
}

struct TestAccumulateNode;

impl Node for TestAccumulateNode {
    fn schema(&self) -> Schema {
        schema("TestAccumulateNode")
            .input(Input::wire("to_add", "*"))
            .input(Input::wire("accumulation", "ACCUMULATION").optional())
            .output("ACCUMULATION")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let mut values = if inputs.has("accumulation") { inputs.list("accumulation")? } else { Vec::new() };
        values.push(inputs.value("to_add")?.clone());
        Ok(Outcome::values(vec![Value::list(values)]))
    }
}

/// `TestAccumulationHeadNode` (true) and `TestAccumulationTailNode`: the first or last element,
/// and the rest.
struct End(bool);

impl Node for End {
    fn schema(&self) -> Schema {
        let class = if self.0 { "TestAccumulationHeadNode" } else { "TestAccumulationTailNode" };
        schema(class)
            .input(Input::wire("accumulation", "ACCUMULATION"))
            .output("ACCUMULATION")
            .named_output("*", "value")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let mut values = inputs.list("accumulation")?;
        if values.is_empty() {
            return Ok(Outcome::values(vec![Value::list(values), Value::plain(serde_json::Value::Null)]));
        }
        let end = values.remove(if self.0 { 0 } else { values.len() - 1 });
        Ok(Outcome::values(vec![Value::list(values), end]))
    }
}

struct TestAccumulationToListNode;

impl Node for TestAccumulationToListNode {
    fn schema(&self) -> Schema {
        schema("TestAccumulationToListNode")
            .input(Input::wire("accumulation", "ACCUMULATION"))
            .list_output("*", "list")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        Ok(Outcome::values(vec![Value::list(inputs.list("accumulation")?)]))
    }
}

struct TestListToAccumulationNode;

impl Node for TestListToAccumulationNode {
    fn schema(&self) -> Schema {
        schema("TestListToAccumulationNode")
            .input(Input::wire("list", "*"))
            .input_is_list()
            .output("ACCUMULATION")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        Ok(Outcome::values(vec![Value::list(inputs.list("list")?)]))
    }
}

struct TestAccumulationGetLengthNode;

impl Node for TestAccumulationGetLengthNode {
    fn schema(&self) -> Schema {
        schema("TestAccumulationGetLengthNode")
            .input(Input::wire("accumulation", "ACCUMULATION"))
            .output("INT")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        Ok(Outcome::value(inputs.list("accumulation")?.len()))
    }
}

/// The place that an index names; negative ones count from the end.
fn place(index: i64, length: usize) -> Result<usize, NodeError> {
    let from_end = if index < 0 { index + length as i64 } else { index };
    usize::try_from(from_end).ok().filter(|place| *place < length).ok_or_else(|| {
        NodeError::input("index", format!("is {index}, but there are {length} values"))
            .exception("IndexError")
    })
}

struct TestAccumulationGetItemNode;

impl Node for TestAccumulationGetItemNode {
    fn schema(&self) -> Schema {
        schema("TestAccumulationGetItemNode")
            .input(Input::wire("accumulation", "ACCUMULATION"))
            .input(Input::int("index", 0))
            .named_output("*", "value")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let values = inputs.list("accumulation")?;
        let place = place(inputs.int("index")?, values.len())?;
        Ok(Outcome::values(vec![values[place].clone()]))
    }
}

struct TestAccumulationSetItemNode;

impl Node for TestAccumulationSetItemNode {
    fn schema(&self) -> Schema {
        schema("TestAccumulationSetItemNode")
            .input(Input::wire("accumulation", "ACCUMULATION"))
            .input(Input::int("index", 0))
            .input(Input::wire("value", "*"))
            .output("ACCUMULATION")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let mut values = inputs.list("accumulation")?;
        let place = place(inputs.int("index")?, values.len())?;
        values[place] = inputs.value("value")?.clone();
        Ok(Outcome::values(vec![Value::list(values)]))
    }
}
