//! The recorded scenarios, without a server: each accepted prompt is checked and run, its events
//! are read as the frames that a client would get, and these are compared with the recording.

mod frames;

use std::path::Path;
use std::sync::Arc;

use ebb_engine::events::{EventKind, Recorder};
use ebb_engine::execute::{Engine, EngineConfig, Job, RunError};
use ebb_engine::registry::Registry;
use ebb_engine::residency::{Foresight, Residency};
use ebb_engine::workflow::{NodeId, Workflow};
use ebb_kernels::{Kernels, Pool, Threads};
use ebb_models::ops::{Ops, Precision};
use ebb_nodes::{Compute, Environment, Folders};
use ebb_weights::ModelFolders;
use serde_json::{Value as Json, json};

/// The nodes of the scenarios; pictures go into a folder of the test's own.
fn engine(folder: &Path) -> Engine {
    engine_with(folder, ModelFolders::under(folder))
}

fn engine_with(folder: &Path, models: ModelFolders) -> Engine {
    let folders = Arc::new(Folders::under(folder));
    for folder in [&folders.input, &folders.output, &folders.temp] {
        std::fs::create_dir_all(folder).unwrap();
    }
    let mut registry = Registry::new();
    let kernels = Kernels::new(Threads::new(1).unwrap(), Pool::new()).unwrap();
    let environment = Environment {
        folders,
        models: Arc::new(models),
        compute: Compute::new(Ops::cpu(kernels, Precision::F32), Precision::F32),
    };
    ebb_nodes::register(&mut registry, &environment).unwrap();
    ebb_testing_nodes::register(&mut registry).unwrap();
    Engine::new(Arc::new(registry), Residency::new(Foresight, None), EngineConfig::default())
}

fn transcript(name: &str) -> Json {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../conformance/transcripts").join(format!("{name}.json"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// What one prompt of a scenario did.
struct Played {
    expected: Vec<Json>,
    found: Vec<Json>,
}

/// Whether a class of the product's is not part of this test's registry.
fn lacks(engine: &Engine, workflow: &Workflow) -> bool {
    let mut classes = workflow.nodes.values().filter_map(|node| node.class_type.as_deref());
    classes.any(|class| engine.registry().get(class).is_none())
}

/// Plays the prompts of a scenario one after the other.
async fn play(name: &str) -> Vec<Played> {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine(folder.path());
    let transcript = transcript(name);
    let steps = transcript["steps"].as_array().unwrap();
    let mut played = Vec::new();
    for step in steps {
        let request = &step["request"];
        match request["path"].as_str() {
            Some("/free") => engine.clear_cache(),
            Some("/prompt" | "/api/prompt") if request["method"] == "POST" && !request["json"].is_null() => {
                let answer = &step["result"];
                let Some(prompt) = request["json"].get("prompt") else { continue };
                let targets: Option<Vec<NodeId>> = request["json"]["partial_execution_targets"]
                    .as_array()
                    .map(|ids| ids.iter().map(|id| NodeId::from(id.as_str().unwrap())).collect());
                let workflow = Workflow::from_json(prompt.clone()).unwrap();
                if lacks(&engine, &workflow) && answer["json"]["error"]["type"] != "invalid_prompt" {
                    continue;
                }
                match engine.validate(workflow, targets.as_deref()).await {
                    Err(rejection) => {
                        assert_eq!(answer["status"], json!(400), "{name}: {prompt} was refused: {rejection}");
                        frames::same_rejection(&answer["json"], &rejection.to_json(), name);
                    }
                    Ok(checked) => {
                        assert_eq!(answer["status"], json!(200), "{name}: {prompt} was accepted");
                        frames::same_rejection(
                            &answer["json"]["node_errors"],
                            &checked.node_errors.to_json(),
                            name,
                        );
                        let sink = Arc::new(Recorder::default());
                        let job = Job::new("job", checked.graph).with_sink(sink.clone());
                        let ended = engine.run(job).await;
                        let id = answer["json"]["prompt_id"].as_str().unwrap();
                        let found = frames::of_events(&sink.take());
                        assert_eq!(ended.is_ok(), found.iter().any(|f| f["type"] == "execution_success"));
                        played.push(Played { expected: frames::recorded(steps, id), found });
                    }
                }
            }
            _ => {}
        }
    }
    played
}

/// The same frames, whatever the order of nodes that do not depend on each other.
async fn replays(name: &str) {
    for (number, Played { expected, found }) in play(name).await.into_iter().enumerate() {
        if expected.is_empty() {
            continue;
        }
        let sorted = |frames: &[Json]| {
            let mut frames: Vec<String> = frames.iter().map(Json::to_string).collect();
            frames.sort();
            frames
        };
        assert_eq!(sorted(&found), sorted(&expected), "{name}, prompt {}", number + 1);
    }
}

/// The same frames in the same order.
async fn replays_in_order(name: &str) {
    for (number, Played { expected, found }) in play(name).await.into_iter().enumerate() {
        if !expected.is_empty() {
            assert_eq!(found, expected, "{name}, prompt {}", number + 1);
        }
    }
}

#[tokio::test]
async fn validate_inputs_custom() {
    replays("validate_inputs_custom").await;
}

#[tokio::test]
async fn validation_errors() {
    replays("validation_errors").await;
}

#[tokio::test]
async fn validation_coercion() {
    replays_in_order("validation_coercion").await;
}

#[tokio::test]
async fn partial_validation_failure() {
    replays_in_order("partial_validation_failure").await;
}

#[tokio::test]
async fn run_basic() {
    replays_in_order("run_basic").await;
}

#[tokio::test]
async fn run_cached_and_changed() {
    replays_in_order("run_cached_and_changed").await;
}

#[tokio::test]
async fn cache_shared_across_ids() {
    replays("cache_shared_across_ids").await;
}

#[tokio::test]
async fn run_preview_batch_multi_output() {
    replays("run_preview_batch_multi_output").await;
}

#[tokio::test]
async fn partial_execution_targets() {
    replays_in_order("partial_execution_targets").await;
}

#[tokio::test]
async fn execution_error() {
    replays("execution_error").await;
}

#[tokio::test]
async fn lazy_inputs() {
    replays_in_order("lazy_inputs").await;
}

#[tokio::test]
async fn node_expansion() {
    replays("node_expansion").await;
}

#[tokio::test]
async fn for_loop_expansion() {
    replays("for_loop_expansion").await;
}

#[tokio::test]
async fn lists_and_blockers() {
    replays("lists_and_blockers").await;
}

#[tokio::test]
async fn is_changed() {
    replays_in_order("is_changed").await;
}

#[tokio::test]
async fn dynamic_errors() {
    replays("dynamic_errors").await;
}

#[tokio::test]
async fn async_parallel_and_progress() {
    replays("async_parallel_and_progress").await;
}

/// No scenario has it: the same picture as the same nodes make without an expansion, and all bytes are given back.
#[tokio::test(flavor = "multi_thread")]
async fn sampling_in_an_expansion() {
    let folder = tempfile::tempdir().unwrap();
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models");
    let engine = engine_with(folder.path(), ModelFolders::under(models));
    let prompt = json!({
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "tiny-emoji-sd1.safetensors"}},
        "2": {"class_type": "TestSamplingInExpansion", "inputs": {
            "model": ["1", 0], "clip": ["1", 1], "vae": ["1", 2], "seed": 7, "steps": 1, "cfg": 5.0,
            "prompt": "a red apple", "negative_prompt": ""}},
        "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "inside"}},
        "4": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 512, "batch_size": 1}},
        "5": {"class_type": "CLIPTextEncode", "inputs": {"clip": ["1", 1], "text": "a red apple"}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"clip": ["1", 1], "text": ""}},
        "7": {"class_type": "KSampler", "inputs": {
            "model": ["1", 0], "positive": ["5", 0], "negative": ["6", 0], "latent_image": ["4", 0], "seed": 7,
            "steps": 1, "cfg": 5.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}},
        "8": {"class_type": "VAEDecode", "inputs": {"samples": ["7", 0], "vae": ["1", 2]}},
        "9": {"class_type": "SaveImage", "inputs": {"images": ["8", 0], "filename_prefix": "outside"}},
    });
    let checked = engine.validate(Workflow::from_json(prompt).unwrap(), None).await.unwrap();
    engine.run(Job::new("job", checked.graph)).await.unwrap();
    let pixels = |name: &str| {
        image::open(folder.path().join("output").join(format!("{name}_00001_.png"))).unwrap().to_rgb8()
    };
    assert_eq!(pixels("inside").dimensions(), (512, 512));
    assert!(pixels("inside") == pixels("outside"));
    engine.clear_cache();
    let weights: u64 = engine.residency().residents().iter().map(|resident| resident.bytes).sum();
    assert_eq!(engine.residency().ledger().total(), weights);
}

/// Each time around nests one expansion deeper, and copies what stands between the ends.
#[tokio::test]
async fn a_loop_goes_around_hundreds_of_times() {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine(folder.path());
    let prompt = |times: u32| {
        json!({
            "1": {"class_type": "StubInt", "inputs": {"value": 1}},
            "2": {"class_type": "TestForLoopOpen", "inputs": {"remaining": times, "initial_value1": ["1", 0]}},
            "3": {"class_type": "TestIntMathOperation", "inputs": {"a": ["2", 2], "b": 2, "operation": "add"}},
            "4": {"class_type": "TestForLoopClose", "inputs": {"flow_control": ["2", 0], "initial_value1": ["3", 0]}},
            "5": {"class_type": "PreviewAny", "inputs": {"source": ["4", 0]}},
        })
    };
    // As events: the frames of clients repeat the state of all nodes, which is a lot for as many as these.
    let run = async |times: u32| {
        let checked = engine.validate(Workflow::from_json(prompt(times)).unwrap(), None).await.unwrap();
        let sink = Arc::new(Recorder::default());
        let ended = engine.run(Job::new("job", checked.graph).with_sink(sink.clone())).await;
        (ended, sink.take())
    };
    let (ended, events) = run(300).await;
    ended.unwrap();
    let shown = events.iter().find_map(|event| match &event.kind {
        EventKind::NodeFinished { node, ui: Some(ui), .. } if node.id.as_str() == "5" => Some(ui.clone()),
        _ => None,
    });
    assert_eq!(shown.unwrap()["text"], json!(["601"]));
    // The default limit, named by the node that went beyond it.
    let (ended, _) = run(1_100).await;
    let Err(RunError::Failed(error)) = ended else { panic!("{ended:?}") };
    let said = &error.message;
    assert!(said.contains("1001 deep, more than the limit of 1000"), "{said}");
    assert_eq!(error.node.display.as_str(), "4");
}
