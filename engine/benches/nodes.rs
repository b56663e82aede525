//! The engine's own cost: microseconds a trivial node, for chains and for wide graphs, cold and when all is cached; for
//! chains of lazy nodes, for nodes that expand, and for the elements of a list. `cargo bench -p ebb-engine`; divide a
//! row's time by its count.

use std::sync::Arc;

use divan::Bencher;
use divan::counter::ItemsCount;
use ebb_engine::cache::CachePolicy;
use ebb_engine::execute::{Engine, EngineConfig, Job};
use ebb_engine::graph::Graph;
use ebb_engine::node::{Context, Inputs, Node, NodeError, Outcome};
use ebb_engine::registry::Registry;
use ebb_engine::residency::{Foresight, Residency};
use ebb_engine::schema::{Input, Schema};
use ebb_engine::value::Value;
use ebb_engine::workflow::{InputValue, Link, Workflow, WorkflowNode};

fn main() {
    divan::main();
}

const COUNTS: [usize; 4] = [100, 1_000, 10_000, 100_000];

struct Step;

impl Node for Step {
    fn schema(&self) -> Schema {
        let schema = Schema::new("Step").input(Input::int("number", 0));
        schema.input(Input::wire("before", "INT").optional()).output("INT")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        Ok(Outcome::value(inputs.int("number")?))
    }
}

struct End;

impl Node for End {
    fn schema(&self) -> Schema {
        Schema::new("End").input(Input::wire("value", "INT")).output_node()
    }

    fn execute(&self, _: &Context, _: &Inputs) -> Result<Outcome, NodeError> {
        Ok(Outcome::none())
    }
}

/// Asks for what it reads when it runs, so that the plan is revised for each one.
struct Lazy;

impl Node for Lazy {
    fn schema(&self) -> Schema {
        let schema = Schema::new("Lazy").input(Input::int("number", 0));
        schema.input(Input::wire("before", "INT").optional().lazy()).output("INT")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        Ok(Outcome::value(inputs.int("number")?))
    }
}

/// Expands into a node.
struct Grow;

impl Node for Grow {
    fn schema(&self) -> Schema {
        Schema::new("Grow").input(Input::int("number", 0)).output("INT")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let mut graph = Workflow::default();
        graph.nodes.insert("in".into(), WorkflowNode::new("Step").literal("number", inputs.int("number")?));
        Ok(Outcome::expand(graph, vec![InputValue::Link(Link::new("in", 0))]))
    }
}

/// Numbers from 0 on.
struct Many;

impl Node for Many {
    fn schema(&self) -> Schema {
        Schema::new("Many").input(Input::int("count", 0)).list_output("INT", "many")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        Ok(Outcome::values(vec![Value::list((0..inputs.int("count")?).map(Value::plain).collect())]))
    }
}

/// Each node reads the one before it.
fn chain(count: usize) -> Workflow {
    chain_of("Step", count)
}

/// The same of nodes that ask for it.
fn lazy(count: usize) -> Workflow {
    chain_of("Lazy", count)
}

fn chain_of(class: &str, count: usize) -> Workflow {
    let mut workflow = Workflow::default();
    for number in 0..count - 1 {
        let mut node = WorkflowNode::new(class).literal("number", number);
        if number > 0 {
            node = node.link("before", (number - 1).to_string(), 0);
        }
        workflow.nodes.insert(number.to_string().into(), node);
    }
    let end = WorkflowNode::new("End").link("value", (count - 2).to_string(), 0);
    workflow.nodes.insert("end".into(), end);
    workflow
}

/// Half of the nodes show what the other half makes.
fn wide(count: usize) -> Workflow {
    let mut workflow = Workflow::default();
    for number in 0..count / 2 {
        let node = WorkflowNode::new("Step").literal("number", number);
        workflow.nodes.insert(number.to_string().into(), node);
        let end = WorkflowNode::new("End").link("value", number.to_string(), 0);
        workflow.nodes.insert(format!("end {number}").into(), end);
    }
    workflow
}

/// A third of the nodes expand into another third, and the last third shows what comes of it.
fn grown(count: usize) -> Workflow {
    let mut workflow = Workflow::default();
    for number in 0..count / 3 {
        workflow.nodes.insert(number.to_string().into(), WorkflowNode::new("Grow").literal("number", number));
        let end = WorkflowNode::new("End").link("value", number.to_string(), 0);
        workflow.nodes.insert(format!("end {number}").into(), end);
    }
    workflow
}

/// One node runs for each element of a list.
fn listed(count: usize) -> Workflow {
    let mut workflow = Workflow::default();
    workflow.nodes.insert("many".into(), WorkflowNode::new("Many").literal("count", count));
    workflow.nodes.insert("each".into(), WorkflowNode::new("Step").link("number", "many", 0));
    workflow.nodes.insert("end".into(), WorkflowNode::new("End").link("value", "each", 0));
    workflow
}

struct Setup {
    engine: Engine,
    runtime: tokio::runtime::Runtime,
}

fn setup(cache: CachePolicy) -> Setup {
    let mut registry = Registry::new();
    registry.add(Step).expect("a new registry");
    registry.add(End).expect("another name");
    registry.add(Lazy).expect("another name");
    registry.add(Grow).expect("another name");
    registry.add(Many).expect("another name");
    let config = EngineConfig { cache, ..EngineConfig::default() };
    let engine = Engine::new(Arc::new(registry), Residency::new(Foresight, None), config);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build();
    Setup { engine, runtime: runtime.expect("a runtime") }
}

impl Setup {
    fn check(&self, workflow: Workflow) -> Graph {
        self.runtime.block_on(self.engine.validate(workflow, None)).expect("a valid workflow").graph
    }

    fn run(&self, graph: Graph) {
        self.runtime.block_on(self.engine.run(Job::new("bench", graph))).expect("a good end");
    }
}

fn validated(bencher: Bencher<'_, '_>, make: fn(usize) -> Workflow, count: usize) {
    let setup = setup(CachePolicy::None);
    bencher
        .counter(ItemsCount::new(count))
        .with_inputs(|| make(count))
        .bench_local_values(|workflow| setup.check(workflow));
}

fn cold(bencher: Bencher<'_, '_>, make: fn(usize) -> Workflow, count: usize) {
    let setup = setup(CachePolicy::None);
    bencher
        .counter(ItemsCount::new(count))
        .with_inputs(|| setup.check(make(count)))
        .bench_local_values(|graph| setup.run(graph));
}

fn cached(bencher: Bencher<'_, '_>, make: fn(usize) -> Workflow, count: usize) {
    let setup = setup(CachePolicy::LastRun);
    setup.run(setup.check(make(count)));
    bencher
        .counter(ItemsCount::new(count))
        .with_inputs(|| setup.check(make(count)))
        .bench_local_values(|graph| setup.run(graph));
}

#[divan::bench(args = COUNTS, max_time = 3)]
fn chain_validated(bencher: Bencher<'_, '_>, count: usize) {
    validated(bencher, chain, count);
}

#[divan::bench(args = COUNTS, max_time = 3)]
fn chain_cold(bencher: Bencher<'_, '_>, count: usize) {
    cold(bencher, chain, count);
}

#[divan::bench(args = COUNTS, max_time = 3)]
fn chain_cached(bencher: Bencher<'_, '_>, count: usize) {
    cached(bencher, chain, count);
}

#[divan::bench(args = COUNTS, max_time = 3)]
fn wide_cold(bencher: Bencher<'_, '_>, count: usize) {
    cold(bencher, wide, count);
}

#[divan::bench(args = COUNTS, max_time = 3)]
fn wide_cached(bencher: Bencher<'_, '_>, count: usize) {
    cached(bencher, wide, count);
}

#[divan::bench(args = COUNTS, max_time = 3)]
fn lazy_cold(bencher: Bencher<'_, '_>, count: usize) {
    cold(bencher, lazy, count);
}

#[divan::bench(args = COUNTS, max_time = 3)]
fn grown_cold(bencher: Bencher<'_, '_>, count: usize) {
    cold(bencher, grown, count);
}

#[divan::bench(args = COUNTS, max_time = 3)]
fn listed_cold(bencher: Bencher<'_, '_>, count: usize) {
    cold(bencher, listed, count);
}

/// All of it: read from text, checked, planned, run.
#[divan::bench(args = COUNTS, max_time = 3)]
fn chain_from_text(bencher: Bencher<'_, '_>, count: usize) {
    let setup = setup(CachePolicy::None);
    let text = chain(count).to_json().to_string();
    bencher.counter(ItemsCount::new(count)).bench_local(|| {
        let json = serde_json::from_str(&text).expect("JSON");
        setup.run(setup.check(Workflow::from_json(json).expect("a workflow")));
    });
}
