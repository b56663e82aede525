//! Every recorded exchange of ComfyUI replayed against this server: bodies, status codes, order of frames.
//!
//! What Ebb answers differently on purpose is in [`ON_PURPOSE`], with the reason in `docs/comfyui-differences.md`. A
//! difference that is listed and does not occur fails as well: the list stays true.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use crate::support::compare::{self, Differences};
use crate::support::server::{Running, front_end};
use crate::support::session::Session;

/// Transcript, a piece of the difference's text, heading in `docs/comfyui-differences.md`.
const ON_PURPOSE: &[(&str, &str, &str)] = &[
    (
        "upload_view",
        "text_chunks/prompt/json/1/is_changed: missing",
        "Saved prompts are as they were submitted",
    ),
    ("routes_get", "step 54 http GET /user.css: status", "`/user.css` that is not there"),
    ("cache_shared_across_ids", "meta/30/node_id: expected", "Meta names the node that is shown"),
    ("cache_shared_across_ids", "meta/30/display_node: expected", "Meta names the node that is shown"),
    ("cache_shared_across_ids", "meta/30/real_node_id: expected", "Meta names the node that is shown"),
    (
        "dynamic_errors",
        "status/status_str: expected \"success\", got \"error\"",
        "`status_str` after a dynamic cycle",
    ),
    ("dynamic_errors", "status/completed: expected true, got false", "`status_str` after a dynamic cycle"),
    (
        "reconnect_mid_run",
        "filename: expected \"ComfyUI_temp_<RAND>_00001_.png\", got \"ComfyUI_temp_<RAND>_00002_.png\"",
        "temporary names",
    ),
    (
        "async_parallel_and_progress",
        "filename: expected \"ComfyUI_temp_<RAND>_00001_.png\", got \"ComfyUI_temp_<RAND>_00002_.png\"",
        "temporary names",
    ),
    (
        "binary_frames",
        "filename: expected \"ComfyUI_temp_<RAND>_00001_.png\", got \"ComfyUI_temp_<RAND>_00003_.png\"",
        "temporary names",
    ),
    (
        "binary_frames",
        "filename: expected \"ComfyUI_temp_<RAND>_00002_.png\", got \"ComfyUI_temp_<RAND>_00004_.png\"",
        "temporary names",
    ),
    (
        "binary_frames",
        "filename: expected \"ComfyUI_temp_<RAND>_00001_.png\", got \"ComfyUI_temp_<RAND>_00005_.png\"",
        "temporary names",
    ),
    (
        "binary_frames",
        "filename: expected \"ComfyUI_temp_<RAND>_00002_.png\", got \"ComfyUI_temp_<RAND>_00006_.png\"",
        "temporary names",
    ),
    ("origin_check_and_cors", "step 8 http GET /prompt: status", "Host has to be a name of this server"),
    ("cors_enabled", "headers/access-control-allow-credentials: missing", "No credentials for everybody"),
];

/// As [`ON_PURPOSE`], but whether it is seen depends on how fast the machine is: the recorded interrupt came while
/// node 2 blurred, was noticed when that was over and so names node 3. Ebb stops the node that it meets.
const BY_SPEED: &[(&str, &str, &str)] = &[(
    "queue_management",
    "expected [\"execution_interrupted:\\\"3\\\"\"]\n      got      [\"execution_interrupted:\\\"",
    "an interrupt stops the node that runs",
)];

fn transcript(name: &str) -> Json {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join(format!("../tests/conformance/transcripts/{name}.json"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).expect("JSON")
}

/// Replays some transcripts, in order, against one server.
fn replay(server: &Running, names: &[&str]) {
    let mut failures = Vec::new();
    for name in names {
        let found = replay_one(server, name);
        let listed: Vec<&(&str, &str, &str)> = ON_PURPOSE.iter().filter(|(n, _, _)| n == name).collect();
        for difference in &found.hard {
            let by_speed = BY_SPEED.iter().filter(|(n, _, _)| n == name);
            if !listed.iter().copied().chain(by_speed).any(|(_, piece, _)| difference.contains(piece)) {
                failures.push(format!("{name}: {difference}"));
            }
        }
        for (_, piece, heading) in listed {
            if !found.hard.iter().any(|d| d.contains(piece)) {
                failures.push(format!("{name}: the listed difference {heading:?} does not occur any more"));
            }
        }
        println!("{name}: {} hard, {} soft", found.hard.len(), found.soft.len());
        found.soft.iter().for_each(|s| println!("   soft {s}"));
    }
    assert!(failures.is_empty(), "\n{}\n", failures.join("\n"));
}

fn replay_one(server: &Running, name: &str) -> Differences {
    let document = transcript(name).to_string().replace("<PORT>", &server.port().to_string());
    let document: Json = serde_json::from_str(&document).expect("JSON");
    let mut session = Session::new(server.address);
    let mut d = Differences::default();
    for (i, step) in document["steps"].as_array().expect("steps").iter().enumerate() {
        let op = step["op"].as_str().unwrap_or_default();
        let request = &step["request"];
        let text = |json: &Json| json.as_str().unwrap_or_default().to_owned();
        let what = match op {
            "http" => format!("{} {}", text(&request["method"]), text(&request["path"])),
            _ => text(&step["ws"]),
        };
        let place = format!("step {i} {op} {what}");
        let expected = &step["result"];
        let mut got = session.run(step);
        // An empty queue was recorded after a job that ends at once; how soon it has ended depends on the machine.
        let empty = json!({"queue_running": [], "queue_pending": []});
        let deadline = Instant::now() + Duration::from_secs(5);
        while op == "http" && expected["json"] == empty && got["json"] != empty && Instant::now() < deadline {
            got = session.run(step);
        }
        match op {
            "ws_wait" if got["timed_out"] == true => {
                d.add(
                    false,
                    &place,
                    format!("timed out waiting for {}; got {}", step["until"], got["messages"]),
                );
                break;
            }
            "ws_wait" => {
                let of = |json: &Json| -> Vec<Json> {
                    let frames = json["messages"].as_array().into_iter().flatten();
                    let collapses = step.get("collapse").is_some();
                    frames.filter(|f| !collapses || f.get("run_of").is_none()).cloned().collect()
                };
                compare::frames(&of(expected), &of(&got), &mut d, &place);
            }
            "poll" if !got.is_null() => {
                d.add(false, &place, "the condition was not reached".to_owned());
                break;
            }
            "http" if expected.is_object() => answer(expected, got, request, &mut d, &place),
            _ => {}
        }
    }
    d
}

fn answer(expected: &Json, mut got: Json, request: &Json, d: &mut Differences, place: &str) {
    let (e, g) = (expected["status"].as_u64().unwrap_or(0), got["status"].as_u64().unwrap_or(0));
    if e >= 500 {
        if g < 400 {
            d.add(false, place, format!("expected an error status, got {g}"));
        }
        return;
    }
    if e != g {
        d.add(false, place, format!("status: expected {e}, got {g} {}", got));
        return;
    }
    let path = request["path"].as_str().unwrap_or_default();
    // What models and extensions there are depends on the machine.
    if path.ends_with("/models") || path.ends_with("/extensions") {
        return;
    }
    let mut expected = expected.clone();
    if path.starts_with("/userdata") || path.starts_with("/internal/files") {
        for side in [&mut expected, &mut got] {
            if let Some(list) = side["json"].as_array_mut() {
                list.sort_by_key(Json::to_string);
            }
        }
    }
    if expected["shape"].is_object() && path.contains("prompt") {
        return;
    }
    compare::json(&expected, &got, d, place, false);
}

fn server() -> Running {
    Running::start(|config| config.front_end = Some(front_end(&config.folders.data)))
}

#[test]
fn routes_files_and_settings() {
    let names = [
        "routes_get",
        "origin_check_and_cors",
        "users_settings",
        "userdata",
        "upload_view",
        "content_type_ignored",
    ];
    replay(&server(), &names);
}

#[test]
fn cors_and_several_users() {
    let server = Running::start(|config| {
        config.access.cors = Some("*".into());
        config.access.multi_user = true;
    });
    replay(&server, &["cors_enabled"]);
}

#[test]
fn runs() {
    let names = [
        "run_basic",
        "run_cached_and_changed",
        "cache_shared_across_ids",
        "run_preview_batch_multi_output",
        "prompt_envelope",
        "partial_execution_targets",
    ];
    replay(&server(), &names);
}

/// On a server of its own: previews are counted per process and not per node.
#[test]
fn a_run_that_fails() {
    replay(&server(), &["execution_error"]);
}

#[test]
fn validation() {
    replay(&server(), &["validation_errors", "validation_coercion", "partial_validation_failure"]);
}

#[test]
fn queue_history_and_sockets() {
    replay(&server(), &["queue_management", "history_paging_delete", "ws_feature_flags_and_reconnect"]);
}

#[test]
fn testing_nodes_running() {
    let names =
        ["interrupt_during_node", "reconnect_mid_run", "async_parallel_and_progress", "binary_frames"];
    replay(&server(), &names);
}

#[test]
fn testing_nodes_graphs() {
    let names = [
        "lazy_inputs",
        "node_expansion",
        "for_loop_expansion",
        "dynamic_errors",
        "lists_and_blockers",
        "is_changed",
        "validate_inputs_custom",
    ];
    replay(&server(), &names);
}

#[test]
fn every_transcript_is_replayed() {
    let source = include_str!("transcripts.rs");
    let order = transcript("ORDER");
    for name in order.as_array().expect("a list") {
        assert!(source.contains(&format!("{name}")), "{name} is not replayed");
    }
}
