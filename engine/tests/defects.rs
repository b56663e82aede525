//! Nodes that are wrong themselves: each defect fails its own job, names its node, and leaves nothing behind.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ebb_engine::cache::CachePolicy;
use ebb_engine::execute::{Engine, RunError};
use ebb_engine::node::{
    BoxFuture, Changed, Context, Forecast, Inputs, Node, NodeError, Outcome, Sketches, ValidatorScope,
    Verdict,
};
use ebb_engine::schema::{Input, Schema, Work};
use ebb_engine::value::Value;
use ebb_engine::workflow::Workflow;
use serde_json::{Value as Json, json};
use support::{engine, registry, run};

/// A node that goes wrong at one place.
struct Defect {
    at: &'static str,
    dropped: Arc<AtomicUsize>,
}

struct Dropped(Arc<AtomicUsize>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Defect {
    fn goes_wrong(&self, at: &str) {
        assert!(self.at != at, "on purpose");
    }
}

impl Node for Defect {
    fn schema(&self) -> Schema {
        let mut schema = Schema::new("Defect").input(Input::int("n", 0)).input(Input::int("lazy", 0).lazy());
        schema.work = match self.at {
            "execute" | "needs" | "asks for nothing known" => Work::Compute,
            "light" | "too many outputs" => Work::Light,
            _ => Work::Async,
        };
        schema.output("INT")
    }

    fn needs(&self, _: &Context, _: &Inputs) -> Result<Vec<String>, NodeError> {
        self.goes_wrong("needs");
        Ok(if self.at == "asks for nothing known" { vec!["lasy".into()] } else { Vec::new() })
    }

    fn needs_async<'a>(
        &'a self,
        context: &'a Context,
        inputs: &'a Inputs,
    ) -> BoxFuture<'a, Result<Vec<String>, NodeError>> {
        self.goes_wrong("before the future of needs");
        Box::pin(async move { self.needs(context, inputs) })
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        self.goes_wrong("execute");
        self.goes_wrong("light");
        let value = inputs.value("n")?.clone();
        Ok(Outcome::values(vec![value; if self.at == "too many outputs" { 2 } else { 1 }]))
    }

    fn execute_async<'a>(
        &'a self,
        context: &'a Context,
        inputs: &'a Inputs,
    ) -> BoxFuture<'a, Result<Outcome, NodeError>> {
        self.goes_wrong("before the future");
        Box::pin(async move {
            self.goes_wrong("at once");
            if self.at == "one call of several" {
                let held = Dropped(self.dropped.clone());
                if inputs.int("n")? == 2 {
                    tokio::task::yield_now().await;
                    return Err(NodeError::failed("on purpose"));
                }
                // The others would wait for ever.
                std::future::pending::<()>().await;
                drop(held);
            }
            tokio::task::yield_now().await;
            self.goes_wrong("later");
            self.execute(context, inputs)
        })
    }

    fn changed(&self, _: &Inputs) -> Result<Option<Changed>, NodeError> {
        self.goes_wrong("changed");
        Ok(None)
    }

    fn forecast(&self, _: &Sketches) -> Result<Forecast, NodeError> {
        self.goes_wrong("forecast");
        Ok(Forecast::unknown())
    }

    fn validator(&self) -> Option<ValidatorScope> {
        Some(ValidatorScope { inputs: vec!["n".into()], ..ValidatorScope::default() })
    }

    fn validate_async<'a>(&'a self, _: &'a Inputs, _: &'a [(String, String)]) -> BoxFuture<'a, Verdict> {
        self.goes_wrong("before the future of the validator");
        Box::pin(async move {
            self.goes_wrong("the validator");
            Verdict::Accept
        })
    }
}

/// Three numbers.
struct Three;

impl Node for Three {
    fn schema(&self) -> Schema {
        Schema::new("Three").list_output("INT", "three")
    }

    fn execute(&self, _: &Context, _: &Inputs) -> Result<Outcome, NodeError> {
        Ok(Outcome::values(vec![Value::list((1..=3).map(Value::plain).collect())]))
    }
}

fn with(at: &'static str) -> (Engine, Arc<AtomicUsize>) {
    let dropped = Arc::new(AtomicUsize::new(0));
    let mut registry = registry();
    registry.add(Defect { at, dropped: dropped.clone() }).unwrap();
    registry.add(Three).unwrap();
    (engine(registry, CachePolicy::LastRun), dropped)
}

fn workflow() -> Json {
    json!({
        "1": {"class_type": "Three", "inputs": {}},
        "2": {"class_type": "Number", "inputs": {"value": 9}},
        "3": {"class_type": "Defect", "inputs": {"n": ["1", 0], "lazy": ["2", 0]}},
        "4": {"class_type": "Show", "inputs": {"value": ["3", 0]}},
    })
}

fn quiet() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if info.payload().downcast_ref::<&str>() != Some(&"on purpose") {
                usual(info);
            }
        }));
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_anywhere_fails_the_job_and_names_the_node() {
    quiet();
    let places =
        ["execute", "light", "needs", "before the future of needs", "before the future", "at once", "later"];
    for at in places {
        let (engine, _) = with(at);
        let (ended, _) = run(&engine, workflow()).await;
        let Err(RunError::Failed(error)) = ended else { panic!("{at}: {ended:?}") };
        assert_eq!((error.node.id.as_str(), error.kind), ("3", "panicked"), "{at}");
        assert!(error.message.contains("on purpose"), "{at}: {}", error.message);
        engine.clear_cache();
        assert_eq!(engine.residency().ledger().total(), 0, "{at}");
    }
}

#[tokio::test]
async fn a_panic_in_what_is_asked_beforehand_only_makes_the_node_unknown() {
    quiet();
    for at in ["changed", "forecast"] {
        let (engine, _) = with(at);
        let (ended, events) = run(&engine, workflow()).await;
        ended.unwrap_or_else(|error| panic!("{at}: {error}"));
        assert_eq!(support::shown(&events), [("4".to_owned(), json!([1, 2, 3]))], "{at}");
    }
}

#[tokio::test]
async fn a_validator_that_panics_refuses_and_says_so() {
    quiet();
    for at in ["the validator", "before the future of the validator"] {
        let (engine, _) = with(at);
        let workflow = Workflow::from_json(workflow()).unwrap();
        let refused = engine.validate(workflow.clone(), None).await.map(|_| ()).unwrap_err();
        let said = refused.explain(&workflow);
        assert!(
            said.contains("#3 (Defect)") && said.contains("the node's validator panicked: on purpose"),
            "{said}"
        );
    }
}

#[tokio::test]
async fn asking_for_an_input_that_does_not_exist_is_an_error() {
    let (engine, _) = with("asks for nothing known");
    let (ended, _) = run(&engine, workflow()).await;
    let Err(RunError::Failed(error)) = ended else { panic!("{ended:?}") };
    assert_eq!(error.node.id.as_str(), "3");
    assert!(error.message.contains("`lasy`"), "{}", error.message);
}

#[tokio::test]
async fn outputs_that_were_not_declared_are_an_error() {
    let (engine, _) = with("too many outputs");
    let (ended, _) = run(&engine, workflow()).await;
    let Err(RunError::Failed(error)) = ended else { panic!("{ended:?}") };
    assert!(error.message.contains("declares 1 outputs and returned 2"), "{}", error.message);
}

#[tokio::test]
async fn one_call_that_fails_ends_the_others_where_they_wait() {
    let (engine, dropped) = with("one call of several");
    let (ended, _) = run(&engine, workflow()).await;
    let Err(RunError::Failed(error)) = ended else { panic!("{ended:?}") };
    assert_eq!(error.node.id.as_str(), "3");
    assert_eq!(dropped.load(Ordering::SeqCst), 3);
}

/// A chain in which every node links back to the first one: as many circles as nodes, and their sizes add up to the
/// square of the workflow's.
#[tokio::test]
async fn many_circles_are_refused_without_naming_them_all() {
    let engine = engine(registry(), CachePolicy::None);
    let count = 20_000;
    let mut nodes = serde_json::Map::new();
    for i in 0..count {
        let next = (i + 1) % count;
        let inputs = json!({"a": ["0", 0], "b": [next.to_string(), 0]});
        nodes.insert(i.to_string(), json!({"class_type": "Add", "inputs": inputs}));
    }
    nodes.insert("end".into(), json!({"class_type": "Show", "inputs": {"value": ["0", 0]}}));
    let workflow = Workflow::from_json(Json::Object(nodes)).unwrap();
    let refused = engine.validate(workflow, None).await.map(|_| ()).unwrap_err();
    assert!((1..=8).contains(&refused.cycles.len()));
}

/// Every output needs every wrong node: named in full that would be as many entries as the workflow's square.
#[tokio::test]
async fn many_outputs_on_many_wrong_nodes_are_refused_without_naming_all_pairs() {
    let engine = engine(registry(), CachePolicy::None);
    let count = 5_000;
    let mut nodes = serde_json::Map::new();
    nodes.insert("0".into(), json!({"class_type": "Add", "inputs": {"a": 1}}));
    for i in 1..count {
        let inputs = json!({"a": [(i - 1).to_string(), 0]});
        nodes.insert(i.to_string(), json!({"class_type": "Add", "inputs": inputs}));
        let last = json!([(count - 1).to_string(), 0]);
        nodes.insert(format!("end {i}"), json!({"class_type": "Show", "inputs": {"value": last}}));
    }
    let workflow = Workflow::from_json(Json::Object(nodes)).unwrap();
    let refused = engine.validate(workflow, None).await.map(|_| ()).unwrap_err();
    assert_eq!(refused.node_errors.0.len(), count, "each wrong node is named");
    let pairs: usize = refused.node_errors.0.values().map(|node| node.dependent_outputs.len()).sum();
    assert!((count..=1_000_000).contains(&pairs), "{pairs}");
}
