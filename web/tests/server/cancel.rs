//! A job is stopped whatever it is doing: reading weights, decoding, saving. (Waiting and running: `jobs`.) A load that
//! fails.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use crate::jobs::{submit, until};
use crate::support::http::{get, post};
use crate::support::nodes::prompt;
use crate::support::server::Running;

/// Stops a job; how it ended.
fn stop(server: &Running, id: &str) -> Json {
    assert_eq!(post(server.address, "/interrupt", &json!({"prompt_id": id})).status, 200);
    until(server, id, "cancelled")
}

/// Waits until something can be seen to have begun.
fn wait_for(server: &Running, what: &str, mut seen: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !seen() {
        assert!(
            Instant::now() < deadline,
            "{what} did not begin: {}",
            get(server.address, "/v1/memory").text()
        );
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Waits until no bytes stand under a name. The name itself stays where a sample was taken while there were some.
fn is_given_back(server: &Running, name: &str) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let memory = get(server.address, "/v1/memory").json();
        let named =
            |list: &Json| -> Option<usize> { list.as_array()?.iter().position(|o| o["name"] == name) };
        let last = memory["samples"].as_array().and_then(|samples| samples.last());
        let held = named(&memory["owners"]).and_then(|at| last?["bytes"][at].as_u64()).unwrap_or(0);
        assert!(!memory["residents"].to_string().contains(name), "{memory}");
        if held == 0 {
            return;
        }
        assert!(Instant::now() < deadline, "{held} bytes of {name} are left: {memory}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A metric's value; 0 while it is not there.
fn metric(server: &Running, name: &str) -> f64 {
    let text = get(server.address, "/metrics").text();
    let line = text.lines().find_map(|l| l.strip_prefix(name).map(str::trim).map(str::to_owned));
    line.map_or(0.0, |value| value.parse().expect("a number"))
}

#[test]
fn while_it_loads() {
    let server = Running::start(|_| {});
    let id = submit(&server, prompt("EbbTestLoads", json!({"name": "weights that take long"})));
    until(&server, &id, "running");
    wait_for(&server, "loading", || {
        get(server.address, "/v1/memory").text().contains("weights that take long")
    });
    let job = stop(&server, &id);
    assert!(job["finished"].is_number());
    is_given_back(&server, "weights that take long");
    assert_eq!(metric(&server, "ebb_loads_total "), 0.0);
}

#[test]
fn a_load_that_fails_leaves_no_memory_behind() {
    let server = Running::start(|_| {});
    let id = submit(&server, prompt("EbbTestLoads", json!({"name": "broken weights"})));
    let job = until(&server, &id, "failed");
    assert!(job["error"].to_string().contains("ends early"), "{job}");
    is_given_back(&server, "broken weights");
}

#[test]
fn while_it_decodes() {
    let folder = Arc::new(tempfile::tempdir().expect("a folder"));
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models");
    #[cfg(unix)]
    std::os::unix::fs::symlink(models, folder.path().join("models")).expect("a link");
    let server = Running::start_in(folder, |_| {});
    let decode = |size: u32| {
        json!({
            "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "tiny-emoji-sd1.safetensors"}},
            "2": {"class_type": "EmptyLatentImage", "inputs": {"width": size, "height": size, "batch_size": 1}},
            "3": {"class_type": "VAEDecode", "inputs": {"samples": ["2", 0], "vae": ["1", 2]}},
            "4": {"class_type": "SaveImage", "inputs": {"images": ["3", 0], "filename_prefix": "decoded"}},
        })
    };
    let id = submit(&server, decode(1024));
    // The weights may be read ahead: it decodes once they are there and its step has begun.
    let begun = || get(server.address, "/v1/memory").text().contains("VAEDecode #3");
    wait_for(&server, "decoding", || begun() && metric(&server, "ebb_loads_total ") > 0.0);
    let job = stop(&server, &id);
    let history = get(server.address, &format!("/history/{id}")).json();
    let last = history[&id]["status"]["messages"].as_array().and_then(|m| m.last()).cloned();
    assert_eq!(
        last.map(|m| (m[0].clone(), m[1]["node_id"].clone())),
        Some((json!("execution_interrupted"), json!("3")))
    );
    assert!(job["results"].as_array().is_none_or(Vec::is_empty), "{job}");
    // What was loaded is whole: the next one uses it.
    let next = submit(&server, decode(128));
    until(&server, &next, "succeeded");
}

#[test]
fn while_it_saves() {
    let server = Running::start(|_| {});
    let id = submit(
        &server,
        json!({
            "1": {"class_type": "EmptyImage",
                  "inputs": {"width": 512, "height": 512, "batch_size": 400, "color": 255}},
            "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "many"}},
        }),
    );
    let saved = || -> Vec<String> {
        let entries = std::fs::read_dir(server.path().join("output")).expect("a folder").flatten();
        entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect()
    };
    wait_for(&server, "saving", || saved().iter().any(|name| name.ends_with(".png")));
    stop(&server, &id);
    let names = saved();
    assert!(names.len() < 400, "it was stopped among them");
    assert!(names.iter().all(|name| name.ends_with(".png")), "no part of a picture is left: {names:?}");
    for name in &names {
        image::open(server.path().join("output").join(name)).expect("every picture is whole");
    }
}
