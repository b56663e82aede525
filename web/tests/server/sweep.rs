//! `/v1/sweep`: every cell in one job, each with its own picture, state and workflow.

use std::sync::Arc;

use serde_json::{Value as Json, json};

use crate::jobs::until;
use crate::support::http::{get, post};
use crate::support::nodes::slow;
use crate::support::server::Running;

fn body(colours: &Json) -> Json {
    json!({
        "prompt": {
            "1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 0}},
            "2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
            "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "s"}},
        },
        "axes": [
            {"node": "3", "input": "filename_prefix", "values": ["x", "y"]},
            {"node": "1", "input": "color", "values": colours},
        ],
        "extra_data": {"extra_pnginfo": {"workflow": {"nodes": [], "links": []}, "note": "kept"}},
    })
}

#[test]
fn an_estimate_counts_what_is_shared() {
    let server = Running::start(|_| {});
    let answer = post(server.address, "/v1/sweep/estimate", &body(&json!([1, 2, 3])));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let estimate = answer.json();
    // Three colours made and inverted once, saved twice each.
    assert_eq!((&estimate["cells"], &estimate["images"]), (&json!(6), &json!(6)));
    assert_eq!((&estimate["steps"], &estimate["steps_shared"]), (&json!(18), &json!(12)));
    assert_eq!(estimate["loads"], json!([]));
    assert_eq!(get(server.address, "/v1/jobs").json()["total"], 0, "nothing was run");
}

#[test]
fn a_sweep_is_one_job_and_each_picture_has_its_own_workflow() {
    let server = Running::start(|_| {});
    let sent = post(server.address, "/v1/sweep", &body(&json!([1, 255])));
    assert_eq!(sent.status, 200, "{}", sent.text());
    let id = sent.json()["id"].as_str().expect("an id").to_owned();
    until(&server, &id, "succeeded");
    let sweep = get(server.address, &format!("/v1/sweep/{id}")).json();
    assert_eq!(sweep["status"], "completed");
    let cells = sweep["cells"].as_array().expect("cells");
    let indices: Vec<&Json> = cells.iter().map(|cell| &cell["index"]).collect();
    assert_eq!(indices, [&json!([0, 0]), &json!([0, 1]), &json!([1, 0]), &json!([1, 1])]);
    for (number, cell) in cells.iter().enumerate() {
        assert_eq!((&cell["status"], &cell["prompt_id"]), (&json!("completed"), &json!(id)));
        let file = cell["images"][0]["filename"].as_str().expect("a file");
        assert!(file.starts_with(["x_", "y_"][number / 2]), "cell {number}: {file}");
        let bytes = std::fs::read(server.path().join("output").join(file)).expect("the picture");
        let texts = ebb_engine::workflow::png::texts(&bytes).expect("a PNG");
        let prompt: Json = serde_json::from_str(&texts["prompt"]).expect("JSON");
        assert_eq!(prompt.as_object().map(serde_json::Map::len), Some(3));
        assert_eq!(prompt["1"]["inputs"]["color"], [1, 255][number % 2]);
        assert_eq!(texts["note"], "\"kept\"");
        assert!(!texts.contains_key("workflow"), "a drawing that does not say what ran is left out");
    }
    assert_eq!(get(server.address, "/history").json().as_object().map(serde_json::Map::len), Some(1));
}

#[test]
fn a_failing_cell_is_named_and_finished_ones_stay() {
    let server = Running::start(|_| {});
    let mut wanted = body(&json!([1]));
    wanted["prompt"]["4"] = json!({"class_type": "LoadImage", "inputs": {"image": "good.png"}});
    wanted["prompt"]["2"]["inputs"]["image"] = json!(["4", 0]);
    wanted["axes"] = json!([{"node": "4", "input": "image", "values": ["good.png", "bad.png"]}]);
    let input = server.path().join("input");
    std::fs::create_dir_all(&input).expect("a folder");
    let good = concat!(env!("CARGO_MANIFEST_DIR"), "/templates/text-to-image.png");
    std::fs::copy(good, input.join("good.png")).expect("a copy");
    std::fs::write(input.join("bad.png"), b"\x89PNG no more").expect("a file");
    let sent = post(server.address, "/v1/sweep", &wanted);
    assert_eq!(sent.status, 200, "{}", sent.text());
    let id = sent.json()["id"].as_str().expect("an id").to_owned();
    until(&server, &id, "failed");
    let sweep = get(server.address, &format!("/v1/sweep/{id}")).json();
    assert_eq!(sweep["cells"][1]["status"], "failed", "{sweep}");
    assert_ne!(sweep["cells"][0]["status"], "failed", "{sweep}");
}

#[test]
fn a_sweep_goes_on_after_the_server_was_stopped() {
    let folder = Arc::new(tempfile::tempdir().expect("a folder"));
    let server = Running::start_in(Arc::clone(&folder), |_| {});
    let texts = json!(["one", "two", "three", "four"]);
    let wanted = json!({"prompt": slow(0.4, ""), "axes": [{"node": "1", "input": "text", "values": texts}]});
    let sent = post(server.address, "/v1/sweep", &wanted);
    assert_eq!(sent.status, 200, "{}", sent.text());
    let id = sent.json()["id"].as_str().expect("an id").to_owned();
    let states = |server: &Running| -> Vec<String> {
        let sweep = get(server.address, &format!("/v1/sweep/{id}")).json();
        let cells = sweep["cells"].as_array().expect("cells").clone();
        cells.iter().map(|cell| cell["status"].as_str().unwrap_or_default().to_owned()).collect()
    };
    while !states(&server).iter().any(|state| state == "completed") {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    drop(server);
    let server = Running::start_in(folder, |_| {});
    until(&server, &id, "succeeded");
    assert_eq!(states(&server), ["completed"; 4]);
    let history = get(server.address, &format!("/history/{id}")).json();
    assert_eq!(history[&id]["outputs"].as_object().map(serde_json::Map::len), Some(4));
    assert_eq!(history[&id]["outputs"]["0/1"]["text"], json!(["one"]));
    // The first cell was done, so the second run had at most three to do.
    let events = get(server.address, &format!("/v1/jobs/{id}/events")).text();
    let made = events.lines().filter(|line| *line == "event: executed").count();
    assert_eq!(made, 4, "each cell ran once to its end");
}

#[test]
fn what_is_no_sweep_is_refused() {
    let server = Running::start(|_| {});
    for path in ["/v1/sweep", "/v1/sweep/estimate"] {
        let mut wrong = body(&json!([1]));
        wrong["axes"] = json!([]);
        let answer = post(server.address, path, &wrong);
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (400, &json!("bad_sweep")));
        wrong["axes"] = json!([{"node": "9", "input": "color", "values": [1]}]);
        assert!(post(server.address, path, &wrong).text().contains("there is no node #9"));
        // A value that the node does not take is refused with the words of POST /prompt.
        let answer = post(server.address, path, &body(&json!([1, "blue"])));
        assert_eq!(answer.status, 400);
        assert_eq!(answer.json()["node_errors"]["1"]["class_type"], "EmptyImage", "{}", answer.text());
    }
    assert_eq!(get(server.address, "/v1/sweep/nobody").status, 404);
    let job = post(server.address, "/v1/jobs", &json!({"prompt": body(&json!([1]))["prompt"]})).json();
    let id = job["id"].as_str().expect("an id");
    assert_eq!(get(server.address, &format!("/v1/sweep/{id}")).status, 404, "an ordinary job is no sweep");
}
