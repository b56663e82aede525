//! kill −9 on the whole server while a queue runs: nothing queued is lost, order is kept, nothing ends twice.
//!
//! The server that is killed is this test binary again, in a process of its own.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use crate::support::http::{get, post};
use crate::support::nodes::prompt;
use crate::support::server::Running;

const FOLDER: &str = "EBB_TEST_SERVER_FOLDER";

/// The server that is killed. Does nothing when it is run as a test.
#[test]
fn child() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    // Kept: the parent owns the folder.
    let folder = tempfile::Builder::new().disable_cleanup(true).tempdir_in(folder).expect("a folder");
    let base = folder.path().parent().expect("a parent").to_owned();
    let server = Running::start_with(Arc::new(folder), crate::support::server::workshop(&base), |config| {
        config.folders = ebb_web::Folders::below(&base);
    });
    println!("\nlistening {}", server.address);
    loop {
        std::thread::park();
    }
}

fn start(folder: &std::path::Path) -> (Child, SocketAddr) {
    let mut child = Command::new(std::env::current_exe().expect("this binary"))
        .args(["--exact", "kill::child", "--nocapture", "--test-threads=1"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the child");
    let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    let address = loop {
        let line = lines.next().expect("it goes on").expect("a line");
        if let Some(address) = line.strip_prefix("listening ") {
            break address.parse().expect("an address");
        }
    };
    // Read on, so that the child never waits for the pipe.
    std::thread::spawn(move || lines.for_each(drop));
    (child, address)
}

#[test]
fn killed_again_and_again_the_queue_goes_on() {
    const JOBS: usize = 30;
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("ran.txt");
    let (mut child, mut address) = start(folder.path());
    let mut kills = 0;
    let mut ids: Vec<String> = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(240);
    loop {
        // A few at a time, so that a machine that is slow to take them has not done them all before the first kill.
        for i in ids.len()..JOBS.min(ids.len() + 5) {
            let text = format!("job {i}");
            let body =
                json!({"prompt": prompt("EbbTestAppend", json!({"file": log.to_str(), "text": text}))});
            let answer = post(address, "/prompt", &body);
            assert_eq!(answer.status, 200, "{}", answer.text());
            ids.push(answer.json()["prompt_id"].as_str().expect("an id").to_owned());
        }
        let done = get(address, "/v1/jobs?state=succeeded").json()["total"].as_u64().expect("a count");
        if done as usize == JOBS {
            break;
        }
        assert!(Instant::now() < deadline, "{done} of {JOBS} done after {kills} kills");
        // At other moments each time: while it computes, while it stores, while it answers.
        // A job that met two kills is left alone: the third would fail it, as it should, and end this test.
        let running = get(address, "/v1/jobs?state=running").json();
        let tried = running["jobs"][0]["attempts"].as_u64().unwrap_or(0);
        if kills < 12 && tried < 2 {
            std::thread::sleep(Duration::from_millis(7 * (kills % 5)));
            child.kill().expect("kill -9");
            child.wait().expect("it is dead");
            (child, address) = start(folder.path());
            kills += 1;
        }
    }
    let jobs: Vec<Json> = ids.iter().map(|id| get(address, &format!("/v1/jobs/{id}")).json()).collect();
    let history = get(address, "/history").json();
    let history: Vec<&String> = history.as_object().expect("entries").keys().collect();
    child.kill().expect("kill -9");
    child.wait().expect("it is dead");

    assert_eq!(history, ids.iter().collect::<Vec<_>>(), "history is whole and in order, each job once");
    let ran = std::fs::read_to_string(&log).expect("a log");
    for (i, job) in jobs.iter().enumerate() {
        let runs = ran.lines().filter(|l| *l == format!("job {i}")).count() as u64;
        let attempts = job["attempts"].as_u64().expect("attempts");
        assert!(attempts <= 3, "job {i}: {attempts} attempts");
        // A run that did not live to be reported is done again; one that was reported is not.
        assert!((1..=attempts).contains(&runs), "job {i} ran {runs} times in {attempts} attempts");
    }
    let first: Vec<usize> =
        (0..JOBS).map(|i| ran.lines().position(|l| l == format!("job {i}")).expect("it ran")).collect();
    assert!(first.is_sorted(), "in the order of the queue: {first:?}");
    assert!(kills >= 3, "the test killed {kills} times: the queue has to be longer");
}
