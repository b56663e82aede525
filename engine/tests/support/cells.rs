//! Nodes on cells: payloads that hold a number, weigh something and count themselves, in every
//! manner of node that a graph can have.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use ebb_engine::node::{
    BoxFuture, Cancel, Changed, Context, Forecast, Inputs, Node, NodeError, Outcome, Sketch, Sketches,
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
    Pick(Work),
    /// Three cells as a list.
    List,
    /// A list into one cell.
    Sum,
    /// A cell, or a blocker.
    Gate,
    /// A subgraph that adds to a cell, nested some times.
    Grow,
    /// A subgraph of one of many shapes.
    Sprout(Work),
    /// A cell, or a failure, or a panic.
    Fail(Work),
    /// A cell, and never the same one.
    Moody,
    /// A cell; the job is cancelled.
    Halt,
    /// Shows a cell.
    Show,
}

/// How many shapes of subgraph [`Kind::Sprout`] knows.
pub(crate) const SHAPES: i64 = 10;

pub(crate) const KINDS: [Kind; 19] = [
    Kind::Leaf,
    Kind::Join(Work::Light),
    Kind::Join(Work::Compute),
    Kind::Join(Work::Async),
    Kind::Pick(Work::Light),
    Kind::Pick(Work::Compute),
    Kind::Pick(Work::Async),
    Kind::List,
    Kind::Sum,
    Kind::Gate,
    Kind::Grow,
    Kind::Sprout(Work::Light),
    Kind::Sprout(Work::Compute),
    Kind::Sprout(Work::Async),
    Kind::Moody,
    Kind::Fail(Work::Light),
    Kind::Fail(Work::Async),
    Kind::Halt,
    Kind::Show,
];

impl Kind {
    pub(crate) fn class(self) -> String {
        match self {
            Self::Join(work) => format!("Join{work:?}"),
            Self::Pick(work) => format!("Pick{work:?}"),
            Self::Sprout(work) => format!("Sprout{work:?}"),
            Self::Fail(work) => format!("Fail{work:?}"),
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

    /// Laziness, lists, blockers, outputs, failures, links to the outside and expansions, inside of an expansion.
    fn sprout(&self, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let (shape, bytes) = (inputs.int("shape")?, inputs.uint("bytes")?);
        let own = || inputs.value("a").cloned();
        let mut graph = Workflow::default();
        let mut add = |id: &str, node: WorkflowNode| {
            graph.nodes.insert(id.into(), node);
        };
        let leaf = |value: i64| WorkflowNode::new("Leaf").literal("value", value).literal("bytes", bytes);
        let mut end = InputValue::Link(Link::new("end", 0));
        add("leaf", leaf(shape));
        match shape.rem_euclid(SHAPES) {
            0 => end = InputValue::Value(own()?),
            1 => {
                let list = WorkflowNode::new("List").value("a", own()?).link("b", "leaf", 0);
                add("list", list.value("c", own()?));
                add("end", WorkflowNode::new("Sum").link("a", "list", 0).literal("bytes", bytes));
            }
            // A list that leaves the subgraph as one.
            2 => add(
                "end",
                WorkflowNode::new("List").value("a", own()?).link("b", "leaf", 0).link("c", "leaf", 0),
            ),
            3 => add("end", WorkflowNode::new("Gate").value("a", own()?)),
            4 | 5 => {
                add("other", leaf(shape + 1));
                let pick = WorkflowNode::new(if shape % 2 == 0 { "PickAsync" } else { "PickLight" });
                let pick = pick.value("by", own()?).link("a", "leaf", 0);
                add("end", pick.link("b", "other", 0));
            }
            6 => {
                add("shown", WorkflowNode::new("Show").value("value", own()?));
                add(
                    "end",
                    WorkflowNode::new("JoinAsync")
                        .value("a", own()?)
                        .link("b", "leaf", 0)
                        .literal("bytes", 3),
                );
            }
            7 => add("end", WorkflowNode::new("FailLight").value("a", own()?)),
            // Nodes of the workflow that may have run, or not, or have given their values back.
            8 => add(
                "end",
                WorkflowNode::new("JoinLight")
                    .outside("a", "n0", 0)
                    .value("b", own()?)
                    .literal("bytes", bytes),
            ),
            _ => {
                let again =
                    WorkflowNode::new("SproutCompute").link("a", "leaf", 0).literal("shape", shape / SHAPES);
                add("again", again.literal("bytes", bytes));
                add(
                    "end",
                    WorkflowNode::new("PickLight")
                        .value("by", own()?)
                        .link("a", "again", 0)
                        .value("b", own()?),
                );
            }
        }
        Ok(Outcome::expand(graph, vec![end]))
    }
}

impl Node for CellNode {
    fn schema(&self) -> Schema {
        let wire = |name| Input::wire(name, "CELL");
        let bytes = Input::int("bytes", 0);
        let schema = Schema::new(self.kind.class());
        let mut schema = match self.kind {
            Kind::Leaf => schema.input(Input::int("value", 0)).input(bytes).output("CELL"),
            Kind::Join(_) => schema.input(wire("a")).input(wire("b")).input(bytes).output("CELL"),
            Kind::Pick(_) => {
                schema.input(wire("by")).input(wire("a").lazy()).input(wire("b").lazy()).output("CELL")
            }
            Kind::List => schema.input(wire("a")).input(wire("b")).input(wire("c")).list_output("CELL", "L"),
            Kind::Sum => schema.input(wire("a")).input(bytes).input_is_list().output("CELL"),
            Kind::Moody => schema.input(wire("a")).input(bytes).output("CELL"),
            Kind::Gate | Kind::Fail(_) | Kind::Halt => schema.input(wire("a")).output("CELL"),
            Kind::Grow => schema.input(wire("a")).input(Input::int("depth", 0)).input(bytes).output("CELL"),
            Kind::Sprout(_) => {
                schema.input(wire("a")).input(Input::int("shape", 0)).input(bytes).output("CELL")
            }
            Kind::Show => schema.input(wire("value")).output_node(),
        };
        if let Kind::Join(work) | Kind::Pick(work) | Kind::Sprout(work) | Kind::Fail(work) = self.kind {
            schema.work = work;
        }
        schema
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        match self.kind {
            Kind::Leaf => self.make(inputs.int("value")?, inputs),
            Kind::Join(_) => self.make(31 * cell(inputs, "a")? + 7 * cell(inputs, "b")? + 1, inputs),
            Kind::Pick(_) => {
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
            Kind::Fail(_) if cell(inputs, "a")? % 7 == 0 => Err(NodeError::failed("seven")),
            Kind::Fail(_) if cell(inputs, "a")? % 13 == 0 => panic!("thirteen"),
            Kind::Halt if cell(inputs, "a")? % 4 == 0 => {
                self.cancel.cancel();
                Ok(Outcome::value(inputs.value("a")?.clone()))
            }
            Kind::Moody => self.make(3 * cell(inputs, "a")? + 2, inputs),
            Kind::Gate | Kind::Fail(_) | Kind::Halt => Ok(Outcome::value(inputs.value("a")?.clone())),
            Kind::Grow => self.grow(inputs),
            Kind::Sprout(_) => self.sprout(inputs),
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
        if !matches!(self.kind, Kind::Pick(_)) {
            return Ok(Vec::new());
        }
        let name = if cell(inputs, "by")? % 2 == 0 { "a" } else { "b" };
        Ok(vec![name.to_owned()])
    }

    fn changed(&self, _: &Inputs) -> Result<Option<Changed>, NodeError> {
        Ok((self.kind == Kind::Moody).then_some(Changed::Always))
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
