//! How often each policy loads a model: ten random streams of jobs, and a sweep in its worst order.
//!
//! ```sh
//! cargo run --release -p ebb-engine --example policies
//! curl http://127.0.0.1:8188/history > history.json
//! cargo run --release -p ebb-engine --example policies -- history.json
//! ```
//!
//! The second one simulates a recorded stream: the jobs of a server's history (Ebb's or ComfyUI's) in their order, or a text file
//! with a model's name on each line.
//!
//! The jobs run through the engine itself, with components that weigh nothing but say that they do, so that what is
//! counted is what a server would load. The optimum is Belady's (IBM Systems Journal 5, 1966): with the whole
//! future known and models of one size, evicting what is used furthest ahead gives the fewest loads there can be.

use std::sync::Arc;

use ebb_engine::cache::CachePolicy;
use ebb_engine::events::{EventKind, Recorder};
use ebb_engine::execute::{Engine, EngineConfig, Job};
use ebb_engine::node::{Context, Forecast, Inputs, Node, NodeError, Outcome, Sketches};
use ebb_engine::registry::Registry;
use ebb_engine::residency::{
    Component, ComponentKey, ComponentSpec, Foresight, KeepLast, KeepNothing, Lru, QueuedJob, Residency,
};
use ebb_engine::schema::{Input, Schema};
use ebb_engine::workflow::{Workflow, WorkflowNode};

/// What each model says that it weighs.
const MODEL: u64 = 2 << 30;
const MODELS: usize = 8;
const JOBS: usize = 200;
const STREAMS: u64 = 10;

struct Weights;

impl Component for Weights {
    fn bytes(&self) -> u64 {
        MODEL
    }
}

fn spec(model: i64) -> ComponentSpec {
    let fingerprint = format!("model {model}");
    let key = ComponentKey {
        fingerprint: fingerprint.as_str().into(),
        part: "denoiser".into(),
        dtype: "f16".into(),
    };
    ComponentSpec { key, label: fingerprint.into(), bytes: MODEL, load_overhead: 0 }
}

/// A job: it uses one model.
struct Use;

impl Node for Use {
    fn schema(&self) -> Schema {
        Schema::new("Use").input(Input::int("model", 0)).output_node()
    }

    fn execute(&self, context: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        context.component(&spec(inputs.int("model")?), |_| Ok(Weights))?;
        Ok(Outcome::none())
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        let model = inputs.uint("model").and_then(|model| i64::try_from(model).ok());
        Ok(model.map_or_else(Forecast::unknown, |model| Forecast::default().using(spec(model))))
    }
}

/// A policy, and how many of the jobs that wait it is shown.
#[derive(Clone, Copy)]
enum Choice {
    None,
    KeepLast,
    Lru,
    Foresight { shown: usize },
}

/// The loads of a stream of jobs, each named by its model, with room for so many models.
fn loads(stream: &[usize], room: usize, choice: Choice) -> usize {
    let budget = Some(room as u64 * MODEL);
    let residency = match choice {
        Choice::None => Residency::new(KeepNothing, budget),
        Choice::KeepLast => Residency::new(KeepLast, budget),
        Choice::Lru => Residency::new(Lru(usize::MAX), budget),
        Choice::Foresight { .. } => Residency::new(Foresight, budget),
    };
    let shown = if let Choice::Foresight { shown } = choice { shown } else { 0 };
    let mut registry = Registry::new();
    registry.add(Use).expect("the only node");
    let config = EngineConfig { cache: CachePolicy::None, ..EngineConfig::default() };
    let engine = Engine::new(Arc::new(registry), residency.clone(), config);
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let mut loads = 0;
    for (number, model) in stream.iter().enumerate() {
        let waiting = stream[number + 1..].iter().take(shown);
        let queued = |model: &usize| QueuedJob {
            job: "queued".into(),
            needs: vec![spec(*model as i64).key.to_string()],
        };
        residency.foresee(waiting.map(queued).collect());
        let mut workflow = Workflow::default();
        workflow.nodes.insert("1".into(), WorkflowNode::new("Use").literal("model", *model));
        let recorder = Arc::new(Recorder::default());
        runtime.block_on(async {
            let graph = engine.validate(workflow, None).await.expect("a valid workflow").graph;
            let job = Job::new(&number.to_string(), graph).with_sink(recorder.clone());
            engine.run(job).await.expect("a good end");
        });
        loads += recorder.take().iter().filter(|e| matches!(e.kind, EventKind::Loaded { .. })).count();
    }
    loads
}

/// The fewest loads that there can be.
fn optimum(stream: &[usize], room: usize) -> usize {
    let mut there: Vec<usize> = Vec::new();
    let mut loads = 0;
    for (number, model) in stream.iter().enumerate() {
        if there.contains(model) {
            continue;
        }
        loads += 1;
        if there.len() == room {
            let next = |model: &usize| stream[number..].iter().position(|m| m == model).unwrap_or(usize::MAX);
            let last = (0..room).max_by_key(|at| next(&there[*at])).expect("room for one");
            there.swap_remove(last);
        }
        there.push(*model);
    }
    loads
}

/// Numbers from a seed (xorshift64*, Vigna 2016).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % sides
    }
}

/// Even streams choose among all models alike, odd ones have favourites (the lesser of two rolls).
fn stream(seed: u64) -> Vec<usize> {
    let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let sides = MODELS as u64;
    let mut roll = || {
        let first = dice.roll(sides);
        (if seed.is_multiple_of(2) { first } else { first.min(dice.roll(sides)) }) as usize
    };
    (0..JOBS).map(|_| roll()).collect()
}

fn row(name: &str, stream: &[usize], room: usize) -> Vec<usize> {
    let row = vec![
        loads(stream, room, Choice::None),
        loads(stream, room, Choice::KeepLast),
        loads(stream, room, Choice::Lru),
        loads(stream, room, Choice::Foresight { shown: 0 }),
        loads(stream, room, Choice::Foresight { shown: 5 }),
        loads(stream, room, Choice::Foresight { shown: 20 }),
        loads(stream, room, Choice::Foresight { shown: usize::MAX }),
        optimum(stream, room),
    ];
    print(name, &row);
    row
}

fn print(name: &str, row: &[usize]) {
    let cells: Vec<String> = row.iter().map(usize::to_string).collect();
    println!("| {name} | {} |", cells.join(" | "));
}

fn head(first: &str) {
    println!(
        "| {first} | none | keep-last | lru | next-use, no queue | 5 jobs shown | 20 shown | all shown | optimum |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
}

/// The models of recorded jobs, numbered as they first appear, and how many there are.
fn recorded(text: &str) -> (Vec<usize>, usize) {
    let names: Vec<String> = match serde_json::from_str::<serde_json::Value>(text) {
        Ok(serde_json::Value::Object(history)) => history.values().filter_map(model_of).collect(),
        _ => text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect(),
    };
    let mut known: Vec<&str> = Vec::new();
    let numbers = names.iter().map(|name| {
        known.iter().position(|other| other == name).unwrap_or_else(|| {
            known.push(name);
            known.len() - 1
        })
    });
    let numbers = numbers.collect();
    (numbers, known.len())
}

/// The first model file that a job of a history names.
fn model_of(entry: &serde_json::Value) -> Option<String> {
    let nodes = entry["prompt"][2].as_object()?;
    let named = |input: &str| nodes.values().find_map(|node| node["inputs"][input].as_str());
    ["ckpt_name", "unet_name", "model_path"].into_iter().find_map(named).map(str::to_owned)
}

fn main() {
    if let Some(file) = std::env::args_os().nth(1) {
        let text = std::fs::read_to_string(&file).expect("the recorded stream can be read");
        let (stream, models) = recorded(&text);
        println!("Loads of {} recorded jobs over {models} models.\n", stream.len());
        head("room for");
        for room in 1..=models {
            row(&format!("{room} models"), &stream, room);
        }
        return;
    }
    println!("Loads of {JOBS} jobs over {MODELS} models, with room for 3.\n");
    head("stream");
    let rows: Vec<Vec<usize>> = (1..=STREAMS)
        .map(|seed| {
            let name = format!("{seed}{}", if seed % 2 == 0 { "" } else { ", with favourites" });
            row(&name, &stream(seed), 3)
        })
        .collect();
    let sums: Vec<usize> = (0..rows[0].len()).map(|i| rows.iter().map(|row| row[i]).sum()).collect();
    print("all", &sums);
    assert_eq!(sums[6], sums[7], "with all jobs shown, the default policy is Belady's");

    println!("\nLoads of a sweep over 4 models and 3 seeds, as 12 jobs that change the model each time.\n");
    head("room for");
    let worst: Vec<usize> = (0..12).map(|job| job % 4).collect();
    for room in 1..=4 {
        row(&format!("{room} models"), &worst, room);
    }
}
