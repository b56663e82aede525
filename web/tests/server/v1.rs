//! `/v1`: idempotency, event streams that resume, moving jobs, results by content.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use serde_json::{Value as Json, json};

use crate::jobs::until;
use crate::support::http::{get, post, request};
use crate::support::nodes::slow;
use crate::support::server::Running;

fn submit(server: &Running, key: Option<&str>, body: &Json) -> (u16, Json) {
    let mut headers = vec![("Content-Type", "application/json")];
    headers.extend(key.map(|k| ("Idempotency-Key", k)));
    let answer = request(server.address, "POST", "/v1/jobs", &headers, body.to_string().as_bytes());
    (answer.status, answer.json())
}

#[test]
fn the_same_key_makes_one_job() {
    let server = Running::start(|_| {});
    let body = json!({"prompt": slow(0.0, "once")});
    let (status, first) = submit(&server, Some("key"), &body);
    assert_eq!(status, 201);
    let (status, again) = submit(&server, Some("key"), &body);
    assert_eq!((status, &again["id"]), (200, &first["id"]));
    let (status, other) = submit(&server, Some("key"), &json!({"prompt": slow(0.0, "other")}));
    assert_eq!((status, &other["error"]["code"]), (409, &json!("idempotency_key_reused")));
    assert_eq!(get(server.address, "/v1/jobs").json()["total"], 1);
    let (status, refused) = submit(&server, None, &json!({"prompt": {"1": {"class_type": "NoSuchNode"}}}));
    assert_eq!((status, &refused["error"]["code"]), (400, &json!("invalid_prompt")));
}

/// Events of a job after one of them: numbers and names, until the stream ends.
fn events(server: &Running, id: &str, after: i64) -> Vec<(i64, String)> {
    let mut stream = TcpStream::connect(server.address).expect("a connection");
    let request = format!(
        "GET /v1/jobs/{id}/events HTTP/1.1\r\nHost: {}\r\nLast-Event-ID: {after}\r\nConnection: close\r\n\r\n",
        server.address
    );
    stream.write_all(request.as_bytes()).expect("sent");
    stream.set_read_timeout(Some(std::time::Duration::from_secs(20))).expect("a timeout");
    let (mut found, mut seq) = (Vec::new(), 0);
    let mut name = String::new();
    for line in BufReader::new(stream).lines() {
        let line = line.expect("a line");
        if let Some(id) = line.strip_prefix("id: ") {
            seq = id.parse().expect("a number");
        } else if let Some(event) = line.strip_prefix("event: ") {
            name = event.to_owned();
        } else if line.is_empty() && !name.is_empty() {
            found.push((seq, std::mem::take(&mut name)));
        }
        if found.last().is_some_and(|(_, name)| name == "end") {
            break;
        }
    }
    found
}

#[test]
fn events_resume_where_they_were_left() {
    let server = Running::start(|_| {});
    let (_, job) = submit(&server, None, &json!({"prompt": slow(0.3, "followed")}));
    let id = job["id"].as_str().expect("an id");
    let live = events(&server, id, 0);
    let names: Vec<&str> = live.iter().map(|(_, n)| n.as_str()).collect();
    assert_eq!(&names[..3], ["execution_start", "execution_cached", "executing"]);
    assert_eq!(&names[names.len() - 2..], ["execution_success", "end"]);
    let numbers: Vec<i64> = live[..live.len() - 1].iter().map(|(n, _)| *n).collect();
    assert_eq!(numbers, (1..=numbers.len() as i64).collect::<Vec<_>>(), "none is missing, none comes twice");
    let rest = events(&server, id, 5);
    assert_eq!(rest[..rest.len() - 1], live[5..live.len() - 1], "the same from the sixth on");
    assert_eq!(get(server.address, "/v1/jobs/nobody/events").status, 404);
}

#[test]
fn waiting_jobs_are_moved() {
    let server = Running::start(|_| {});
    post(server.address, "/v1/queue/pause", &json!({}));
    let ids: Vec<String> = ["a", "b", "c"]
        .iter()
        .map(|t| {
            submit(&server, None, &json!({"prompt": slow(0.0, t)})).1["id"]
                .as_str()
                .expect("an id")
                .to_owned()
        })
        .collect();
    let change = |id: &str, body: Json| {
        request(server.address, "PATCH", &format!("/v1/jobs/{id}"), &[], body.to_string().as_bytes())
    };
    let order = || -> Vec<usize> {
        let list = get(server.address, "/v1/jobs?state=queued").json();
        let jobs = list["jobs"].as_array().expect("jobs").clone();
        jobs.iter().map(|j| ids.iter().position(|id| j["id"] == **id).expect("known")).collect()
    };
    assert_eq!(change(&ids[2], json!({"place": "front"})).status, 200);
    assert_eq!(order(), [2, 0, 1]);
    assert_eq!(change(&ids[2], json!({"place": {"before": ids[1]}})).status, 200);
    assert_eq!(order(), [0, 2, 1]);
    assert_eq!(change(&ids[1], json!({"priority": 5})).status, 200);
    assert_eq!(order(), [1, 0, 2]);
    assert_eq!(change(&ids[1], json!({"place": "nowhere"})).status, 400);
    for query in ["state=waiting", "limit=ten", "offset=-1"] {
        assert_eq!(get(server.address, &format!("/v1/jobs?{query}")).status, 400, "{query}");
    }
    post(server.address, "/v1/queue/resume", &json!({}));
    let last = until(&server, &ids[2], "succeeded");
    assert_eq!(change(&ids[2], json!({"place": "front"})).status, 409);
    assert!(last["started"].as_i64() >= until(&server, &ids[1], "succeeded")["started"].as_i64());
}

#[test]
fn results_are_found_by_content() {
    let server = Running::start(|_| {});
    let prompt = json!({
        "1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 255}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "a b/c"}},
    });
    let (_, job) = submit(&server, None, &json!({"prompt": prompt}));
    let job = until(&server, job["id"].as_str().expect("an id"), "succeeded");
    let result = &job["results"][0];
    assert_eq!((&result["subfolder"], &result["node"]), (&json!("a b"), &json!("2")));
    let url = result["url"].as_str().expect("a link");
    let file = get(server.address, url);
    assert_eq!((file.status, file.header("content-type")), (200, Some("image/png")));
    assert_eq!(file.body.len() as u64, result["bytes"].as_u64().expect("a length"));
    assert_eq!(get(server.address, "/v1/results/00").status, 404);
    std::fs::write(server.path().join("output/a b").join(result["filename"].as_str().expect("a name")), "x")
        .expect("changed");
    assert_eq!(get(server.address, url).status, 404, "another content is not sent under this name");
}

#[test]
fn the_description_is_served() {
    let server = Running::start(|_| {});
    let document = get(server.address, "/v1/openapi.json").json();
    assert!(document["openapi"].as_str().expect("a version").starts_with("3."));
    assert!(document["paths"]["/v1/jobs"]["post"]["responses"]["201"].is_object());
    assert_eq!(get(server.address, "/v1/nothing").json()["error"]["code"], "no_such_route");
}

/// The first events of `/v1/events`, until each of these was among them: name and data.
fn watched(server: &Running, after: u64, names: &[&str]) -> Vec<(String, Json)> {
    let mut stream = TcpStream::connect(server.address).expect("a connection");
    let request = format!(
        "GET /v1/events?after={after} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
        server.address
    );
    stream.write_all(request.as_bytes()).expect("sent");
    stream.set_read_timeout(Some(std::time::Duration::from_secs(20))).expect("a timeout");
    let (mut found, mut name) = (Vec::new(), String::new());
    for line in BufReader::new(stream).lines() {
        let line = line.expect("a line");
        if let Some(event) = line.strip_prefix("event: ") {
            name = event.to_owned();
        } else if let Some(data) = line.strip_prefix("data: ") {
            found.push((std::mem::take(&mut name), serde_json::from_str(data).expect("JSON")));
        }
        let is_there = |name: &&str| found.iter().any(|(event, _): &(String, Json)| event == *name);
        if names.iter().all(is_there) {
            break;
        }
    }
    found
}

#[test]
fn memory_is_told_over_time_and_can_be_given_back() {
    let server = Running::start(|_| {});
    let prompt = json!({
        "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 255}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "m"}},
    });
    let (_, job) = submit(&server, None, &json!({"prompt": prompt}));
    let id = job["id"].as_str().expect("an id");
    until(&server, id, "succeeded");
    let memory = get(server.address, "/v1/memory").json();
    let kinds: Vec<&str> =
        memory["markers"].as_array().expect("marks").iter().filter_map(|m| m["kind"].as_str()).collect();
    assert_eq!((kinds.first(), kinds.last()), (Some(&"job_start"), Some(&"job_end")), "{kinds:?}");
    let samples = memory["samples"].as_array().expect("samples");
    assert!(!samples.is_empty() && samples.iter().all(|s| s["bytes"].is_array()), "{memory}");
    // The picture is kept for the next run: 64 × 64 × 3 numbers.
    let kept = memory["residents"].as_array().expect("residents").iter().find(|r| r["kind"] == "cache");
    let kept = kept.unwrap_or_else(|| panic!("no cached output in {memory}"));
    assert_eq!(kept["bytes"], 64 * 64 * 3 * 4);
    let freed = post(server.address, "/v1/memory/evict", &json!({"id": kept["id"]}));
    assert_eq!((freed.status, &freed.json()["freed"]), (200, &kept["bytes"]));
    let again = post(server.address, "/v1/memory/evict", &json!({"id": kept["id"]}));
    assert_eq!((again.status, &again.json()["error"]["code"]), (404, &json!("not_in_memory")));
    let pin = post(server.address, "/v1/memory/pin", &json!({"id": "nobody", "pinned": true}));
    assert_eq!(pin.status, 404);
    assert_eq!(post(server.address, "/v1/memory/pin", &json!({"id": "nobody"})).status, 400);

    // Later answers leave out what was seen.
    let now = memory["now"].as_u64().expect("a moment");
    let later = get(server.address, &format!("/v1/memory?since={now}")).json();
    assert!(
        later["markers"].as_array().expect("marks").iter().all(|m| m["t"].as_u64() > Some(now)),
        "{later}"
    );

    // The stream tells the past to whoever asks for it, in its order.
    let events = watched(&server, 1, &["memory", "marker", "residents"]);
    let moments: Vec<u64> = events.iter().filter_map(|(_, data)| data["t"].as_u64()).collect();
    assert!(moments.is_sorted(), "{moments:?}");
}
