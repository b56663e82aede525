//! Budgets that are too small: which way a plan takes, and what it refuses.

mod support;

use std::sync::Arc;

use ebb_engine::cache::CachePolicy;
use ebb_engine::events::EventKind;
use ebb_engine::execute::{Engine, EngineConfig, RunError};
use ebb_engine::node::{Context, Forecast, Inputs, Node, NodeError, Outcome, Saving, Savings, Sketches, Way};
use ebb_engine::plan::Plan;
use ebb_engine::residency::{Component, ComponentKey, ComponentSpec, KeepLast, Residency};
use ebb_engine::schema::{Input, Schema};
use ebb_engine::workflow::Workflow;
use serde_json::{Value as Json, json};
use support::{Show, registry, run};

/// Weights of a number of bytes, for which nothing is taken.
struct Weights(u64);

impl Component for Weights {
    fn bytes(&self) -> u64 {
        self.0
    }
}

fn spec(part: &str, dtype: &str, bytes: u64) -> ComponentSpec {
    ComponentSpec {
        key: ComponentKey { fingerprint: "file".into(), part: part.into(), dtype: dtype.into() },
        label: format!("file {part}").into(),
        bytes,
        load_overhead: 0,
    }
}

/// Works with 100 bytes of weights of a part and 50 of scratch; in tiles with 20, streamed with weights of 10, narrow
/// with weights of 5 and scratch of 5. Tells in what way it was done.
struct Work;

impl Work {
    fn ways(part: &str) -> Vec<Way> {
        let whole = spec(part, "f16", 100);
        let way =
            |savings: &[Saving], uses, scratch| Way { savings: savings.to_vec(), uses: vec![uses], scratch };
        let stream = Saving::Stream { resident: 0 };
        vec![
            way(&[Saving::Tiles { side: 256 }], whole, 20),
            way(&[stream], spec(part, "f16 0%", 10), 50),
            way(&[Saving::Narrow { dtype: "q4".into() }], spec(part, "q4", 5), 5),
        ]
    }
}

impl Node for Work {
    fn schema(&self) -> Schema {
        let schema = Schema::new("Work").input(Input::string("part", "a"));
        schema.input(Input::wire("after", "*").optional()).output("STRING").compute()
    }

    fn execute(&self, context: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let part = inputs.str("part")?;
        let way = Self::ways(part).into_iter().find(|way| way.savings == context.savings());
        let (uses, scratch) = match &way {
            Some(way) => (way.uses[0].clone(), way.scratch),
            None => (spec(part, "f16", 100), 50),
        };
        let _weights = context.component(&uses, |_| Ok(Weights(uses.bytes)))?;
        let _scratch = context.reserve("work", scratch)?;
        let done: Vec<String> = context.savings().iter().map(ToString::to_string).collect();
        Ok(Outcome::value(done.join("; ")))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        let part = inputs.str("part").unwrap_or("a");
        Ok(Forecast::unknown().using(spec(part, "f16", 100)).scratch(50).or(Self::ways(part)))
    }
}

fn engine(budget: u64, savings: Savings) -> Engine {
    let mut registry = registry();
    registry.add(Work).unwrap();
    let config = EngineConfig { cache: CachePolicy::None, savings, ..EngineConfig::default() };
    Engine::new(Arc::new(registry), Residency::new(KeepLast, Some(budget)), config)
}

fn one() -> Json {
    json!({
        "1": {"class_type": "Work", "inputs": {"part": "a"}},
        "2": {"class_type": "Show", "inputs": {"value": ["1", 0]}},
    })
}

async fn plan(engine: &Engine, workflow: Json) -> Plan {
    let checked = engine.validate(Workflow::from_json(workflow).unwrap(), None).await.unwrap();
    engine.plan(&checked.graph)
}

fn shown(events: &[EventKind]) -> String {
    let ui = events.iter().find_map(|event| match event {
        EventKind::NodeFinished { ui: Some(ui), .. } => Some(ui.clone()),
        _ => None,
    });
    ui.unwrap()["shown"][0].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_first_way_that_fits_is_taken_and_told_to_the_node() {
    let _ = Show;
    for (budget, expected, peak) in [
        (150, "", 150),
        (149, "tiles of 256×256 pixels, seams blended", 120),
        (119, "weights read from the file as they are used", 60),
    ] {
        let engine = engine(budget, Savings::default());
        let plan = plan(&engine, one()).await;
        assert_eq!((plan.predicted_peak, plan.refusal.is_none()), (peak, true), "{budget}");
        let (ended, events) = run(&engine, one()).await;
        let report = ended.unwrap();
        assert_eq!((shown(&events).as_str(), report.ledger_peak), (expected, peak), "{budget}");
        if let Some(decision) = plan.decisions.first() {
            assert_eq!((decision.before, decision.after), (150, peak));
            assert!(plan.to_text().contains("to fit the budget: #1 Work"), "{}", plan.to_text());
        }
    }
}

#[tokio::test]
async fn what_is_not_allowed_is_refused_with_what_would_help() {
    for (budget, savings, needed, advice) in [
        (119, Savings { stream: false, ..Savings::default() }, 120, "--savings"),
        (30, Savings::default(), 60, "--allow-quantize"),
        (9, Savings { narrow: true, ..Savings::default() }, 10, "--memory"),
        (149, Savings::NONE, 150, "--savings"),
    ] {
        let engine = engine(budget, savings);
        let plan = plan(&engine, one()).await;
        let (node, refusal) = plan.refusal.unwrap();
        assert_eq!((node.id.as_str(), refusal.needed, refusal.budget), ("1", needed, budget));
        assert!(refusal.advice.contains(advice), "{refusal}");
        let (ended, events) = run(&engine, one()).await;
        let Err(RunError::Failed(error)) = ended else { panic!("{ended:?}") };
        assert_eq!((error.node.id.as_str(), error.kind), ("1", "memory"));
        let loaded =
            |event: &EventKind| matches!(event, EventKind::Loaded { .. } | EventKind::Loading { .. });
        assert!(!events.iter().any(loaded), "nothing is loaded for what cannot run");
        assert_eq!(engine.residency().ledger().peak(), 0);
    }
}

#[tokio::test]
async fn components_go_one_after_the_other_before_anything_else_is_done() {
    let workflow = json!({
        "1": {"class_type": "Work", "inputs": {"part": "a"}},
        "2": {"class_type": "Work", "inputs": {"part": "b", "after": ["1", 0]}},
        "3": {"class_type": "Work", "inputs": {"part": "a", "after": ["2", 0]}},
        "4": {"class_type": "Show", "inputs": {"value": ["3", 0]}},
    });
    // The second component is loaded while there is room for it; the first one makes way for the scratch.
    for (budget, peak, loads) in [(250, 250, 2), (249, 200, 3), (199, 150, 3)] {
        let engine = engine(budget, Savings::default());
        let plan = plan(&engine, workflow.clone()).await;
        assert_eq!((plan.predicted_peak, plan.decisions.len()), (peak, 0), "{budget}");
        let planned: usize = plan.steps.iter().map(|step| step.loads.len()).sum();
        let again: usize = plan.steps.iter().map(|step| step.evicts.len()).sum();
        assert_eq!((planned, again), (loads, loads - 2), "{budget}");
        let (ended, events) = run(&engine, workflow.clone()).await;
        assert_eq!(ended.unwrap().ledger_peak, peak, "{budget}");
        let loaded = events.iter().filter(|event| matches!(event, EventKind::Loaded { .. })).count();
        assert_eq!(loaded, loads, "{budget}");
    }
}

#[tokio::test]
async fn what_earlier_runs_left_is_part_of_the_peak_until_it_must_go() {
    let engine = engine(400, Savings::default());
    let other = json!({
        "1": {"class_type": "Work", "inputs": {"part": "b"}},
        "2": {"class_type": "Show", "inputs": {"value": ["1", 0]}},
    });
    run(&engine, other).await.0.unwrap();
    assert_eq!(plan(&engine, one()).await.predicted_peak, 250);
    assert_eq!(run(&engine, one()).await.0.unwrap().ledger_peak, 250);
}
