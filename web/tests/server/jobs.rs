//! What happens to jobs: stopped, failed, interrupted by the server's end, and taken up again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use crate::support::http::{get, post, request};
use crate::support::nodes::{prompt, slow};
use crate::support::server::Running;

pub(crate) fn submit(server: &Running, prompt: Json) -> String {
    let answer = post(server.address, "/prompt", &json!({"prompt": prompt}));
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["prompt_id"].as_str().expect("an id").to_owned()
}

/// Waits until a job is in a state.
pub(crate) fn until(server: &Running, id: &str, state: &str) -> Json {
    // Only what never comes is to fail here, however busy the machine is.
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        let job = get(server.address, &format!("/v1/jobs/{id}")).json();
        if job["state"] == state {
            return job;
        }
        assert!(Instant::now() < deadline, "{id} should become {state}: {job}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_node_that_panics_fails_its_job_and_not_the_server() {
    let server = Running::start(|_| {});
    let broken = submit(&server, prompt("EbbTestPanics", json!({"text": "boom"})));
    let fine = submit(&server, slow(0.0, "after"));
    let job = until(&server, &broken, "failed");
    assert_eq!(job["error"]["node_id"], "1");
    until(&server, &fine, "succeeded");
    let history = get(server.address, &format!("/history/{broken}")).json();
    assert_eq!(history[&broken]["status"]["status_str"], "error");
}

#[test]
fn cancelled_while_it_waits_and_while_it_runs() {
    let server = Running::start(|_| {});
    let runs = submit(&server, slow(30.0, "runs"));
    let waits = submit(&server, slow(30.0, "waits"));
    until(&server, &runs, "running");
    let cancel = |id: &str| request(server.address, "DELETE", &format!("/v1/jobs/{id}"), &[], b"").status;
    assert_eq!(cancel(&waits), 202);
    until(&server, &waits, "cancelled");
    assert_eq!(cancel(&runs), 202);
    let job = until(&server, &runs, "cancelled");
    assert_eq!(cancel(&runs), 409);
    assert_eq!(cancel("nobody"), 404);
    assert!(job["finished"].as_i64() >= job["started"].as_i64());
    assert!(get(server.address, &format!("/history/{waits}")).json().as_object().expect("{}").is_empty());
}

#[test]
fn requests_are_answered_while_a_job_computes() {
    let server = Running::start(|_| {});
    let id = submit(&server, slow(30.0, "long"));
    until(&server, &id, "running");
    for path in ["/prompt", "/queue", "/object_info", "/system_stats", "/metrics", "/health"] {
        assert_eq!(get(server.address, path).status, 200, "{path}");
    }
    post(server.address, "/interrupt", &json!({}));
    until(&server, &id, "cancelled");
}

#[test]
fn a_stop_puts_the_running_job_back_and_the_next_start_goes_on() {
    let server = Running::start(|_| {});
    let log = server.path().join("ran.txt");
    let first = submit(&server, slow(30.0, "first"));
    let appended = |text: &str| prompt("EbbTestAppend", json!({"file": log.to_str(), "text": text}));
    let rest: Vec<String> = (0..3).map(|i| submit(&server, appended(&format!("job {i}")))).collect();
    until(&server, &first, "running");
    let folder = Arc::clone(&server.folder);
    drop(server);

    let server = Running::start_in(folder, |_| {});
    let job = until(&server, &first, "running");
    assert_eq!(job["attempts"], 1, "being put back in order is no attempt");
    post(server.address, "/interrupt", &json!({"prompt_id": first}));
    rest.iter().for_each(|id| drop(until(&server, id, "succeeded")));
    assert_eq!(std::fs::read_to_string(&log).expect("a log"), "job 0\njob 1\njob 2\n", "in order, each once");
}

#[test]
fn counting_goes_on_over_a_restart() {
    let server = Running::start(|_| {});
    post(server.address, "/v1/queue/pause", &json!({}));
    let number = |server: &Running, text: &str| {
        post(server.address, "/prompt", &json!({"prompt": slow(0.0, text)})).json()["number"].as_i64()
    };
    assert_eq!((number(&server, "a"), number(&server, "b")), (Some(0), Some(1)));
    let folder = Arc::clone(&server.folder);
    drop(server);
    let server = Running::start_in(folder, |_| {});
    assert_eq!(number(&server, "c"), Some(2), "a new job does not overtake those that wait");
    assert_eq!(get(server.address, "/v1/queue").json(), json!({"paused": true, "queued": 3, "running": 0}));
}

#[test]
fn newer_front_ends_see_the_same_jobs() {
    let server = Running::start(|_| {});
    let done = submit(&server, slow(0.0, "done"));
    until(&server, &done, "succeeded");
    let runs = submit(&server, slow(30.0, "runs"));
    let waits = submit(&server, slow(0.0, "waits"));
    until(&server, &runs, "running");
    let ids = |path: &str| -> Vec<String> {
        let list = get(server.address, path).json();
        assert_eq!(list["pagination"]["total"], list["jobs"].as_array().expect("jobs").len());
        list["jobs"]
            .as_array()
            .expect("jobs")
            .iter()
            .map(|j| j["id"].as_str().expect("an id").to_owned())
            .collect()
    };
    assert_eq!(ids("/api/jobs?status=in_progress,pending&limit=200&offset=0"), [runs.clone(), waits.clone()]);
    assert_eq!(ids("/api/jobs?status=completed,failed,cancelled&limit=64"), std::slice::from_ref(&done));
    let job = get(server.address, &format!("/api/jobs/{done}")).json();
    assert_eq!((&job["status"], &job["outputs"]["1"]["text"]), (&json!("completed"), &json!(["done"])));
    assert!(job["create_time"].is_number() && job["workflow"]["prompt"]["1"].is_object());
    assert_eq!(get(server.address, "/api/jobs/nobody").status, 404);
    let cancelled = post(server.address, "/api/jobs/cancel", &json!({"job_ids": [runs, waits]}));
    assert_eq!(cancelled.json()["cancelled"].as_array().map(Vec::len), Some(2));
}
