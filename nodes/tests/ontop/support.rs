//! Model folders made from the kit's manifests, and an engine whose results can be looked at.

use std::any::Any;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use candle_core::{Device, Tensor};
use ebb_engine::events::{Event, EventKind, EventSink};
use ebb_engine::execute::{Engine, EngineConfig, Job};
use ebb_engine::node::{Context, Inputs, Node, NodeError, Outcome};
use ebb_engine::registry::Registry;
use ebb_engine::residency::{Foresight, Residency};
use ebb_engine::schema::{Input, Schema};
use ebb_engine::value::{Payload, Value};
use ebb_engine::workflow::Workflow;
use ebb_kernels::{Kernels, Pool, Threads};
use ebb_models::denoiser::{Input as DenoiserInput, Session};
use ebb_models::ops::{Ops, Precision};
use ebb_nodes::values::{Conditioning, Model};
use ebb_nodes::{Compute, Environment, Folders};
use ebb_weights::ModelFolders;
use serde_json::{Value as Json, json};

use crate::synth;

/// Bound of the kit: the largest difference in standard deviations of the output.
pub(crate) const BOUND: f64 = 2e-4;

/// A family of the kit.
pub(crate) struct Kit {
    pub(crate) manifest: Json,
    pub(crate) io: HashMap<String, Tensor>,
}

impl Kit {
    pub(crate) fn open(family: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/reference/models").join(family);
        let manifest = std::fs::read(folder.join("manifest.json")).unwrap();
        let io = candle_core::safetensors::load(folder.join("io.safetensors"), &Device::Cpu).unwrap();
        Self { manifest: serde_json::from_slice(&manifest).unwrap(), io }
    }

    /// The tensors that an entry of the manifest lists; the names of those in `constant` get that value instead.
    pub(crate) fn tensors(&self, entry: &str, salt: &str) -> HashMap<String, Tensor> {
        let listed = self.manifest[entry].as_object().unwrap().iter();
        listed
            .map(|(name, shape)| {
                let shape: Vec<usize> = serde_json::from_value(shape.clone()).unwrap();
                let values = if name.ends_with(".alpha") {
                    vec![self.manifest["lora_alpha"].as_f64().unwrap() as f32]
                } else {
                    synth::tensor(&format!("{salt}{name}"), &shape)
                };
                (name.clone(), Tensor::from_vec(values, shape, &Device::Cpu).unwrap())
            })
            .collect()
    }
}

/// Runs workflows on model folders of its own.
pub(crate) struct Bench {
    pub(crate) engine: Engine,
    pub(crate) folder: tempfile::TempDir,
    caught: Arc<Mutex<Vec<Value>>>,
    probe: Arc<Mutex<HashMap<String, Tensor>>>,
    events: Arc<Events>,
}

/// Texts and progress that nodes told of.
#[derive(Default)]
struct Events(Mutex<Vec<EventKind>>);

impl EventSink for Events {
    fn emit(&self, event: Event) {
        self.0.lock().unwrap().push(event.kind);
    }
}

impl Bench {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let kernels = Kernels::new(Threads::new(2).unwrap(), Pool::new()).unwrap();
        let environment = Environment {
            folders: Arc::new(Folders::under(folder.path())),
            models: Arc::new(ModelFolders::under(folder.path().join("models"))),
            compute: Compute::new(Ops::cpu(kernels, Precision::F32), Precision::F32),
        };
        let (caught, probe) = (Arc::default(), Arc::default());
        let mut registry = Registry::new();
        ebb_nodes::register(&mut registry, &environment).unwrap();
        registry.add(Catch(Arc::clone(&caught))).unwrap();
        registry.add(Probe(Arc::clone(&probe))).unwrap();
        registry.add(Given(Arc::clone(&probe))).unwrap();
        registry.add(GivenPrompt(Arc::clone(&probe))).unwrap();
        let engine =
            Engine::new(Arc::new(registry), Residency::new(Foresight, None), EngineConfig::default());
        Self { engine, folder, caught, probe, events: Arc::default() }
    }

    pub(crate) fn path(&self, kind: &str, name: &str) -> PathBuf {
        let folder = self.folder.path().join("models").join(kind);
        std::fs::create_dir_all(&folder).unwrap();
        folder.join(name)
    }

    /// Writes a model file.
    pub(crate) fn write(&self, kind: &str, name: &str, tensors: &HashMap<String, Tensor>) {
        candle_core::safetensors::save(tensors, self.path(kind, name)).unwrap();
    }

    /// Tensors that the nodes `Given` and `Probe` read by their names.
    pub(crate) fn give(&self, name: &str, tensor: &Tensor) {
        self.probe.lock().unwrap().insert(name.to_owned(), tensor.clone());
    }

    /// Runs a workflow; answers what its `Catch` nodes saw, in their order.
    pub(crate) async fn run(&self, workflow: Json) -> Vec<Value> {
        match self.try_run(workflow).await {
            Ok(values) => values,
            Err(why) => panic!("{why}"),
        }
    }

    /// As [`run`](Self::run), where a failure is what is looked for.
    pub(crate) async fn try_run(&self, workflow: Json) -> Result<Vec<Value>, String> {
        self.events.0.lock().unwrap().clear();
        self.caught.lock().unwrap().clear();
        let workflow = Workflow::from_json(workflow).unwrap();
        let valid = self.engine.validate(workflow, None).await.map_err(|e| format!("{e:?}"))?;
        let job = Job::new("test", valid.graph).with_sink(self.events.clone());
        self.engine.run(job).await.map_err(|e| format!("{e:?}"))?;
        Ok(std::mem::take(&mut *self.caught.lock().unwrap()))
    }

    /// Lines of text that nodes showed in the last run.
    pub(crate) fn texts(&self) -> Vec<String> {
        let events = self.events.0.lock().unwrap();
        let text = |kind: &EventKind| match kind {
            EventKind::Text { text, .. } => Some(text.clone()),
            _ => None,
        };
        events.iter().filter_map(text).collect()
    }

    /// Bytes that the ledger names now.
    pub(crate) fn held(&self) -> u64 {
        self.engine.residency().ledger().total()
    }
}

/// The payload of a caught value.
pub(crate) fn payload<P: Payload>(value: &Value) -> Arc<P> {
    let Value::Payload(payload) = value else { panic!("a plain value") };
    let any: Arc<dyn Any + Send + Sync> = payload.clone();
    any.downcast().unwrap_or_else(|_| panic!("another type of value"))
}

/// The largest difference, in standard deviations of what is expected.
pub(crate) fn difference(found: &Tensor, expected: &Tensor) -> f64 {
    assert_eq!(found.dims(), expected.dims());
    let values = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let (found, expected) = (values(found), values(expected));
    let mean = expected.iter().map(|v| f64::from(*v)).sum::<f64>() / expected.len() as f64;
    let variance =
        expected.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / expected.len() as f64;
    let worst = found.iter().zip(&expected).map(|(a, b)| f64::from((a - b).abs())).fold(0.0, f64::max);
    worst / variance.sqrt().max(1e-12)
}

/// Catches what reaches it, in place of a file.
struct Catch(Arc<Mutex<Vec<Value>>>);

impl Node for Catch {
    fn schema(&self) -> Schema {
        Schema::new("Catch").input(Input::wire("value", "*")).output_node()
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        self.0.lock().unwrap().push(inputs.value("value")?.clone());
        Ok(Outcome::none())
    }
}

/// Calls a model once with the kit's `x`, `timestep` and `context`.
struct Probe(Arc<Mutex<HashMap<String, Tensor>>>);

/// A tensor as a value.
pub(crate) struct Probed(pub(crate) Tensor);

impl Payload for Probed {
    fn type_name(&self) -> &'static str {
        "PROBED"
    }

    fn bytes(&self) -> u64 {
        (self.0.elem_count() * 4) as u64
    }

    fn summary(&self) -> String {
        format!("{:?}", self.0.dims())
    }
}

impl Node for Probe {
    fn schema(&self) -> Schema {
        Schema::new("Probe").input(Input::wire("model", "MODEL")).output("PROBED").compute()
    }

    fn execute(&self, context: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let given = self.0.lock().unwrap().clone();
        let loaded = inputs.payload::<Model>("model")?.load(context)?;
        let timesteps = given["timestep"].to_vec1::<f32>().unwrap();
        let input = DenoiserInput {
            y: given.get("y"),
            ..DenoiserInput::new(&given["x"], &timesteps, &given["context"])
        };
        let output = loaded.network().denoise(&mut Session::new(), input);
        Ok(Outcome::payload(Probed(output.map_err(|e| NodeError::failed(e.to_string()))?)))
    }
}

/// A given tensor as an image, channels last.
struct Given(Arc<Mutex<HashMap<String, Tensor>>>);

impl Node for Given {
    fn schema(&self) -> Schema {
        Schema::new("Given").input(Input::string("name", "")).output("IMAGE")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let tensor = self.0.lock().unwrap()[inputs.str("name")?].clone();
        Ok(Outcome::payload(ebb_nodes::values::Image::new(tensor)?))
    }
}

/// Given tokens and a given pooled vector as a prompt.
struct GivenPrompt(Arc<Mutex<HashMap<String, Tensor>>>);

impl Node for GivenPrompt {
    fn schema(&self) -> Schema {
        Schema::new("GivenPrompt").input(Input::string("name", "")).output("CONDITIONING")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let (given, name) = (self.0.lock().unwrap(), inputs.str("name")?);
        let (tokens, pooled) = (&given[&format!("{name}.tokens")], &given[&format!("{name}.pooled")]);
        let entry = ebb_sampling::guidance::Conditioning::prompt(tokens.clone(), Some(pooled.clone()));
        Ok(Outcome::payload(Conditioning { entries: vec![entry] }))
    }
}

/// A node of a workflow.
pub(crate) fn node(class: &str, inputs: Json) -> Json {
    json!({"class_type": class, "inputs": inputs})
}
