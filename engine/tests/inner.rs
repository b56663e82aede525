//! Nodes of expansions: checked before they run, and run once more when a later expansion needs them.

mod support;

use std::sync::Arc;

use ebb_engine::cache::CachePolicy;
use ebb_engine::execute::{Engine, RunError};
use ebb_engine::node::{Context, Inputs, Node, NodeError, Outcome};
use ebb_engine::registry::Registry;
use ebb_engine::schema::{Input, Schema};
use ebb_engine::value::{Payload, Value};
use ebb_engine::workflow::{InputValue, Link, Workflow, WorkflowNode};
use serde_json::{Value as Json, json};
use support::{engine, lines, registry, run};

/// Expands into one node of a class, with the inputs that `with` gives as JSON; `"PICTURE"` stands for a carried
/// picture.
struct Into;

struct Picture;

impl Payload for Picture {
    fn type_name(&self) -> &'static str {
        "IMAGE"
    }

    fn bytes(&self) -> u64 {
        11
    }
}

impl Node for Into {
    fn schema(&self) -> Schema {
        let schema = Schema::new("Into").input(Input::string("class", "")).input(Input::string("with", "{}"));
        schema.output("INT")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let mut graph = Workflow::default();
        let mut node = WorkflowNode::new(inputs.str("class")?);
        let with: Json = serde_json::from_str(inputs.str("with")?).unwrap();
        for (name, value) in with.as_object().unwrap() {
            let value = match value.as_str() {
                Some("PICTURE") => InputValue::Value(Value::payload(Picture)),
                _ => InputValue::from_json(value.clone()),
            };
            node.inputs.insert(name.clone(), value);
        }
        graph.nodes.insert("inner".into(), node);
        // Nobody needs it, so that nobody minds what is wrong with it.
        graph.nodes.insert("idle".into(), WorkflowNode::new("Number").literal("value", 5_000_000));
        Ok(Outcome::expand(graph, vec![InputValue::Link(Link::new("inner", 0))]))
    }
}

/// Takes a picture and a word from a list.
struct Particular;

impl Node for Particular {
    fn schema(&self) -> Schema {
        let schema = Schema::new("Particular").input(Input::wire("picture", "IMAGE"));
        schema.input(Input::combo("word", ["one", "two"])).output("INT")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        Ok(Outcome::value(inputs.str("word")?.len()))
    }
}

async fn into(class: &str, with: Json) -> Result<Json, (String, String)> {
    let mut registry = registry();
    registry.add(Into).unwrap();
    registry.add(Particular).unwrap();
    let engine = engine(registry, CachePolicy::LastRun);
    let workflow = json!({
        "1": {"class_type": "Number", "inputs": {"value": 2}},
        "2": {"class_type": "Into", "inputs": {"class": class, "with": with.to_string()}},
        "3": {"class_type": "Show", "inputs": {"value": ["2", 0]}},
    });
    let (ended, events) = run(&engine, workflow).await;
    engine.clear_cache();
    assert_eq!(engine.residency().ledger().total(), 0);
    match ended {
        Ok(_) => Ok(support::shown(&events)[0].1[0].clone()),
        Err(RunError::Failed(error)) => Err((error.node.id.to_string(), error.message.clone())),
        Err(other) => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn literals_of_inner_nodes_are_coerced() {
    assert_eq!(into("Number", json!({"value": "16"})).await, Ok(json!(16)));
    assert_eq!(into("Add", json!({"a": 8.9, "b": true})).await, Ok(json!(9)));
}

#[tokio::test]
async fn what_is_wrong_with_an_inner_node_is_said_before_it_runs_and_blamed_on_the_node_that_expanded() {
    let picture = "PICTURE";
    let cases = [
        ("Number", json!({}), "Required input is missing: value"),
        ("Number", json!({"value": 1001}), "Value 1001 bigger than max of 1000: value"),
        ("Number", json!({"value": -1001}), "Value -1001 smaller than min of -1000: value"),
        ("Number", json!({"value": "many"}), "Failed to convert an input value to a INT value: value"),
        ("Number", json!({"value": picture}), "Return type mismatch between linked nodes: value"),
        (
            "Particular",
            json!({"picture": ["1", 0], "word": "one"}),
            "Return type mismatch between linked nodes",
        ),
        ("Particular", json!({"picture": picture, "word": "three"}), "Value not in list: word"),
        ("Particular", json!({"word": "one"}), "Required input is missing: picture"),
    ];
    for (class, with, expected) in cases {
        let (node, message) = into(class, with.clone()).await.expect_err(expected);
        assert_eq!(node, "2", "{message}");
        let begin = format!("Into expanded into a subgraph whose node `2.0.0.inner` ({class}) cannot run: ");
        assert!(message.starts_with(&begin), "{message}");
        assert!(message[begin.len()..].starts_with(expected), "{with}: {message}");
    }
    assert_eq!(into("Particular", json!({"picture": picture, "word": "two"})).await, Ok(json!(3)));
}

/// A payload that holds a number.
struct Number(i64);

impl Payload for Number {
    fn type_name(&self) -> &'static str {
        "NUMBER"
    }

    fn bytes(&self) -> u64 {
        7
    }
}

/// Nodes on such payloads.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// Makes one.
    Make,
    /// One more than it reads.
    More,
    /// Expands into a `More` that carries the value.
    Wrap,
    /// Expands into a `Wrap` that carries the value.
    WrapTwice,
    /// When its input is there, expands into a `More` on the output of a node of any id.
    Reach,
    /// Shows it.
    Read,
}

struct On(Kind);

impl Node for On {
    fn schema(&self) -> Schema {
        let schema = |class| Schema::new(class).input(Input::wire("value", "NUMBER"));
        match self.0 {
            Kind::Make => Schema::new("Make").input(Input::int("number", 0)).output("NUMBER"),
            Kind::More => schema("More").output("NUMBER"),
            Kind::Wrap => schema("Wrap").output("NUMBER"),
            Kind::WrapTwice => schema("WrapTwice").output("NUMBER"),
            Kind::Reach => schema("Reach").input(Input::string("id", "")).output("NUMBER"),
            Kind::Read => schema("Read").output("INT"),
        }
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let value = || inputs.payload::<Number>("value");
        let carry = |class: &str| -> Result<Outcome, NodeError> {
            let mut graph = Workflow::default();
            let node = WorkflowNode::new(class).value("value", inputs.value("value")?.clone());
            graph.nodes.insert("x".into(), node);
            Ok(Outcome::expand(graph, vec![InputValue::Link(Link::new("x", 0))]))
        };
        match self.0 {
            Kind::Make => Ok(Outcome::payload(Number(inputs.int("number")?))),
            Kind::More => Ok(Outcome::payload(Number(value()?.0 + 1))),
            Kind::Wrap => carry("More"),
            Kind::WrapTwice => carry("Wrap"),
            Kind::Reach => {
                let mut graph = Workflow::default();
                let node = WorkflowNode::new("More").outside("value", inputs.str("id")?, 0);
                graph.nodes.insert("y".into(), node);
                Ok(Outcome::expand(graph, vec![InputValue::Link(Link::new("y", 0))]))
            }
            Kind::Read => Ok(Outcome::value(value()?.0)),
        }
    }
}

fn numbers(cache: CachePolicy) -> Engine {
    let mut all: Registry = registry();
    for kind in [Kind::Make, Kind::More, Kind::Wrap, Kind::WrapTwice, Kind::Reach, Kind::Read] {
        all.add(On(kind)).unwrap();
    }
    engine(all, cache)
}

/// `Reach` links into the expansion of node 2 when that is over and all its values are gone.
fn reaching(class: &str, id: &str) -> Json {
    json!({
        "1": {"class_type": "Make", "inputs": {"number": 40}},
        "2": {"class_type": class, "inputs": {"value": ["1", 0]}},
        "3": {"class_type": "More", "inputs": {"value": ["2", 0]}},
        "4": {"class_type": "Reach", "inputs": {"value": ["3", 0], "id": id}},
        "5": {"class_type": "Read", "inputs": {"value": ["4", 0]}},
        "6": {"class_type": "Show", "inputs": {"value": ["5", 0]}},
    })
}

#[tokio::test]
async fn a_node_of_an_expansion_that_is_over_runs_once_more_with_the_values_that_it_carried() {
    for (class, id) in [("Wrap", "2.0.0.x"), ("WrapTwice", "2.0.0.x.0.0.x"), ("WrapTwice", "2.0.0.x")] {
        for cache in [CachePolicy::None, CachePolicy::LastRun, CachePolicy::Lru(1)] {
            let engine = numbers(cache);
            let (ended, events) = run(&engine, reaching(class, id)).await;
            let lines = lines(&events);
            ended.unwrap_or_else(|error| panic!("{class} {id} {cache:?}: {error}\n{lines:#?}"));
            assert_eq!(support::shown(&events), [("6".to_owned(), json!([42]))], "{class} {id} {cache:?}");
            let runs = |id: &str| lines.iter().filter(|line| **line == format!("finish {id}")).count();
            if cache == CachePolicy::None {
                assert_eq!(runs("1"), 2, "its value was gone: {lines:#?}");
                assert_eq!(runs(id), 2, "{lines:#?}");
            } else if cache == CachePolicy::LastRun {
                assert_eq!((runs("1"), runs(id)), (1, 1), "the cache has it: {lines:#?}");
            }
            engine.clear_cache();
            assert_eq!(engine.residency().ledger().total(), 0, "{class} {id} {cache:?}");
        }
    }
}

/// Never expands the same way twice.
struct Fickle(Arc<std::sync::atomic::AtomicUsize>);

impl Node for Fickle {
    fn schema(&self) -> Schema {
        Schema::new("Fickle").input(Input::wire("value", "NUMBER")).output("NUMBER")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let times = self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let id = format!("x{times}");
        let mut graph = Workflow::default();
        let node = WorkflowNode::new("More").value("value", inputs.value("value")?.clone());
        graph.nodes.insert(id.as_str().into(), node);
        Ok(Outcome::expand(graph, vec![InputValue::Link(Link::new(id.as_str(), 0))]))
    }
}

#[tokio::test]
async fn a_node_that_expands_otherwise_the_second_time_is_named() {
    let mut all = registry();
    for kind in [Kind::Make, Kind::More, Kind::Reach, Kind::Read] {
        all.add(On(kind)).unwrap();
    }
    all.add(Fickle(Arc::default())).unwrap();
    let engine = engine(all, CachePolicy::None);
    let (ended, _) = run(&engine, reaching("Fickle", "2.0.0.x0")).await;
    let Err(RunError::Failed(error)) = ended else { panic!("{ended:?}") };
    assert_eq!(error.node.id.as_str(), "2");
    assert!(error.message.contains("did not expand into that node again"), "{}", error.message);
    assert_eq!(engine.residency().ledger().total(), 0);
}
