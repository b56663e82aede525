//! The demo model against the pictures that its training framework drew: the whole way, from a
//! workflow file through plan and executor to latents and pixels.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::{Device, Tensor};
use ebb_engine::events::Silent;
use ebb_engine::execute::{Engine, EngineConfig, Job};
use ebb_engine::node::{Context, Inputs, Node, NodeError, Outcome};
use ebb_engine::registry::Registry;
use ebb_engine::residency::{Foresight, Residency};
use ebb_engine::schema::{Input, Schema};
use ebb_engine::workflow::Workflow;
use ebb_kernels::{Kernels, Pool, Threads};
use ebb_models::ops::{Ops, Precision};
use ebb_nodes::values::{Image, Latent};
use ebb_nodes::{Compute, Environment, Folders};
use ebb_weights::ModelFolders;
use serde_json::{Value as Json, json};

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// Catches what reaches it, in place of a file.
struct Catch(Arc<std::sync::Mutex<Vec<Tensor>>>);

impl Node for Catch {
    fn schema(&self) -> Schema {
        let inputs =
            Schema::new("Catch").input(Input::wire("latent", "LATENT")).input(Input::wire("image", "IMAGE"));
        inputs.output_node()
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let latent = inputs.payload::<Latent>("latent")?.samples.clone();
        let image = inputs.payload::<Image>("image")?.tensor().clone();
        self.0.lock().unwrap().extend([latent, image]);
        Ok(Outcome::none())
    }
}

fn worst(a: &Tensor, b: &Tensor) -> f32 {
    (a - b).unwrap().abs().unwrap().max_all().unwrap().to_scalar().unwrap()
}

fn mean(a: &Tensor, b: &Tensor) -> f32 {
    (a - b).unwrap().abs().unwrap().mean_all().unwrap().to_scalar().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn six_prompts_give_the_reference_pictures() {
    let folder = tempfile::tempdir().unwrap();
    let kernels = Kernels::new(Threads::new(2).unwrap(), Pool::new()).unwrap();
    let precision = Precision::F32;
    let environment = Environment {
        folders: Arc::new(Folders::under(folder.path())),
        models: Arc::new(ModelFolders::under(repository("models"))),
        compute: Compute::new(Ops::cpu(kernels, precision), precision),
    };
    let caught = Arc::new(std::sync::Mutex::new(Vec::new()));
    let mut registry = Registry::new();
    ebb_nodes::register(&mut registry, &environment).unwrap();
    registry.add(Catch(caught.clone())).unwrap();
    let residency = Residency::new(Foresight, None);
    let engine = Engine::new(Arc::new(registry), residency, EngineConfig::default());

    let settings = std::fs::read(repository("tests/reference/demo-model/settings.json")).unwrap();
    let settings: Json = serde_json::from_slice(&settings).unwrap();
    let workflow = std::fs::read(repository("workflows/text-to-image.json")).unwrap();
    let workflow: Json = serde_json::from_slice(&workflow).unwrap();
    for (i, case) in settings["prompts"].as_array().unwrap().iter().enumerate() {
        let prompt = case["prompt"].as_str().unwrap();
        let mut workflow = workflow.clone();
        workflow["6"]["inputs"]["text"] = json!(prompt);
        workflow["3"]["inputs"]["seed"] = case["seed"].clone();
        workflow["9"] = json!({"class_type": "Catch", "inputs": {"latent": ["3", 0], "image": ["8", 0]}});
        let workflow = Workflow::from_json(workflow).unwrap();
        let valid = engine.validate(workflow, None).await.unwrap();
        engine.run(Job::new(prompt, valid.graph).with_sink(Arc::new(Silent))).await.unwrap();

        let file = format!("tests/reference/demo-model/{}-{}.safetensors", i + 1, prompt.replace(' ', "-"));
        let expected: HashMap<String, Tensor> =
            candle_core::safetensors::load(repository(&file), &Device::Cpu).unwrap();
        let [latent, image] = <[Tensor; 2]>::try_from(std::mem::take(&mut *caught.lock().unwrap())).unwrap();
        let image = image.permute((0, 3, 1, 2)).unwrap();
        let (latent, mean, worst) = (
            worst(&latent, &expected["latent"]),
            mean(&image, &expected["image"]),
            worst(&image, &expected["image"]),
        );
        println!("{prompt}: latent {latent:.5}, picture mean {mean:.6} worst {worst:.5}");
        assert!(mean < 1e-4, "{prompt}: mean difference {mean}");
    }
}
