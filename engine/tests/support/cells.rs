//! Nodes on cells: payloads that hold a number, weigh something and count themselves, in every
//! manner of node that a graph can have.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use ebb_engine::node::{
    BoxFuture, Cancel, Context, Forecast, Inputs, Node, NodeError, Outcome, Sketch, Sketches,
};
use ebb_engine::registry::Registry;
use ebb_engine::schema::{Input, Schema, Work};
use ebb_engine::value::{Payload, Value};
use ebb_engine::workflow::{InputValue, Link, Workflow, WorkflowNode};
use serde_json::json;

/// Cells that are alive, and their bytes.
#[derive(Default)]
pub(crate) struct Alive {
    pub(crate) cells: AtomicI64,
    pub(crate) bytes: AtomicI64,
}

impl Alive {
    pub(crate) fn now(&self) -> (i64, i64) {
        (self.cells.load(Ordering::SeqCst), self.bytes.load(Ordering::SeqCst))
    }
}

pub(crate) struct Cell {
    pub(crate) value: i64,
    bytes: u64,
    alive: Arc<Alive>,
}

impl Cell {
    fn new(value: i64, bytes: u64, alive: &Arc<Alive>) -> Self {
        alive.cells.fetch_add(1, Ordering::SeqCst);
        alive.bytes.fetch_add(bytes as i64, Ordering::SeqCst);
        Self { value: value.rem_euclid(1009), bytes, alive: alive.clone() }
    }
}

impl Drop for Cell {
    fn drop(&mut self) {
        self.alive.cells.fetch_sub(1, Ordering::SeqCst);
        self.alive.bytes.fetch_sub(self.bytes as i64, Ordering::SeqCst);
    }
}

impl Payload for Cell {
    fn type_name(&self) -> &'static str {
        "CELL"
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn summary(&self) -> String {
        self.value.to_string()
    }
}

fn cell(inputs: &Inputs, name: &str) -> Result<i64, NodeError> {
    Ok(inputs.payload::<Cell>(name)?.value)
}

/// One class of node on cells.
#[derive(Clone)]
pub(crate) struct CellNode {
    pub(crate) kind: Kind,
    pub(crate) alive: Arc<Alive>,
    /// Set by `Halt`.
    pub(crate) cancel: Cancel,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    /// A number.
    Leaf,
    /// Two cells into one, on this thread, on the compute thread, or asynchronously.
    Join(Work),
    /// One of two cells; the other one need not exist.
    Pick,
    /// Three cells as a list.
    List,
    /// A list into one cell.
    Sum,
    /// A cell, or a blocker.
    Gate,
    /// A subgraph that adds to a cell, nested some times.
    Grow,
    /// A cell, or a failure, or a panic.
    Fail,
    /// A cell; the job is cancelled.
    Halt,
    /// Shows a cell.
    Show,
}

pub(crate) const KINDS: [Kind; 12] = [
    Kind::Leaf,
    Kind::Join(Work::Light),
    Kind::Join(Work::Compute),
    Kind::Join(Work::Async),
    Kind::Pick,
    Kind::List,
    Kind::Sum,
    Kind::Gate,
    Kind::Grow,
    Kind::Fail,
    Kind::Halt,
    Kind::Show,
];

impl Kind {
    pub(crate) fn class(self) -> String {
        match self {
            Self::Join(work) => format!("Join{work:?}"),
            other => format!("{other:?}"),
        }
    }
}

impl CellNode {
    fn make(&self, value: i64, inputs: &Inputs) -> Result<Outcome, NodeError> {
        Ok(Outcome::payload(Cell::new(value, inputs.uint("bytes")?, &self.alive)))
    }

    fn grow(&self, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let (depth, bytes) = (inputs.int("depth")?, inputs.uint("bytes")?);
        let mut graph = Workflow::default();
        let leaf = WorkflowNode::new("Leaf").literal("value", depth).literal("bytes", bytes);
        graph.nodes.insert("leaf".into(), leaf);
        let join = WorkflowNode::new("JoinLight").value("a", inputs.value("a")?.clone());
        let join = join.link("b", "leaf", 0).literal("bytes", bytes);
        graph.nodes.insert("join".into(), join);
        let mut end = "join";
        if depth > 0 {
            end = "again";
            let again = WorkflowNode::new("Grow").link("a", "join", 0);
            graph.nodes.insert(end.into(), again.literal("depth", depth - 1).literal("bytes", bytes));
        }
        Ok(Outcome::expand(graph, vec![InputValue::Link(Link::new(end, 0))]))
    }
}

impl Node for CellNode {
    fn schema(&self) -> Schema {
        let wire = |name| Input::wire(name, "CELL");
        let bytes = Input::int("bytes", 0);
        let schema = Schema::new(self.kind.class());
        match self.kind {
            Kind::Leaf => schema.input(Input::int("value", 0)).input(bytes).output("CELL"),
            Kind::Join(work) => {
                let mut schema = schema.input(wire("a")).input(wire("b")).input(bytes).output("CELL");
                schema.work = work;
                schema
            }
            Kind::Pick => {
                schema.input(wire("by")).input(wire("a").lazy()).input(wire("b").lazy()).output("CELL")
            }
            Kind::List => schema.input(wire("a")).input(wire("b")).input(wire("c")).list_output("CELL", "L"),
            Kind::Sum => schema.input(wire("a")).input(bytes).input_is_list().output("CELL"),
            Kind::Gate | Kind::Fail | Kind::Halt => schema.input(wire("a")).output("CELL"),
            Kind::Grow => schema.input(wire("a")).input(Input::int("depth", 0)).input(bytes).output("CELL"),
            Kind::Show => schema.input(wire("value")).output_node(),
        }
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        match self.kind {
            Kind::Leaf => self.make(inputs.int("value")?, inputs),
            Kind::Join(_) => self.make(31 * cell(inputs, "a")? + 7 * cell(inputs, "b")? + 1, inputs),
            Kind::Pick => {
                let name = if cell(inputs, "by")? % 2 == 0 { "a" } else { "b" };
                Ok(Outcome::value(inputs.value(name)?.clone()))
            }
            Kind::List => {
                let values = ["a", "b", "c"].map(|name| inputs.value(name).cloned());
                let values: Result<Vec<Value>, _> = values.into_iter().collect();
                Ok(Outcome::values(vec![Value::list(values?)]))
            }
            Kind::Sum => {
                let mut sum = 3;
                for value in inputs.list("a")? {
                    sum = sum * 5 + value.downcast::<Cell>().map_or(0, |cell| cell.value);
                }
                let bytes = inputs.list("bytes")?;
                let bytes = bytes.first().and_then(Value::as_json).and_then(|b| b.as_u64()).unwrap_or(0);
                Ok(Outcome::payload(Cell::new(sum, bytes, &self.alive)))
            }
            Kind::Gate if cell(inputs, "a")? % 5 == 0 => {
                Ok(Outcome::values(vec![Value::Blocked(Some("gate".into()))]))
            }
            Kind::Fail if cell(inputs, "a")? % 7 == 0 => Err(NodeError::failed("seven")),
            Kind::Fail if cell(inputs, "a")? % 13 == 0 => panic!("thirteen"),
            Kind::Halt if cell(inputs, "a")? % 4 == 0 => {
                self.cancel.cancel();
                Ok(Outcome::value(inputs.value("a")?.clone()))
            }
            Kind::Gate | Kind::Fail | Kind::Halt => Ok(Outcome::value(inputs.value("a")?.clone())),
            Kind::Grow => self.grow(inputs),
            Kind::Show => {
                let ui = json!({"shown": [cell(inputs, "value")?]});
                Ok(Outcome::none().with_ui(ui.as_object().cloned().unwrap_or_default()))
            }
        }
    }

    fn execute_async<'a>(
        &'a self,
        context: &'a Context,
        inputs: &'a Inputs,
    ) -> BoxFuture<'a, Result<Outcome, NodeError>> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            self.execute(context, inputs)
        })
    }

    fn needs(&self, _: &Context, inputs: &Inputs) -> Result<Vec<String>, NodeError> {
        if self.kind != Kind::Pick {
            return Ok(Vec::new());
        }
        let name = if cell(inputs, "by")? % 2 == 0 { "a" } else { "b" };
        Ok(vec![name.to_owned()])
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        Ok(match self.kind {
            Kind::Leaf | Kind::Join(_) => {
                Forecast::output(Sketch::known(inputs.uint("bytes").unwrap_or(0), ()))
            }
            _ => Forecast::unknown(),
        })
    }
}

/// A registry of all kinds.
pub(crate) fn registry(alive: &Arc<Alive>, cancel: &Cancel) -> Registry {
    let mut registry = Registry::new();
    for kind in KINDS {
        registry.add(CellNode { kind, alive: alive.clone(), cancel: cancel.clone() }).unwrap();
    }
    registry
}
