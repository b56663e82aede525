//! A node of a third party's own: a crate adds it to a registry and runs a workflow with it.
//!
//! `cargo run --release -p ebb-engine --example own_node`

use std::error::Error;
use std::sync::Arc;

use ebb_engine::events::{Event, EventKind};
use ebb_engine::execute::{Engine, EngineConfig, Job};
use ebb_engine::node::{Context, Inputs, Node, NodeError, Outcome};
use ebb_engine::registry::Registry;
use ebb_engine::residency::{Foresight, Residency};
use ebb_engine::schema::{Input, Schema};
use ebb_engine::workflow::Workflow;
use serde_json::json;

/// Repeats a text.
struct Echo;

impl Node for Echo {
    fn schema(&self) -> Schema {
        Schema::new("Echo")
            .category("text")
            .describe("Repeats a text some times.")
            .input(Input::string("text", "").option("multiline", true))
            .input(Input::int("times", 2).range(1, 10))
            .output("STRING")
    }

    fn execute(&self, context: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let times = inputs.size("times")?;
        let mut text = String::new();
        for i in 0..times {
            text.push_str(inputs.str("text")?);
            context.progress((i + 1) as f64, times as f64)?;
        }
        Ok(Outcome::value(text))
    }
}

/// Shows a text: an output node, the reason for a workflow to run at all.
struct ShowText;

impl Node for ShowText {
    fn schema(&self) -> Schema {
        Schema::new("ShowText").category("text").input(Input::string("text", "")).output_node()
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let ui = json!({"text": [inputs.str("text")?]});
        Ok(Outcome::none().with_ui(ui.as_object().cloned().unwrap_or_default()))
    }
}

fn print(event: Event) {
    match event.kind {
        EventKind::NodeStarted { node } => println!("{} begins", node.class),
        EventKind::Progress { value, max, .. } => println!("  {value} of {max}"),
        EventKind::NodeFinished { node, ui, .. } => {
            println!("{} is done{}", node.class, ui.map_or(String::new(), |ui| format!(": {ui:?}")));
        }
        _ => {}
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut registry = Registry::new();
    registry.add(Echo)?;
    registry.add(ShowText)?;
    let engine = Engine::new(Arc::new(registry), Residency::new(Foresight, None), EngineConfig::default());

    let workflow = Workflow::from_json(json!({
        "1": {"class_type": "Echo", "inputs": {"text": "ebb and flow, ", "times": 3}},
        "2": {"class_type": "ShowText", "inputs": {"text": ["1", 0]}},
    }))?;
    let checked = engine.validate(workflow, None).await?;
    println!("{}", engine.plan(&checked.graph).to_text());
    engine.run(Job::new("example", checked.graph).with_sink(Arc::new(print))).await?;
    Ok(())
}
