//! Jobs whose models are in memory first, within a bound: the real engine, real weights, two checkpoints in turn.

use std::path::Path;
use std::sync::Arc;

use ebb_engine::residency::{Lru, Residency};
use serde_json::{Value as Json, json};

use crate::jobs::{submit, until};
use crate::support::http::{get, post};
use crate::support::server::{Running, engine};

const JOBS: usize = 12;

fn job(model: &str, seed: usize) -> Json {
    json!({
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": model}},
        "2": {"class_type": "CLIPTextEncode", "inputs": {"clip": ["1", 1], "text": format!("a red apple {seed}")}},
        "3": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
        "4": {"class_type": "KSampler", "inputs": {
            "model": ["1", 0], "positive": ["2", 0], "negative": ["2", 0], "latent_image": ["3", 0], "seed": seed,
            "steps": 1, "cfg": 1.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}},
        "5": {"class_type": "VAEDecode", "inputs": {"samples": ["4", 0], "vae": ["1", 2]}},
        "6": {"class_type": "PreviewImage", "inputs": {"images": ["5", 0]}},
    })
}

/// Runs jobs on two checkpoints in turn, with memory for one of them; the loads, and which checkpoint each job that
/// ran used.
fn loads(prefer_resident: u32) -> (usize, Vec<usize>) {
    let folder = Arc::new(tempfile::tempdir().expect("a folder"));
    let checkpoints = folder.path().join("models/checkpoints");
    std::fs::create_dir_all(&checkpoints).expect("a folder");
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/checkpoints/tiny-emoji-sd1.safetensors");
    let names = ["one.safetensors", "two.safetensors"];
    for name in names {
        std::fs::copy(&demo, checkpoints.join(name)).expect("a copy");
    }
    // Text encoder, denoiser and VAE: one checkpoint's.
    let workshop = ebb_web::EngineWorkshop::new(engine(folder.path(), Residency::new(Lru(3), None)));
    let workshop = if prefer_resident > 0 { workshop.planning() } else { workshop };
    let server =
        Running::start_with(folder, Arc::new(workshop), |config| config.prefer_resident = prefer_resident);
    post(server.address, "/v1/queue/pause", &json!({}));
    let ids: Vec<String> = (0..JOBS).map(|i| submit(&server, job(names[i % 2], i))).collect();
    post(server.address, "/v1/queue/resume", &json!({}));
    let mut ends: Vec<(i64, i64, usize)> = ids
        .iter()
        .enumerate()
        .map(|(i, id)| {
            let job = until(&server, id, "succeeded");
            (job["finished"].as_i64().expect("a time"), job["started"].as_i64().expect("a time"), i % 2)
        })
        .collect();
    ends.sort_unstable();
    let metrics = get(server.address, "/metrics").text();
    let loads = metrics.lines().find_map(|l| l.strip_prefix("ebb_loads_total ")).expect("a count");
    (loads.parse().expect("a number"), ends.into_iter().map(|(_, _, model)| model).collect())
}

#[test]
fn jobs_whose_models_are_in_memory_go_first_within_the_bound() {
    let (plain, order) = loads(0);
    assert_eq!(order, [0, 1].repeat(JOBS / 2), "without the setting the order is kept");
    let (preferring, order) = loads(3);
    let switches = order.windows(2).filter(|pair| pair[0] != pair[1]).count();
    println!("{JOBS} jobs: {plain} loads in order, {preferring} preferring; {switches} switches: {order:?}");
    assert!(preferring * 2 <= plain, "{preferring} of {plain}");
    // The first job on the other checkpoint was passed over three times, and then it was its turn.
    assert_eq!(order[..5], [0, 0, 0, 0, 1], "{order:?}");
}
