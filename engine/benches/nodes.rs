//! The engine's own cost: microseconds a trivial node, for chains and for wide graphs, cold and
//! when all is cached. `cargo bench -p ebb-engine`; divide a row's time by its count.

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
use ebb_engine::workflow::{Workflow, WorkflowNode};

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

/// Each node reads the one before it.
fn chain(count: usize) -> Workflow {
    let mut workflow = Workflow::default();
    for number in 0..count - 1 {
        let mut node = WorkflowNode::new("Step").literal("number", number);
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

struct Setup {
    engine: Engine,
    runtime: tokio::runtime::Runtime,
}

fn setup(cache: CachePolicy) -> Setup {
    let mut registry = Registry::new();
    registry.add(Step).expect("a new registry");
    registry.add(End).expect("another name");
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
