//! What expansions may not do, what validation can bear, and who takes turns.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ebb_engine::cache::CachePolicy;
use ebb_engine::events::{EventKind, Recorder};
use ebb_engine::execute::{Engine, EngineConfig, Job, RunError};
use ebb_engine::node::{BoxFuture, Cancel, Context, Inputs, Node, NodeError, Outcome};
use ebb_engine::residency::{Foresight, Residency};
use ebb_engine::schema::{Input, Schema};
use ebb_engine::workflow::{InputValue, Link, Workflow, WorkflowNode};
use serde_json::json;
use support::{engine, lines, registry, run};

/// Expands into what its `into` says.
struct Grow;

impl Node for Grow {
    fn schema(&self) -> Schema {
        Schema::new("Grow").input(Input::string("into", "")).output("INT")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let mut graph = Workflow::default();
        let into = inputs.str("into")?;
        match into {
            "itself" => {
                graph.nodes.insert("1".into(), WorkflowNode::new("Grow").literal("into", "itself"));
            }
            "nothing known" => {
                graph.nodes.insert("1".into(), WorkflowNode::new("NoSuchNode"));
            }
            "nowhere" => {
                graph.nodes.insert("1".into(), WorkflowNode::new("Add").link("a", "77", 0).literal("b", 1));
            }
            "a circle" => {
                graph.nodes.insert("1".into(), WorkflowNode::new("Add").link("a", "2", 0).literal("b", 1));
                graph.nodes.insert("2".into(), WorkflowNode::new("Add").link("a", "1", 0).literal("b", 1));
            }
            "many" => {
                for i in 0..100 {
                    let id = i.to_string();
                    graph.nodes.insert(id.into(), WorkflowNode::new("Number").literal("value", i));
                }
            }
            deeper if deeper.starts_with("deeper") => {
                let next = format!("{deeper}!");
                graph.nodes.insert("1".into(), WorkflowNode::new("Grow").literal("into", next));
            }
            _ => {
                // Equal to a node of the workflow, and linked to another one.
                let add = WorkflowNode::new("Add").outside("a", "1", 0).literal("b", 1);
                graph.nodes.insert("1".into(), add);
            }
        }
        Ok(Outcome::expand(graph, vec![InputValue::Link(Link::new("1", 0))]))
    }
}

fn grown(into: &str) -> serde_json::Value {
    json!({
        "1": {"class_type": "Number", "inputs": {"value": 2}},
        "2": {"class_type": "Grow", "inputs": {"into": into}},
        "3": {"class_type": "Show", "inputs": {"value": ["2", 0]}},
    })
}

fn growing(config: EngineConfig) -> Engine {
    let mut registry = registry();
    registry.add(Grow).unwrap();
    Engine::new(Arc::new(registry), Residency::new(Foresight, None), config)
}

async fn refused(config: EngineConfig, into: &str) -> (String, String) {
    let engine = growing(config);
    let (ended, _) = run(&engine, grown(into)).await;
    assert_eq!(engine.residency().ledger().total(), 0);
    match ended {
        Err(RunError::Failed(error)) => (error.node.id.to_string(), error.message.clone()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_endless_expansion_stops_at_the_limit() {
    let (node, message) = refused(EngineConfig { max_depth: 20, ..EngineConfig::default() }, "deeper").await;
    assert!(node.starts_with("2.0.0.1"), "{node}");
    assert!(message.contains("nested 21 deep"), "{message}");
}

#[tokio::test]
async fn an_expansion_into_equal_work_waits_for_itself() {
    let (node, message) = refused(EngineConfig::default(), "itself").await;
    assert_eq!((node.as_str(), message.as_str()), ("2", "Dependency cycle detected: 2 needs itself"));
}

#[tokio::test]
async fn a_large_expansion_stops_at_the_limit() {
    let (node, message) = refused(EngineConfig { max_nodes: 50, ..EngineConfig::default() }, "many").await;
    assert_eq!(node, "2");
    assert!(message.contains("100 nodes on top of 3"), "{message}");
}

#[tokio::test]
async fn a_bad_subgraph_is_the_fault_of_the_node_that_returned_it() {
    let (node, message) = refused(EngineConfig::default(), "nothing known").await;
    assert!(node == "2" && message.contains("`NoSuchNode`, which does not exist"), "{message}");
    let (node, message) = refused(EngineConfig::default(), "nowhere").await;
    assert!(node == "2" && message.contains("links to Link"), "{message}");
}

#[tokio::test]
async fn a_circle_is_blamed_on_the_node_that_made_it() {
    let (node, message) = refused(EngineConfig::default(), "a circle").await;
    assert_eq!(node, "2");
    assert!(message.starts_with("Dependency cycle detected: 2.0.0."), "{message}");
}

#[tokio::test]
async fn a_value_that_went_before_an_expansion_asked_for_it_is_made_again() {
    let engine = growing(EngineConfig { cache: CachePolicy::None, ..EngineConfig::default() });
    let mut workflow = grown("a node outside");
    // Runs and drops its input before node 2 expands.
    workflow["0"] = json!({"class_type": "Show", "inputs": {"value": ["1", 0]}});
    workflow["3"]["inputs"]["value"] = json!(["2", 0]);
    let (ended, events) = run(&engine, workflow).await;
    ended.unwrap();
    let runs = lines(&events).iter().filter(|line| *line == "start 1").count();
    let shown = support::shown(&events);
    assert!(shown.contains(&("3".to_owned(), json!([3]))), "{shown:?}");
    assert!(runs <= 2, "{runs} runs");
}

#[tokio::test]
async fn a_chain_of_a_hundred_thousand_nodes_is_checked_and_runs() {
    let engine = engine(registry(), CachePolicy::None);
    let mut workflow = Workflow::default();
    workflow.nodes.insert("0".into(), WorkflowNode::new("Number").literal("value", 0));
    for i in 1..100_000 {
        let add = WorkflowNode::new("Add").link("a", (i - 1).to_string(), 0).literal("b", 1);
        workflow.nodes.insert(i.to_string().into(), add);
    }
    workflow.nodes.insert("end".into(), WorkflowNode::new("Show").link("value", "99999", 0));
    let checked = engine.validate(workflow, None).await.unwrap();
    let report = engine.run(Job::new("long", checked.graph)).await.unwrap();
    assert_eq!(report.executed.len(), 100_001);
}

#[tokio::test]
async fn a_circle_of_a_hundred_thousand_nodes_is_refused() {
    let engine = engine(registry(), CachePolicy::None);
    let mut workflow = Workflow::default();
    for i in 0..100_000 {
        let before = ((i + 99_999) % 100_000).to_string();
        let add = WorkflowNode::new("Add").link("a", before, 0).literal("b", 1);
        workflow.nodes.insert(i.to_string().into(), add);
    }
    workflow.nodes.insert("end".into(), WorkflowNode::new("Show").link("value", "5", 0));
    let Err(rejection) = engine.validate(workflow, None).await else { panic!("accepted") };
    assert_eq!(rejection.code, "prompt_outputs_failed_validation");
    assert!(rejection.node_errors.is_empty());
    assert_eq!(rejection.cycles.len(), 1);
}

/// Counts how many of its kind are at work, and remembers the most.
struct Busy {
    asynchronous: bool,
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl Busy {
    fn enter(&self) {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
    }
}

impl Node for Busy {
    fn schema(&self) -> Schema {
        let schema = Schema::new(if self.asynchronous { "Wait" } else { "Work" });
        let schema = schema.input(Input::int("n", 0)).output("INT");
        if self.asynchronous { schema.asynchronous() } else { schema.compute() }
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        self.enter();
        std::thread::sleep(Duration::from_millis(2));
        self.now.fetch_sub(1, Ordering::SeqCst);
        Ok(Outcome::value(inputs.int("n")?))
    }

    fn execute_async<'a>(
        &'a self,
        _: &'a Context,
        inputs: &'a Inputs,
    ) -> BoxFuture<'a, Result<Outcome, NodeError>> {
        Box::pin(async move {
            self.enter();
            // Nobody goes on before all are here: without overlap this would never end.
            while self.most.load(Ordering::SeqCst) < 4 {
                tokio::task::yield_now().await;
            }
            Ok(Outcome::value(inputs.int("n")?))
        })
    }
}

fn four(class: &str) -> serde_json::Value {
    let mut workflow = json!({});
    for i in 0..4 {
        workflow[format!("{i}")] = json!({"class_type": class, "inputs": {"n": i}});
        workflow[format!("show {i}")] =
            json!({"class_type": "Show", "inputs": {"value": [i.to_string(), 0]}});
    }
    workflow
}

fn busy(asynchronous: bool) -> (Engine, Arc<AtomicUsize>) {
    let most = Arc::new(AtomicUsize::new(0));
    let mut registry = registry();
    registry.add(Busy { asynchronous, now: Arc::default(), most: most.clone() }).unwrap();
    (engine(registry, CachePolicy::None), most)
}

#[tokio::test(flavor = "multi_thread")]
async fn computing_nodes_take_turns_even_between_jobs() {
    let (engine, most) = busy(false);
    let (a, b) = tokio::join!(run(&engine, four("Work")), run(&engine, four("Work")));
    assert!(a.0.is_ok() && b.0.is_ok());
    assert_eq!(most.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn asynchronous_nodes_overlap() {
    let (engine, most) = busy(true);
    run(&engine, four("Wait")).await.0.unwrap();
    assert_eq!(most.load(Ordering::SeqCst), 4);
}

/// Waits for ever; says when it was dropped.
struct Forever(Arc<AtomicUsize>);

struct Dropped(Arc<AtomicUsize>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Node for Forever {
    fn schema(&self) -> Schema {
        Schema::new("Forever").output("INT").asynchronous()
    }

    fn execute_async<'a>(
        &'a self,
        context: &'a Context,
        _: &'a Inputs,
    ) -> BoxFuture<'a, Result<Outcome, NodeError>> {
        let held = Dropped(self.0.clone());
        Box::pin(async move {
            context.progress(0.0, 1.0)?;
            std::future::pending::<()>().await;
            drop(held);
            Ok(Outcome::none())
        })
    }
}

#[tokio::test]
async fn a_waiting_node_is_dropped_where_it_waits() {
    let dropped = Arc::new(AtomicUsize::new(0));
    let mut registry = registry();
    registry.add(Forever(dropped.clone())).unwrap();
    let engine = engine(registry, CachePolicy::LastRun);
    let workflow = json!({
        "1": {"class_type": "Forever", "inputs": {}},
        "2": {"class_type": "Show", "inputs": {"value": ["1", 0]}},
        "3": {"class_type": "Number", "inputs": {"value": 1}},
        "4": {"class_type": "Show", "inputs": {"value": ["3", 0]}},
    });
    let checked = engine.validate(Workflow::from_json(workflow).unwrap(), None).await.unwrap();
    let (sink, cancel) = (Arc::new(Recorder::default()), Cancel::new());
    let job = Job::new("job", checked.graph).with_sink(sink.clone()).with_cancel(cancel.clone());
    let stop = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        cancel.cancel();
    };
    let (ended, ()) = tokio::join!(engine.run(job), stop);
    let Err(RunError::Interrupted { node, executed }) = ended else { panic!("{ended:?}") };
    assert_eq!(node.unwrap().id.as_str(), "1");
    assert_eq!(executed.len(), 2, "the other branch ran meanwhile");
    assert_eq!(dropped.load(Ordering::SeqCst), 1);
    let last = sink.take().pop().map(|event| event.kind);
    assert!(matches!(last, Some(EventKind::Interrupted { .. })));
}
