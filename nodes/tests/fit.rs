//! The demo model in a budget that is too small for it: nearly the same picture, within the predicted peak.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use candle_core::Tensor;
use ebb_engine::cache::CachePolicy;
use ebb_engine::execute::{Engine, EngineConfig, Job};
use ebb_engine::node::{Context, Inputs, Node, NodeError, Outcome, Saving, Savings};
use ebb_engine::plan::Plan;
use ebb_engine::registry::Registry;
use ebb_engine::residency::{KeepLast, Residency};
use ebb_engine::schema::{Input, Schema};
use ebb_engine::workflow::Workflow;
use ebb_kernels::{Kernels, Pool, Threads};
use ebb_models::ops::{Ops, Precision};
use ebb_nodes::values::Image;
use ebb_nodes::{Compute, Environment, Folders};
use ebb_weights::ModelFolders;
use serde_json::{Value as Json, json};

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// Catches the picture that reaches it.
struct Catch(Arc<Mutex<Option<Tensor>>>);

impl Node for Catch {
    fn schema(&self) -> Schema {
        Schema::new("Catch").input(Input::wire("value", "IMAGE")).output_node()
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        *self.0.lock().unwrap() = Some(inputs.payload::<Image>("value")?.tensor().clone());
        Ok(Outcome::none())
    }
}

struct Ran {
    plan: Plan,
    picture: Tensor,
    ledger: u64,
}

/// An engine with a budget, and what it catches.
fn engine(budget: Option<u64>, savings: Savings) -> (Engine, Arc<Mutex<Option<Tensor>>>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let kernels = Kernels::new(Threads::new(2).unwrap(), Pool::new()).unwrap();
    let environment = Environment {
        folders: Arc::new(Folders { input: repository("input"), ..Folders::under(folder.path()) }),
        models: Arc::new(ModelFolders::under(repository("models"))),
        compute: Compute::new(Ops::cpu(kernels, Precision::F32), Precision::F32),
    };
    let mut registry = Registry::new();
    ebb_nodes::register(&mut registry, &environment).unwrap();
    let caught = Arc::new(Mutex::new(None));
    registry.add(Catch(caught.clone())).unwrap();
    let config = EngineConfig { cache: CachePolicy::None, savings, ..EngineConfig::default() };
    (Engine::new(Arc::new(registry), Residency::new(KeepLast, budget), config), caught, folder)
}

async fn plan(workflow: &Json, budget: Option<u64>, savings: Savings) -> Plan {
    let (engine, ..) = engine(budget, savings);
    let valid = engine.validate(Workflow::from_json(workflow.clone()).unwrap(), None).await.unwrap();
    engine.plan(&valid.graph)
}

async fn run(workflow: &Json, budget: Option<u64>, savings: Savings) -> Ran {
    let (engine, caught, _folder) = engine(budget, savings);
    let valid = engine.validate(Workflow::from_json(workflow.clone()).unwrap(), None).await.unwrap();
    let plan = engine.plan(&valid.graph);
    let report = engine.run(Job::new("fit", valid.graph)).await.unwrap();
    let picture = caught.lock().unwrap().take().unwrap();
    Ran { plan, picture, ledger: report.ledger_peak }
}

/// The example, its pictures caught, in fewer steps.
fn example(name: &str) -> Json {
    let text = std::fs::read(repository(&format!("workflows/{name}"))).unwrap();
    let mut workflow: Json = serde_json::from_slice(&text).unwrap();
    for node in workflow.as_object_mut().unwrap().values_mut() {
        if node["class_type"] == "SaveImage" {
            *node = json!({"class_type": "Catch", "inputs": {"value": node["inputs"]["images"]}});
        } else if node["class_type"] == "KSampler" {
            node["inputs"]["steps"] = json!(3);
        }
    }
    workflow
}

/// The mean of the absolute differences.
fn difference(a: &Tensor, b: &Tensor) -> f32 {
    (a - b).unwrap().abs().unwrap().mean_all().unwrap().to_scalar().unwrap()
}

fn kinds(plan: &Plan) -> Vec<&'static str> {
    let savings = plan.decisions.iter().flat_map(|decision| &decision.savings);
    let mut kinds: Vec<_> = savings
        .map(|saving| match saving {
            Saving::Tiles { .. } => "tiles",
            Saving::Slices => "slices",
            Saving::Stream { .. } => "stream",
            Saving::Narrow { .. } => "narrow",
        })
        .collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

#[tokio::test(flavor = "multi_thread")]
async fn tiles_blend_into_nearly_the_same_picture() {
    let mut workflow = example("text-to-image.json");
    for node in workflow.as_object_mut().unwrap().values_mut() {
        if node["class_type"] == "EmptyLatentImage" {
            node["inputs"]["width"] = json!(384);
            node["inputs"]["height"] = json!(320);
        }
    }
    let whole = run(&workflow, None, Savings::default()).await;
    let tiles = Savings { tiles: true, ..Savings::NONE };
    let budget = whole.plan.predicted_peak * 7 / 10;
    let tiled = run(&workflow, Some(budget), tiles).await;
    assert_eq!(kinds(&tiled.plan), ["tiles"]);
    assert!(tiled.ledger <= tiled.plan.predicted_peak && tiled.plan.predicted_peak <= budget);
    let mean = difference(&whole.picture, &tiled.picture);
    println!("tiles: mean difference {mean}");
    // Group norms see a tile and not the whole: a few of 255 steps of brightness.
    assert!(mean > 0.0 && mean < 0.03, "{mean}");
}

#[tokio::test(flavor = "multi_thread")]
async fn fewer_bits_a_weight_are_taken_only_where_they_are_allowed() {
    let mut workflow = example("text-to-image.json");
    // Many small pictures: sampling is the largest step.
    for (input, value) in [("width", 64), ("height", 64), ("batch_size", 16)] {
        workflow["5"]["inputs"][input] = json!(value);
    }
    let whole = run(&workflow, None, Savings::default()).await;
    let narrow = Savings { narrow: true, ..Savings::NONE };
    // The largest budget that is too small for the weights as they are.
    let mut budget = whole.plan.predicted_peak;
    while plan(&workflow, Some(budget), Savings::NONE).await.refusal.is_none() {
        budget -= budget / 100;
    }
    let refusal = plan(&workflow, Some(budget), Savings::NONE).await.refusal.unwrap().1;
    assert!(refusal.needed > budget, "{refusal}");
    let narrowed = run(&workflow, Some(budget), narrow).await;
    assert_eq!(kinds(&narrowed.plan), ["narrow"]);
    assert!(narrowed.plan.refusal.is_none());
    assert!(narrowed.ledger <= narrowed.plan.predicted_peak && narrowed.plan.predicted_peak <= budget);
    let mean = difference(&whole.picture, &narrowed.picture);
    println!("narrow: mean difference {mean}");
    assert!(mean > 0.0 && mean < 0.03, "{mean}");
}
