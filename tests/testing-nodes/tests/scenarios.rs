//! The recorded scenarios, without a server: each accepted prompt is checked and run, its events
//! are read as the frames that a client would get, and these are compared with the recording.

mod frames;

use std::path::Path;
use std::sync::Arc;

use ebb_engine::events::Recorder;
use ebb_engine::execute::{Engine, EngineConfig, Job};
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
    let folders = Arc::new(Folders::under(folder));
    for folder in [&folders.input, &folders.output, &folders.temp] {
        std::fs::create_dir_all(folder).unwrap();
    }
    let mut registry = Registry::new();
    let kernels = Kernels::new(Threads::new(1).unwrap(), Pool::new()).unwrap();
    let environment = Environment {
        folders,
        models: Arc::new(ModelFolders::under(folder)),
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
