//! The nodes of `docs/write-a-node.md`: one of each kind, run here. The chapter's code is cut from this file, and a
//! test compares the two.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ebb_engine::cache::CachePolicy;
use ebb_engine::events::EventKind;
use ebb_engine::execute::{Engine, RunError};
use ebb_engine::node::{
    BoxFuture, Changed, Context, Forecast, Inputs, Node, NodeError, Outcome, Sketch, Sketches,
    ValidatorScope, Verdict,
};
use ebb_engine::registry::{DuplicateClass, Registry};
use ebb_engine::schema::{Input, Schema};
use ebb_engine::value::{Payload, Value};
use ebb_engine::workflow::{InputValue, Link, Workflow, WorkflowNode};
use serde_json::{Value as Json, json};

struct Scale;

impl Node for Scale {
    fn schema(&self) -> Schema {
        Schema::new("Scale")
            .category("numbers")
            .input(Input::float("value", 1.0))
            .input(Input::float("by", 2.0).between(0.0, 10.0).option("step", 0.1))
            .output("FLOAT")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        Ok(Outcome::value(inputs.float("value")? * inputs.float("by")?))
    }
}

struct Shown;

impl Node for Shown {
    fn schema(&self) -> Schema {
        Schema::new("Shown").category("numbers").input(Input::float("value", 0.0)).output_node()
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let ui = json!({"text": [inputs.float("value")?.to_string()]});
        Ok(Outcome::none().with_ui(ui.as_object().cloned().unwrap_or_default()))
    }
}

struct Either;

impl Node for Either {
    fn schema(&self) -> Schema {
        Schema::new("Either")
            .category("numbers")
            .input(Input::boolean("condition", true))
            .input(Input::float("if_true", 1.0).lazy())
            .input(Input::float("if_false", 0.0).lazy())
            .output("FLOAT")
    }

    fn needs(&self, _: &Context, inputs: &Inputs) -> Result<Vec<String>, NodeError> {
        Ok(vec![chosen(inputs)?.to_owned()])
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        Ok(Outcome::value(inputs.value(chosen(inputs)?)?.clone()))
    }
}

fn chosen(inputs: &Inputs) -> Result<&'static str, NodeError> {
    Ok(if inputs.bool("condition")? { "if_true" } else { "if_false" })
}

struct Range;

impl Node for Range {
    fn schema(&self) -> Schema {
        Schema::new("Range")
            .category("numbers")
            .input(Input::int("count", 3).range(0, 1000))
            .list_output("FLOAT", "numbers")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let numbers = (0..inputs.int("count")?).map(|n| Value::plain(n as f64));
        Ok(Outcome::values(vec![Value::list(numbers.collect())]))
    }
}

struct Sum;

impl Node for Sum {
    fn schema(&self) -> Schema {
        Schema::new("Sum")
            .category("numbers")
            .input(Input::wire("numbers", "FLOAT"))
            .input_is_list()
            .output("FLOAT")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let numbers = inputs.list("numbers")?;
        let sum: f64 = numbers.iter().filter_map(|number| number.as_json()?.as_f64()).sum();
        Ok(Outcome::value(sum))
    }
}

struct Positive;

impl Node for Positive {
    fn schema(&self) -> Schema {
        Schema::new("Positive").category("numbers").input(Input::float("value", 0.0)).output("FLOAT")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let value = inputs.value("value")?.clone();
        let passes = inputs.float("value")? > 0.0;
        Ok(Outcome::value(if passes { value } else { Value::Blocked(Some("it is not positive".into())) }))
    }
}

struct Power;

impl Node for Power {
    fn schema(&self) -> Schema {
        Schema::new("Power")
            .category("numbers")
            .input(Input::float("value", 1.0))
            .input(Input::int("exponent", 2).range(0, 100))
            .output("FLOAT")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let (value, exponent) = (inputs.value("value")?, inputs.int("exponent")?);
        if exponent == 0 {
            return Ok(Outcome::value(1.0));
        }
        let mut graph = Workflow::default();
        let below = WorkflowNode::new("Power").value("value", value.clone());
        graph.nodes.insert("below".into(), below.literal("exponent", exponent - 1));
        let product = WorkflowNode::new("Scale").value("by", value.clone());
        graph.nodes.insert("product".into(), product.link("value", "below", 0));
        Ok(Outcome::expand(graph, vec![InputValue::Link(Link::new("product", 0))]))
    }
}

struct Wait;

impl Node for Wait {
    fn schema(&self) -> Schema {
        Schema::new("Wait")
            .category("numbers")
            .input(Input::float("value", 1.0))
            .input(Input::float("seconds", 1.0).between(0.0, 60.0))
            .output("FLOAT")
            .asynchronous()
    }

    fn execute_async<'a>(
        &'a self,
        context: &'a Context,
        inputs: &'a Inputs,
    ) -> BoxFuture<'a, Result<Outcome, NodeError>> {
        Box::pin(async move {
            let step = Duration::from_secs_f64(inputs.float("seconds")? / 10.0);
            for tenth in 1..=10 {
                tokio::time::sleep(step).await;
                context.progress(f64::from(tenth), 10.0)?;
            }
            Ok(Outcome::value(inputs.value("value")?.clone()))
        })
    }
}

struct Between;

impl Node for Between {
    fn schema(&self) -> Schema {
        Schema::new("Between")
            .category("numbers")
            .input(Input::float("low", 0.0))
            .input(Input::float("high", 1.0))
            .output("FLOAT")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        Ok(Outcome::value((inputs.float("low")? + inputs.float("high")?) / 2.0))
    }

    fn validator(&self) -> Option<ValidatorScope> {
        Some(ValidatorScope { inputs: vec!["low".into(), "high".into()], ..ValidatorScope::default() })
    }

    fn validate(&self, inputs: &Inputs, _: &[(String, String)]) -> Verdict {
        match (inputs.float("low"), inputs.float("high")) {
            (Ok(low), Ok(high)) if low > high => Verdict::Refuse(Some("low is above high".into())),
            _ => Verdict::Accept,
        }
    }
}

/// A number that something outside of the graph turns.
struct Dial(Arc<AtomicU64>);

impl Node for Dial {
    fn schema(&self) -> Schema {
        Schema::new("Dial").category("numbers").output("FLOAT")
    }

    fn execute(&self, _: &Context, _: &Inputs) -> Result<Outcome, NodeError> {
        Ok(Outcome::value(self.0.load(Ordering::Relaxed) as f64))
    }

    fn changed(&self, _: &Inputs) -> Result<Option<Changed>, NodeError> {
        Ok(Some(Changed::Fingerprint(self.0.load(Ordering::Relaxed).to_string())))
    }
}

struct Grid(Vec<f32>);

impl Payload for Grid {
    fn type_name(&self) -> &str {
        "GRID"
    }

    fn bytes(&self) -> u64 {
        (self.0.len() * size_of::<f32>()) as u64
    }

    fn summary(&self) -> String {
        format!("{} cells", self.0.len())
    }
}

struct MakeGrid;

impl Node for MakeGrid {
    fn schema(&self) -> Schema {
        Schema::new("MakeGrid")
            .category("grids")
            .input(Input::int("width", 64).range(1, 16384))
            .input(Input::int("height", 64).range(1, 16384))
            .output("GRID")
            .compute()
    }

    fn execute(&self, context: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let (width, height) = (inputs.size("width")?, inputs.size("height")?);
        let mut cells = Vec::with_capacity(width * height);
        for row in 0..height {
            context.progress(row as f64, height as f64)?;
            cells.extend((0..width).map(|column| (row * column) as f32));
        }
        Ok(Outcome::payload(Grid(cells)))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        let (Some(width), Some(height)) = (inputs.uint("width"), inputs.uint("height")) else {
            return Ok(Forecast::unknown());
        };
        Ok(Forecast::output(Sketch::known(width * height * 4, (width, height))))
    }
}

struct GridSum;

impl Node for GridSum {
    fn schema(&self) -> Schema {
        Schema::new("GridSum").category("grids").input(Input::wire("grid", "GRID")).output("FLOAT").compute()
    }

    fn execute(&self, context: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let grid = inputs.payload::<Grid>("grid")?;
        // Twice as precise as the cells: asked for before it is taken.
        let _scratch = context.reserve("sums", grid.bytes() * 2)?;
        let wide: Vec<f64> = grid.0.iter().map(|cell| f64::from(*cell)).collect();
        Ok(Outcome::value(wide.iter().sum::<f64>()))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        let size = inputs.what::<(u64, u64)>("grid");
        Ok(Forecast::unknown().scratch(size.map_or(0, |size| size.0 * size.1 * 8)))
    }
}

fn register(registry: &mut Registry) -> Result<(), DuplicateClass> {
    registry.add(Scale)?;
    registry.add(Shown)?;
    registry.add(Either)?;
    registry.add(Range)?;
    registry.add(Sum)?;
    registry.add(Positive)?;
    registry.add(Power)?;
    registry.add(Wait)?;
    registry.add(Between)?;
    registry.add(MakeGrid)?;
    registry.add(GridSum)
}

fn engine() -> (Engine, Arc<AtomicU64>) {
    let dial = Arc::new(AtomicU64::new(1));
    let mut registry = Registry::new();
    register(&mut registry).unwrap();
    registry.add(Dial(dial.clone())).unwrap();
    (support::engine(registry, CachePolicy::LastRun), dial)
}

fn node(class: &str, inputs: Json) -> Json {
    json!({"class_type": class, "inputs": inputs})
}

/// What node `end` shows, and the events.
async fn shown(engine: &Engine, mut workflow: Json, of: &str) -> (Vec<Json>, Vec<EventKind>) {
    workflow["end"] = node("Shown", json!({"value": [of, 0]}));
    let (ended, events) = support::run(engine, workflow).await;
    ended.unwrap();
    let of_end = |event: &EventKind| match event {
        EventKind::NodeFinished { node, ui: Some(ui), .. } if node.id.as_str() == "end" => {
            Some(ui["text"].clone())
        }
        _ => None,
    };
    let texts = events.iter().find_map(of_end).and_then(|texts| texts.as_array().cloned());
    (texts.unwrap_or_default(), events)
}

fn ran(events: &[EventKind], id: &str) -> bool {
    events.iter().any(|event| matches!(event, EventKind::NodeStarted { node } if node.id.as_str() == id))
}

#[tokio::test]
async fn plain_and_output() {
    let (engine, _) = engine();
    let (texts, _) = shown(&engine, json!({"1": node("Scale", json!({"value": 3.5, "by": 2}))}), "1").await;
    assert_eq!(texts, [json!("7")]);
}

#[tokio::test]
async fn lazy() {
    let (engine, _) = engine();
    let workflow = json!({
        "1": node("Scale", json!({"value": 1, "by": 3})),
        "2": node("Scale", json!({"value": 1, "by": 4})),
        "3": node("Either", json!({"condition": false, "if_true": ["1", 0], "if_false": ["2", 0]})),
    });
    let (texts, events) = shown(&engine, workflow, "3").await;
    assert_eq!(texts, [json!("4")]);
    assert!(ran(&events, "2") && !ran(&events, "1"));
}

#[tokio::test]
async fn lists_and_blockers() {
    let (engine, _) = engine();
    let range = |count: i64| json!({"1": node("Range", json!({"count": count}))});
    let (texts, _) = shown(&engine, range(3), "1").await;
    assert_eq!(texts, [json!("0"), json!("1"), json!("2")]);
    let mut workflow = range(5);
    workflow["2"] = node("Sum", json!({"numbers": ["1", 0]}));
    assert_eq!(shown(&engine, workflow, "2").await.0, [json!("10")]);
    let mut workflow = range(3);
    workflow["2"] = node("Positive", json!({"value": ["1", 0]}));
    let (texts, events) = shown(&engine, workflow, "2").await;
    assert_eq!(texts, [json!("1"), json!("2")], "0 is blocked");
    assert!(support::lines(&events).contains(&"blocked end: it is not positive".to_owned()));
}

#[tokio::test]
async fn expanding() {
    let (engine, _) = engine();
    let workflow = json!({"1": node("Power", json!({"value": 3, "exponent": 4}))});
    let (texts, events) = shown(&engine, workflow, "1").await;
    assert_eq!(texts, [json!("81")]);
    assert!(ran(&events, "1.0.0.below.0.0.product"));
}

#[tokio::test]
async fn asynchronous() {
    let (engine, _) = engine();
    let wait = |value: f64| node("Wait", json!({"value": value, "seconds": 0.01}));
    let workflow = json!({
        "1": wait(2.0), "2": wait(5.0), "3": node("Scale", json!({"value": ["1", 0], "by": ["2", 0]})),
    });
    let (texts, events) = shown(&engine, workflow, "3").await;
    assert_eq!(texts, [json!("10")]);
    assert_eq!(events.iter().filter(|event| matches!(event, EventKind::Progress { .. })).count(), 20);
}

#[tokio::test]
async fn validating() {
    let (engine, _) = engine();
    let workflow = |low: f64| {
        let mut workflow = json!({"1": node("Between", json!({"low": low, "high": 3}))});
        workflow["2"] = node("Shown", json!({"value": ["1", 0]}));
        Workflow::from_json(workflow).unwrap()
    };
    engine.validate(workflow(1.0), None).await.unwrap();
    let refused = engine.validate(workflow(4.0), None).await.map(|_| ()).unwrap_err();
    assert!(refused.explain(&workflow(4.0)).contains("low is above high"));
}

#[tokio::test]
async fn depending_on_the_outside() {
    let (engine, dial) = engine();
    let workflow = || json!({"1": node("Dial", json!({}))});
    assert_eq!(shown(&engine, workflow(), "1").await.0, [json!("1")]);
    let (texts, events) = shown(&engine, workflow(), "1").await;
    assert!(texts == [json!("1")] && !ran(&events, "1"), "nothing has changed");
    dial.store(8, Ordering::Relaxed);
    assert_eq!(shown(&engine, workflow(), "1").await.0, [json!("8")]);
}

#[tokio::test]
async fn forecasting() {
    let (engine, _) = engine();
    let workflow = json!({
        "1": node("MakeGrid", json!({"width": 10, "height": 10})),
        "2": node("GridSum", json!({"grid": ["1", 0]})),
        "end": node("Shown", json!({"value": ["2", 0]})),
    });
    let checked = engine.validate(Workflow::from_json(workflow.clone()).unwrap(), None).await.unwrap();
    assert_eq!(engine.plan(&checked.graph).predicted_peak, 400 + 800, "the grid and the sums' scratch");
    let (ended, _) = support::run(&engine, workflow).await;
    assert_eq!(ended.unwrap().ledger_peak, 400 + 800);
}

#[tokio::test]
async fn what_is_wrong_is_said_with_the_node() {
    let (engine, _) = engine();
    let workflow = json!({
        "1": node("Wait", json!({"value": 1, "seconds": 0})),
        "2": node("Power", json!({"value": ["1", 0], "exponent": 2})),
        "3": node("Sum", json!({"numbers": ["2", 0]})),
        "end": node("Shown", json!({"value": ["3", 0]})),
    });
    let mut with_gap = workflow.clone();
    with_gap["2"]["inputs"]["exponent"] = json!(-1);
    let refused = engine.validate(Workflow::from_json(with_gap.clone()).unwrap(), None).await.map(|_| ());
    let said = refused.unwrap_err().explain(&Workflow::from_json(with_gap).unwrap());
    assert!(said.contains("#2 (Power)") && said.contains("exponent"), "{said}");
    let (ended, _) = support::run(&engine, workflow).await;
    assert!(!matches!(ended, Err(RunError::Failed(_))), "{ended:?}");
}

/// Lines without their indentation.
fn lines(text: &str) -> Vec<&str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect()
}

#[test]
fn the_chapter_shows_what_is_run_here() {
    let chapter = include_str!("../../docs/write-a-node.md");
    let own = lines(include_str!("write_a_node.rs"));
    let blocks: Vec<&str> =
        chapter.split("```").skip(1).step_by(2).filter_map(|b| b.strip_prefix("rust\n")).collect();
    assert!(blocks.len() >= 10, "only {} pieces of code in the chapter", blocks.len());
    for block in blocks {
        let wanted = lines(block);
        let there = own.windows(wanted.len()).any(|window| window == wanted);
        assert!(there, "the chapter shows code that is not in this file:\n{block}");
    }
}
