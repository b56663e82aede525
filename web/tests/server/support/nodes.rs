//! Output nodes for these tests: one that takes its time, one that panics, one that counts its runs on the
//! disk, one that loads for long.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use ebb_engine::node::{Context, Inputs, Node, NodeError, Outcome};
use ebb_engine::registry::Registry;
use ebb_engine::residency::{Component, ComponentKey, ComponentSpec};
use ebb_engine::schema::{Input, Schema};
use serde_json::{Value as Json, json};

/// Waits, looking whether it shall stop; then says its text.
struct Slow;

impl Node for Slow {
    fn schema(&self) -> Schema {
        Schema::new("EbbTestSlow")
            .input(Input::float("seconds", 0.0))
            .input(Input::string("text", ""))
            .output_node()
            .compute()
    }

    fn execute(&self, context: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let steps = (inputs.float("seconds")? * 100.0) as u32;
        for step in 0..steps {
            context.progress(f64::from(step), f64::from(steps))?;
            std::thread::sleep(Duration::from_millis(10));
        }
        let text = json!([inputs.str("text")?]);
        Ok(Outcome::none().with_ui([("text".to_owned(), text)].into_iter().collect()))
    }
}

/// Appends its text to a file: shows how often it ran.
struct Append;

impl Node for Append {
    fn schema(&self) -> Schema {
        Schema::new("EbbTestAppend")
            .input(Input::string("file", ""))
            .input(Input::string("text", ""))
            .output_node()
            .compute()
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let failed = |e: std::io::Error| NodeError::failed(e.to_string());
        let mut file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(Path::new(inputs.str("file")?))
            .map_err(failed)?;
        writeln!(file, "{}", inputs.str("text")?).map_err(failed)?;
        Ok(Outcome::none())
    }
}

struct Panics;

impl Node for Panics {
    fn schema(&self) -> Schema {
        Schema::new("EbbTestPanics").input(Input::string("text", "")).output_node().compute()
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        panic!("on purpose: {}", inputs.str("text")?)
    }
}

/// Asks for weights that take ten seconds to read.
struct Loads;

struct Weights;

impl Component for Weights {
    fn bytes(&self) -> u64 {
        1 << 20
    }
}

impl Node for Loads {
    fn schema(&self) -> Schema {
        Schema::new("EbbTestLoads").input(Input::string("name", "")).output_node().compute()
    }

    fn execute(&self, context: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let name = inputs.str("name")?;
        let key = ComponentKey { fingerprint: name.into(), part: "weights".into(), dtype: "f32".into() };
        let spec = ComponentSpec { key, label: name.into(), bytes: 1 << 20, load_overhead: 0 };
        context.component(&spec, |progress| {
            for done in 0..1000 {
                progress.report(done, 1000)?;
                if done == 5 && name == "broken weights" {
                    return Err(NodeError::model("the file ends early"));
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            Ok(Weights)
        })?;
        Ok(Outcome::none())
    }
}

pub(crate) fn register(registry: &mut Registry) {
    registry.add(Slow).expect("a free name");
    registry.add(Append).expect("a free name");
    registry.add(Panics).expect("a free name");
    registry.add(Loads).expect("a free name");
}

/// A prompt of one node.
pub(crate) fn prompt(class: &str, inputs: Json) -> Json {
    json!({"1": {"class_type": class, "inputs": inputs}})
}

/// A prompt that takes so many seconds. The text keeps it out of the cache.
pub(crate) fn slow(seconds: f64, text: &str) -> Json {
    prompt("EbbTestSlow", json!({"seconds": seconds, "text": text}))
}
