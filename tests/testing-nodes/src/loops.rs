//! `TestWhileLoopOpen` and `Close`, `TestForLoopOpen` and `Close`: loops as expansions that copy
//! what stands between their ends.

use std::collections::{HashMap, HashSet};

use ebb_engine::node::{Context, Inputs, Node, NodeError, Outcome};
use ebb_engine::registry::{DuplicateClass, Registry};
use ebb_engine::schema::{Hidden, Input, Schema};
use ebb_engine::value::Value;
use ebb_engine::workflow::{InputValue, Link, NodeId, Workflow, WorkflowNode};
use serde_json::{Value as Json, json};

use crate::expansion::Subgraph;

pub(crate) fn register(registry: &mut Registry) -> Result<(), DuplicateClass> {
    registry.add(TestWhileLoopOpen)?;
    registry.add(TestWhileLoopClose)?;
    registry.add(TestForLoopOpen)?;
    registry.add(TestForLoopClose)
}

/// Values that a loop carries along.
const CARRIED: usize = 5;

/// The id of the closing node's own copy.
const RECURSE: &str = "Recurse";

fn initial(i: usize) -> String {
    format!("initial_value{i}")
}

fn carried(mut schema: Schema, from: usize, raw: bool) -> Schema {
    for i in from..CARRIED {
        let input = Input::wire(&initial(i), "*").optional();
        schema = schema.input(if raw { input.raw_link() } else { input });
    }
    schema
}

fn outputs(mut schema: Schema, from: usize) -> Schema {
    for i in from..CARRIED {
        schema = schema.named_output("*", &format!("value{i}"));
    }
    schema
}

/// The carried values, null where there is none.
fn values(inputs: &Inputs, from: usize) -> impl Iterator<Item = Value> {
    (from..CARRIED).map(|i| inputs.get(&initial(i)).cloned().unwrap_or_else(|| Value::plain(Json::Null)))
}

struct TestWhileLoopOpen;

impl Node for TestWhileLoopOpen {
    fn schema(&self) -> Schema {
        let condition = Input::boolean("condition", true).option("forceInput", true);
        let schema = Schema::new("TestWhileLoopOpen").category("Testing/Flow").input(condition);
        outputs(carried(schema, 0, false).named_output("FLOW_CONTROL", "FLOW_CONTROL"), 0)
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        Ok(Outcome::values(std::iter::once(Value::plain("stub")).chain(values(inputs, 0)).collect()))
    }
}

struct TestWhileLoopClose;

/// The node and slot that a raw link names.
fn raw_link(inputs: &Inputs, name: &str) -> Result<Link, NodeError> {
    match InputValue::from_json(inputs.value(name)?.as_json().cloned().unwrap_or_default()) {
        InputValue::Link(link) => Ok(link),
        _ => Err(NodeError::input(name, "must be linked to the node that opens the loop")),
    }
}

/// Consumers of each node above `of`.
fn consumers_above(of: &NodeId, workflow: &Workflow) -> HashMap<NodeId, Vec<NodeId>> {
    let mut consumers: HashMap<NodeId, Vec<NodeId>> = HashMap::new();
    let mut open = vec![of.clone()];
    while let Some(id) = open.pop() {
        let Some(node) = workflow.nodes.get(&id) else { continue };
        for input in node.inputs.values() {
            if let InputValue::Link(link) = input {
                let known = consumers.entry(link.node.clone()).or_default();
                if known.is_empty() {
                    open.push(link.node.clone());
                }
                known.push(id.clone());
            }
        }
    }
    consumers
}

/// What stands between two nodes, both included.
fn between(begin: &NodeId, end: &NodeId, workflow: &Workflow) -> HashSet<NodeId> {
    let consumers = consumers_above(end, workflow);
    let mut found = HashSet::from([begin.clone(), end.clone()]);
    let mut open = vec![begin.clone()];
    while let Some(id) = open.pop() {
        for consumer in consumers.get(&id).into_iter().flatten() {
            if found.insert(consumer.clone()) {
                open.push(consumer.clone());
            }
        }
    }
    found
}

impl Node for TestWhileLoopClose {
    fn schema(&self) -> Schema {
        let schema = Schema::new("TestWhileLoopClose")
            .category("Testing/Flow")
            .input(Input::wire("flow_control", "FLOW_CONTROL").raw_link())
            .input(Input::boolean("condition", true).option("forceInput", true))
            .hidden("dynprompt", Hidden::DynPrompt)
            .hidden("unique_id", Hidden::UniqueId);
        outputs(carried(schema, 0, false), 0)
    }

    fn execute(&self, context: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        if !inputs.bool("condition")? {
            return Ok(Outcome::values(values(inputs, 0).collect()));
        }
        let workflow = context.dyn_prompt();
        let own = &context.node().id;
        let begin = raw_link(inputs, "flow_control")?.node;
        let body = between(&begin, own, workflow);
        let copy_id = |id: &NodeId| if id == own { NodeId::from(RECURSE) } else { id.clone() };
        let mut graph = Workflow::default();
        // Looked up rather than searched for: the workflow grows with each time around.
        let mut copied: Vec<_> = body.iter().filter_map(|id| workflow.nodes.get_full(id)).collect();
        copied.sort_unstable_by_key(|(place, ..)| *place);
        for (_, id, original) in copied {
            let mut copy = WorkflowNode::new(original.class_type.clone().unwrap_or_default());
            copy.extra.insert("override_display_id".into(), json!(id.as_str()));
            for (name, input) in &original.inputs {
                let input = match input {
                    InputValue::Link(link) if body.contains(&link.node) => {
                        InputValue::Link(Link { node: copy_id(&link.node), slot: link.slot })
                    }
                    InputValue::Link(link) => InputValue::Outside(link.clone()),
                    other => other.clone(),
                };
                copy.inputs.insert(name.clone(), input);
            }
            if *id == begin {
                for (i, value) in values(inputs, 0).enumerate() {
                    copy = copy.value(&initial(i), value);
                }
            }
            graph.nodes.insert(copy_id(id), copy);
        }
        let again = (0..CARRIED).map(|slot| InputValue::Link(Link::new(RECURSE, slot)));
        Ok(Outcome::expand(graph, again.collect()))
    }
}

struct TestForLoopOpen;

impl Node for TestForLoopOpen {
    fn schema(&self) -> Schema {
        let schema = Schema::new("TestForLoopOpen")
            .category("Testing/Flow")
            .input(Input::int("remaining", 1).range(0, 100_000).option("step", 1));
        let schema = carried(schema, 1, false)
            // The closing node hands the count on as `initial_value0`.
            .accepts_undeclared()
            .named_output("FLOW_CONTROL", "flow_control")
            .named_output("INT", "remaining");
        outputs(schema, 1)
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let name = if inputs.has("initial_value0") { "initial_value0" } else { "remaining" };
        let head = [Value::plain("stub"), Value::plain(inputs.int(name)?)];
        Ok(Outcome::values(head.into_iter().chain(values(inputs, 1)).collect()))
    }
}

struct TestForLoopClose;

impl Node for TestForLoopClose {
    fn schema(&self) -> Schema {
        let schema = Schema::new("TestForLoopClose")
            .category("Testing/Flow")
            .input(Input::wire("flow_control", "FLOW_CONTROL").raw_link());
        outputs(carried(schema, 1, true), 1)
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let begin = raw_link(inputs, "flow_control")?;
        let mut graph = Subgraph::default();
        let left = WorkflowNode::new("TestIntMathOperation").literal("operation", "subtract");
        let left = graph.add(left.outside("a", begin.node.clone(), 1).literal("b", 1));
        let more = graph.add(WorkflowNode::new("TestToBoolNode").link("value", &left, 0));
        let mut close = WorkflowNode::new("TestWhileLoopClose")
            .outside("flow_control", begin.node, begin.slot)
            .link("condition", &more, 0)
            .link("initial_value0", &left, 0);
        for i in 1..CARRIED {
            if let Some(value) = inputs.get(&initial(i)) {
                let input = match value.as_json().map(|json| InputValue::from_json(json.clone())) {
                    Some(InputValue::Link(link)) => InputValue::Outside(link),
                    Some(literal) => literal,
                    None => InputValue::Value(value.clone()),
                };
                close.inputs.insert(initial(i), input);
            }
        }
        let close = graph.add(close);
        let outputs = (1..CARRIED).map(|slot| InputValue::Link(Link::new(close.as_str(), slot)));
        Ok(Outcome::expand(graph.finish(), outputs.collect()))
    }
}
