//! Small nodes and a small harness for the engine's own tests.
#![allow(dead_code, reason = "each test target uses its part of it")]

pub(crate) mod cells;
pub(crate) mod naive;

use std::sync::Arc;

use ebb_engine::cache::CachePolicy;
use ebb_engine::events::{Event, EventKind, Recorder};
use ebb_engine::execute::{Engine, EngineConfig, Job, RunError, RunReport};
use ebb_engine::node::{Context, Inputs, Node, NodeError, Outcome};
use ebb_engine::registry::Registry;
use ebb_engine::residency::{Foresight, Residency};
use ebb_engine::schema::{Input, Schema};
use ebb_engine::workflow::Workflow;
use serde_json::{Value as Json, json};

/// `value` as an INT.
pub(crate) struct Number;

impl Node for Number {
    fn schema(&self) -> Schema {
        Schema::new("Number").input(Input::int("value", 0).range(-1000, 1000)).output("INT")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        Ok(Outcome::value(inputs.int("value")?))
    }
}

/// `a + b`.
pub(crate) struct Add;

impl Node for Add {
    fn schema(&self) -> Schema {
        Schema::new("Add").input(Input::int("a", 0)).input(Input::int("b", 0)).output("INT")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        Ok(Outcome::value(inputs.int("a")?.wrapping_add(inputs.int("b")?)))
    }
}

/// An output node that shows its value.
pub(crate) struct Show;

impl Node for Show {
    fn schema(&self) -> Schema {
        Schema::new("Show").input(Input::wire("value", "*")).output_node()
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let shown = match inputs.value("value")?.as_json() {
            Some(json) => json.clone(),
            None => json!(format!("{:?}", inputs.value("value")?)),
        };
        let ui = json!({"shown": [shown]});
        Ok(Outcome::none().with_ui(ui.as_object().cloned().unwrap_or_default()))
    }
}

/// A registry of the nodes above.
pub(crate) fn registry() -> Registry {
    let mut registry = Registry::new();
    registry.add(Number).unwrap();
    registry.add(Add).unwrap();
    registry.add(Show).unwrap();
    registry
}

/// An engine over a registry.
pub(crate) fn engine(registry: Registry, cache: CachePolicy) -> Engine {
    let config = EngineConfig { cache, ..EngineConfig::default() };
    Engine::new(Arc::new(registry), Residency::new(Foresight, None), config)
}

/// Checks and runs a workflow; the result and the events.
pub(crate) async fn run(engine: &Engine, workflow: Json) -> (Result<RunReport, RunError>, Vec<EventKind>) {
    let workflow = Workflow::from_json(workflow).unwrap();
    let checked = engine.validate(workflow, None).await.unwrap();
    let sink = Arc::new(Recorder::default());
    let result = engine.run(Job::new("job", checked.graph).with_sink(sink.clone())).await;
    (result, sink.take().into_iter().map(|Event { kind, .. }| kind).collect())
}

/// The events as short lines: what a client would see, in order.
pub(crate) fn lines(events: &[EventKind]) -> Vec<String> {
    let line = |event: &EventKind| match event {
        EventKind::Cached { nodes } => {
            Some(format!("cached {}", nodes.iter().map(|id| id.as_str()).collect::<Vec<_>>().join(" ")))
        }
        EventKind::NodeStarted { node } => Some(format!("start {}", node.id)),
        EventKind::NodeDeferred { node, wants } => Some(format!("defer {} for {}", node.id, wants.join(" "))),
        EventKind::NodeExpanded { node, nodes } => Some(format!("expand {} into {nodes}", node.id)),
        EventKind::NodeFinished { node, cached: false, .. } => Some(format!("finish {}", node.id)),
        EventKind::NodeFinished { node, cached: true, origin, .. } => {
            Some(format!("finish {} from {}", node.id, origin.id))
        }
        EventKind::NodeBlocked { node, message, .. } => Some(format!("blocked {}: {message}", node.id)),
        EventKind::ValueDropped { node, slot, .. } => Some(format!("drop {}.{slot}", node.id)),
        EventKind::Failed { error } => Some(format!("failed {}: {}", error.node.id, error.message)),
        EventKind::Interrupted { node, .. } => {
            Some(format!("interrupted {}", node.as_ref().map_or("-", |node| node.id.as_str())))
        }
        EventKind::Succeeded => Some("done".into()),
        _ => None,
    };
    events.iter().filter_map(line).collect()
}

/// What output nodes showed, by id.
pub(crate) fn shown(events: &[EventKind]) -> Vec<(String, Json)> {
    let shown = |event: &EventKind| match event {
        EventKind::NodeFinished { node, ui: Some(ui), .. } => {
            Some((node.id.to_string(), ui.get("shown").cloned().unwrap_or_default()))
        }
        _ => None,
    };
    events.iter().filter_map(shown).collect()
}
