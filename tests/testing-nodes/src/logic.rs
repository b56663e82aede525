//! `TestIntMathOperation`, `TestIntConditions`, `TestFloatConditions`, `TestStringConditions`,
//! `TestToBoolNode`, `TestBoolOperationNode`.

use std::cmp::Ordering;

use ebb_engine::node::{Context, Inputs, Node, NodeError, Outcome};
use ebb_engine::registry::{DuplicateClass, Registry};
use ebb_engine::schema::{Input, Schema};
use serde_json::Value as Json;

pub(crate) fn register(registry: &mut Registry) -> Result<(), DuplicateClass> {
    registry.add(TestIntMathOperation)?;
    registry.add(TestIntConditions)?;
    registry.add(TestFloatConditions)?;
    registry.add(TestStringConditions)?;
    registry.add(TestToBoolNode)?;
    registry.add(TestBoolOperationNode)
}

const COMPARISONS: [&str; 6] = ["==", "!=", "<", ">", "<=", ">="];

fn schema(class: &str, inputs: [Input; 2], operations: &[&str], output: &str) -> Schema {
    let [a, b] = inputs;
    Schema::new(class)
        .category("Testing/Logic")
        .input(a)
        .input(b)
        .input(Input::combo("operation", operations))
        .output(output)
}

fn compare(operation: &str, ordering: Option<Ordering>) -> bool {
    match operation {
        "==" => ordering == Some(Ordering::Equal),
        "!=" => ordering != Some(Ordering::Equal),
        "<" => ordering.is_some_and(Ordering::is_lt),
        ">" => ordering.is_some_and(Ordering::is_gt),
        "<=" => ordering.is_some_and(Ordering::is_le),
        _ => ordering.is_some_and(Ordering::is_ge),
    }
}

struct TestIntMathOperation;

impl Node for TestIntMathOperation {
    fn schema(&self) -> Schema {
        let operations = ["add", "subtract", "multiply", "divide", "modulo", "power"];
        schema("TestIntMathOperation", [Input::int("a", 0), Input::int("b", 0)], &operations, "INT")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let (a, b) = (inputs.int("a")?, inputs.int("b")?);
        // Division and remainder go down, as Python's do.
        let down = |a: i64, b: i64| {
            let quotient = a.checked_div(b)?;
            Some(if a % b != 0 && (a < 0) != (b < 0) { quotient - 1 } else { quotient })
        };
        let result = match inputs.str("operation")? {
            "add" => a.checked_add(b),
            "subtract" => a.checked_sub(b),
            "multiply" => a.checked_mul(b),
            "divide" => down(a, b),
            "modulo" => down(a, b).map(|quotient| a - b * quotient),
            _ => u32::try_from(b).ok().and_then(|b| a.checked_pow(b)),
        };
        let message = format!("{a} and {b}: the result is not a number of 64 bits");
        Ok(Outcome::value(result.ok_or_else(|| NodeError::input("b", message))?))
    }
}

struct TestIntConditions;

impl Node for TestIntConditions {
    fn schema(&self) -> Schema {
        let inputs = [Input::int("a", 0), Input::int("b", 0)];
        schema("TestIntConditions", inputs, &COMPARISONS, "BOOLEAN")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let ordering = inputs.int("a")?.partial_cmp(&inputs.int("b")?);
        Ok(Outcome::value(compare(inputs.str("operation")?, ordering)))
    }
}

struct TestFloatConditions;

impl Node for TestFloatConditions {
    fn schema(&self) -> Schema {
        let inputs = [Input::float("a", 0.0), Input::float("b", 0.0)];
        schema("TestFloatConditions", inputs, &COMPARISONS, "BOOLEAN")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let ordering = inputs.float("a")?.partial_cmp(&inputs.float("b")?);
        Ok(Outcome::value(compare(inputs.str("operation")?, ordering)))
    }
}

struct TestStringConditions;

impl Node for TestStringConditions {
    fn schema(&self) -> Schema {
        let operations = ["a == b", "a != b", "a IN b", "a BEGINSWITH b", "a ENDSWITH b"];
        let inputs = [Input::string("a", ""), Input::string("b", "")];
        schema("TestStringConditions", inputs, &operations, "BOOLEAN")
            .input(Input::boolean("case_sensitive", true))
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let (mut a, mut b) = (inputs.str("a")?.to_owned(), inputs.str("b")?.to_owned());
        if !inputs.bool("case_sensitive")? {
            (a, b) = (a.to_lowercase(), b.to_lowercase());
        }
        Ok(Outcome::value(match inputs.str("operation")? {
            "a == b" => a == b,
            "a != b" => a != b,
            "a IN b" => b.contains(&a),
            "a BEGINSWITH b" => a.starts_with(&b),
            _ => a.ends_with(&b),
        }))
    }
}

struct TestToBoolNode;

impl Node for TestToBoolNode {
    fn schema(&self) -> Schema {
        Schema::new("TestToBoolNode")
            .category("Testing/Logic")
            .input(Input::wire("value", "*"))
            .input(Input::boolean("invert", false).optional())
            .output("BOOLEAN")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let truth = match inputs.value("value")?.as_json() {
            None => true,
            Some(Json::Null) => false,
            Some(Json::Bool(b)) => *b,
            Some(Json::Number(n)) => n.as_f64() != Some(0.0),
            Some(Json::String(text)) => !text.is_empty(),
            Some(Json::Array(items)) => !items.is_empty(),
            Some(Json::Object(map)) => !map.is_empty(),
        };
        let invert = inputs.has("invert") && inputs.bool("invert")?;
        Ok(Outcome::value(truth != invert))
    }
}

struct TestBoolOperationNode;

impl Node for TestBoolOperationNode {
    fn schema(&self) -> Schema {
        Schema::new("TestBoolOperationNode")
            .category("Testing/Logic")
            .input(Input::boolean("a", false))
            .input(Input::boolean("b", false))
            .input(Input::combo("op", ["a AND b", "a OR b", "a XOR b", "NOT a"]))
            .output("BOOLEAN")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let (a, b) = (inputs.bool("a")?, inputs.bool("b")?);
        Ok(Outcome::value(match inputs.str("op")? {
            "a AND b" => a && b,
            "a OR b" => a || b,
            "a XOR b" => a != b,
            _ => !a,
        }))
    }
}
