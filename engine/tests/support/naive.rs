//! The naive interpreter: recursive, no plan, no counts, no cache. What the engine computes must be
//! what this computes.

use std::sync::Arc;

use ebb_engine::node::{Context, Inputs, NodeError, NodeRef, Outputs, RunInfo};
use ebb_engine::registry::Registry;
use ebb_engine::value::Value;
use ebb_engine::workflow::{InputValue, Link, NodeId, Workflow};
use serde_json::Value as Json;

/// The columns of a node's outputs, and what it shows.
pub(crate) struct Done {
    columns: Vec<Vec<Value>>,
    pub(crate) shown: Vec<Json>,
}

pub(crate) struct Naive<'a> {
    pub(crate) registry: &'a Registry,
    pub(crate) run: Arc<RunInfo>,
}

impl Naive<'_> {
    pub(crate) fn eval(&self, workflow: &Workflow, id: &str) -> Result<Done, NodeError> {
        let node = &workflow.nodes[&NodeId::from(id)];
        let class = self.registry.get(node.class_type.as_deref().unwrap()).unwrap();
        let context = Context::new(self.run.clone(), Arc::new(NodeRef::top(id.into(), "")), None);
        let read = |input: &InputValue| -> Result<Vec<Value>, NodeError> {
            Ok(match input {
                InputValue::Link(Link { node, slot }) | InputValue::Outside(Link { node, slot }) => {
                    self.eval(workflow, node.as_str())?.columns[*slot].clone()
                }
                InputValue::Literal(json) => vec![Value::plain(json.clone())],
                InputValue::Value(value) => vec![value.clone()],
                InputValue::BadLink(_) => unreachable!("checked before"),
            })
        };
        let mut columns: Vec<(String, Option<Vec<Value>>)> = Vec::new();
        for input in &class.schema.inputs {
            let Some(given) = node.inputs.get(&input.name) else { continue };
            let open = input.lazy && matches!(given, InputValue::Link(_));
            columns.push((input.name.clone(), if open { None } else { Some(read(given)?) }));
        }
        // The same calls may name other inputs once those are there.
        loop {
            let mut wanted = Vec::new();
            for call in calls(&columns, class.schema.input_is_list).into_iter().flatten() {
                wanted.extend(class.node.needs(&context, &call)?);
            }
            let open = columns.iter_mut().filter(|(name, column)| column.is_none() && wanted.contains(name));
            let mut any = false;
            for (name, column) in open {
                (*column, any) = (Some(read(&node.inputs[name.as_str()])?), true);
            }
            if !any {
                break;
            }
        }
        let outputs = &class.schema.outputs;
        let mut done = Done { columns: vec![Vec::new(); outputs.len()], shown: Vec::new() };
        for (number, call) in calls(&columns, class.schema.input_is_list).into_iter().enumerate() {
            let Some(inputs) = call else {
                done.columns.iter_mut().for_each(|column| column.push(Value::Blocked(None)));
                continue;
            };
            let outcome = class.node.execute(&context, &inputs)?;
            done.shown.extend(outcome.ui.into_iter().flat_map(|ui| ui["shown"].as_array().cloned().unwrap()));
            match outcome.outputs {
                Outputs::Values(values) => {
                    for ((column, output), value) in done.columns.iter_mut().zip(outputs).zip(values) {
                        match value {
                            Value::List(values) if output.is_list => column.extend(values.iter().cloned()),
                            value => column.push(value),
                        }
                    }
                }
                Outputs::Expand(expansion) => {
                    let inner = |id: &str| format!("{id}/{number}");
                    let mut grown = workflow.clone();
                    for (id, node) in &expansion.graph.nodes {
                        let mut node = node.clone();
                        for input in node.inputs.values_mut() {
                            if let InputValue::Link(link) = input {
                                link.node = inner(link.node.as_str()).into();
                            }
                        }
                        grown.nodes.insert(inner(id.as_str()).into(), node);
                    }
                    let classes =
                        expansion.graph.nodes.iter().map(|(id, node)| (id, node.class_type.as_deref()));
                    for (id, class) in classes {
                        if class.and_then(|class| self.registry.get(class)).unwrap().schema.output_node {
                            self.eval(&grown, &inner(id.as_str()))?;
                        }
                    }
                    for (column, output) in done.columns.iter_mut().zip(&expansion.outputs) {
                        match output {
                            InputValue::Link(link) => {
                                let made = self.eval(&grown, &inner(link.node.as_str()))?;
                                column.extend(made.columns[link.slot].iter().cloned());
                            }
                            InputValue::Value(value) => column.push(value.clone()),
                            _ => unreachable!("these nodes give links and values"),
                        }
                    }
                }
            }
        }
        Ok(done)
    }
}

/// The calls of some columns; `None` for one that is blocked.
fn calls(columns: &[(String, Option<Vec<Value>>)], whole: bool) -> Vec<Option<Inputs>> {
    let blocked = |value: &Value| matches!(value, Value::Blocked(_));
    if whole {
        if columns.iter().flat_map(|(_, c)| c).flatten().any(blocked) {
            return vec![None];
        }
        let lists = columns.iter().map(|(name, c)| (name.as_str(), c.clone().map(Value::list)));
        return vec![Some(lists.collect())];
    }
    let lengths: Vec<usize> = columns.iter().filter_map(|(_, c)| c.as_ref()).map(Vec::len).collect();
    let count = if lengths.contains(&0) { 0 } else { lengths.into_iter().max().unwrap_or(1) };
    let call = |i: usize| {
        let pick = |c: &Vec<Value>| c.get(i).or(c.last()).cloned();
        let inputs: Vec<_> =
            columns.iter().map(|(name, c)| (name.as_str(), c.as_ref().and_then(pick))).collect();
        (!inputs.iter().flat_map(|(_, value)| value).any(blocked)).then(|| inputs.into_iter().collect())
    };
    (0..count).map(call).collect()
}
