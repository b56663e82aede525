//! The core nodes against ComfyUI's own: a workflow of some four hundred nodes on the demo model, run by ComfyUI 0.3.64
//! (f32, CPU), and what it gave for each of these outputs. `tests/reference/nodes/README.md` says how.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use candle_core::{DType, Device, Tensor};
use ebb_engine::events::Silent;
use ebb_engine::execute::{Engine, EngineConfig, Job};
use ebb_engine::node::{Context, Inputs, Node, NodeError, Outcome};
use ebb_engine::registry::Registry;
use ebb_engine::residency::{Foresight, Residency};
use ebb_engine::schema::{Input, Schema};
use ebb_engine::workflow::Workflow;
use ebb_kernels::{Kernels, Pool, Threads};
use ebb_models::ops::{Ops, Precision};
use ebb_nodes::values::{Image, Latent, Mask};
use ebb_nodes::{Compute, Environment, Folders};
use ebb_weights::ModelFolders;
use serde_json::{Value as Json, json};

/// Latents: of the reference's standard deviation, as for samplers on an analytic model.
const LATENT_BOUND: f64 = 1e-3;
/// Pictures and masks as 8-bit levels: a value on the border between two may fall to either side.
const LEVELS: i32 = 1;
/// JPEG decoders round their transforms differently.
const JPEG_LEVELS: i32 = 3;

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

type Caught = Arc<Mutex<HashMap<String, Tensor>>>;

/// Keeps what reaches it under a name.
struct Catch(&'static str, Caught);

impl Node for Catch {
    fn schema(&self) -> Schema {
        let schema = Schema::new(format!("Catch {}", self.0)).input(Input::wire("value", self.0));
        schema.input(Input::string("name", "")).output_node()
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let tensor = match self.0 {
            "LATENT" => inputs.payload::<Latent>("value")?.samples.clone(),
            "IMAGE" => inputs.payload::<Image>("value")?.tensor().clone(),
            _ => inputs.payload::<Mask>("value")?.tensor().clone(),
        };
        self.1.lock().unwrap().insert(inputs.str("name")?.to_owned(), tensor);
        Ok(Outcome::none())
    }
}

fn engine(caught: &Caught) -> Engine {
    let kernels = Kernels::new(Threads::new(2).unwrap(), Pool::new()).unwrap();
    let folder = repository("tests/reference/nodes");
    let environment = Environment {
        folders: Arc::new(Folders { input: folder.join("input"), ..Folders::under("none") }),
        models: Arc::new(ModelFolders::under(repository("models"))),
        compute: Compute::new(Ops::cpu(kernels, Precision::F32), Precision::F32),
    };
    let mut registry = Registry::new();
    ebb_nodes::register(&mut registry, &environment).unwrap();
    for kind in ["LATENT", "IMAGE", "MASK"] {
        registry.add(Catch(kind, caught.clone())).unwrap();
    }
    Engine::new(Arc::new(registry), Residency::new(Foresight, None), EngineConfig::default())
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// What is wrong with an output, if anything.
fn fault(kind: &str, found: &Tensor, expected: &Tensor, levels: i32) -> Option<String> {
    if found.dims() != expected.dims() {
        return Some(format!("shape {:?}, expected {:?}", found.dims(), expected.dims()));
    }
    let (found, expected) = (values(found), values(expected));
    if kind == "LATENT" {
        let count = expected.len() as f64;
        let mean = expected.iter().map(|v| f64::from(*v)).sum::<f64>() / count;
        let deviation = (expected.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / count).sqrt();
        let worst = found.iter().zip(&expected).map(|(a, b)| f64::from(a - b).abs());
        let worst = worst.fold(0.0, |w, d| if d > w || d.is_nan() { d } else { w }) / deviation;
        let passes = worst <= LATENT_BOUND; // NaN does not
        return (!passes).then(|| format!("error {worst:.2e} of the standard deviation"));
    }
    // As pictures are written: cut off, not rounded.
    let level = |v: f32| (255.0 * v).clamp(0.0, 255.0) as i32;
    let worst = found.iter().zip(&expected).map(|(a, b)| (level(*a) - *b as i32).abs()).max().unwrap_or(0);
    (worst > levels).then(|| format!("{worst} levels"))
}

#[tokio::test(flavor = "multi_thread")]
async fn core_nodes_give_what_comfyuis_give() {
    let caught = Caught::default();
    let engine = engine(&caught);
    let read = std::fs::read(repository("tests/reference/nodes/core.json")).unwrap();
    let mut recorded: Json = serde_json::from_slice(&read).unwrap();
    let outputs = recorded["outputs"].as_object().unwrap().clone();
    // What was saved there is caught here.
    let workflow = recorded["workflow"].as_object_mut().unwrap();
    for (name, output) in &outputs {
        let class = format!("Catch {}", output[2].as_str().unwrap());
        let inputs = json!({"value": [output[0], output[1]], "name": name});
        workflow.insert(format!("catch {name}"), json!({"class_type": class, "inputs": inputs}));
    }
    let workflow = Workflow::from_json(Json::Object(workflow.clone())).unwrap();
    let valid = engine.validate(workflow.clone(), None).await.unwrap();
    assert!(valid.node_errors.is_empty(), "{}", valid.node_errors.explain(&workflow));
    engine.run(Job::new("core", valid.graph).with_sink(Arc::new(Silent))).await.unwrap();

    let file = repository("tests/reference/nodes/core.safetensors");
    let expected = candle_core::safetensors::load(file, &Device::Cpu).unwrap();
    let caught = caught.lock().unwrap();
    let faults: Vec<String> = outputs
        .iter()
        .filter_map(|(name, output)| {
            let levels = if name.contains("jpg") { JPEG_LEVELS } else { LEVELS };
            let fault = fault(output[2].as_str().unwrap(), &caught[name], &expected[name], levels)?;
            Some(format!("{name}: {fault}"))
        })
        .collect();
    assert!(faults.is_empty(), "{} of {}:\n{}", faults.len(), outputs.len(), faults.join("\n"));
}
