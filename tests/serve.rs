//! The server as a process: killed while it samples, ended in order, and on a disk that is full.
#![cfg(unix)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

/// A folder with the repository's models, in which one server after the other runs.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// A server below a shell that first does `limits`.
    fn serve(&self, limits: &str) -> Server {
        self.serve_with(limits, "")
    }

    fn serve_with(&self, limits: &str, arguments: &str) -> Server {
        let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
        let mut process = Command::new("sh")
            .args([
                "-c",
                &format!("{limits} exec \"$0\" serve --port 0 {arguments}"),
                env!("CARGO_BIN_EXE_ebb"),
            ])
            .current_dir(self.0.path())
            .env("EBB_MODELS", models)
            .env_remove("EBB_TOKEN")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("http://").expect("an address").to_owned();
        Server { process, address }
    }

    fn files(&self, folder: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.0.path().join(folder)).unwrap();
        let mut names: Vec<String> =
            entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

struct Server {
    process: Child,
    address: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Server {
    fn request(&self, method: &str, path: &str, body: &Json) -> (u16, String) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    fn get(&self, path: &str) -> Json {
        let (status, body) = self.request("GET", path, &Json::Null);
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    fn submit(&self, prompt: &Json) -> String {
        let (status, body) = self.request("POST", "/prompt", &json!({"prompt": prompt}));
        assert_eq!(status, 200, "{body}");
        serde_json::from_str::<Json>(&body).unwrap()["prompt_id"].as_str().unwrap().to_owned()
    }

    fn job(&self, id: &str) -> Json {
        self.get(&format!("/v1/jobs/{id}"))
    }

    #[track_caller]
    fn until(&self, id: &str, state: &str) -> Json {
        wait(state, || {
            let job = self.job(id);
            (job["state"] == state).then_some(job)
        })
    }

    /// Waits until the running job has taken this many steps since the server started.
    #[track_caller]
    fn until_it_samples(&self, steps: u64) {
        wait("steps", || {
            let (_, metrics) = self.request("GET", "/metrics", &Json::Null);
            let count = metrics.lines().find_map(|l| l.strip_prefix("ebb_step_seconds_count "))?;
            (count.parse::<u64>().unwrap() >= steps).then_some(())
        });
    }

    fn signal(&mut self, name: &str) -> ExitStatus {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
        self.process.wait().unwrap()
    }
}

#[track_caller]
fn wait<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited too long for: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn sampling(steps: u32, seed: u32) -> Json {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("workflows/text-to-image.json");
    let mut workflow: Json = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    workflow["3"]["inputs"]["steps"] = json!(steps);
    workflow["3"]["inputs"]["seed"] = json!(seed);
    workflow
}

#[test]
fn killed_while_it_samples_the_queue_goes_on() {
    let place = Place::new();
    let mut server = place.serve("");
    let first = server.submit(&sampling(120, 1));
    let rest: Vec<String> = (2..4).map(|seed| server.submit(&sampling(2, seed))).collect();
    server.until_it_samples(3);
    assert_eq!(server.signal("KILL").signal(), Some(9));

    let server = place.serve("");
    let job = server.until(&first, "succeeded");
    assert_eq!(job["attempts"], 2, "the attempt that was killed counts");
    let ends: Vec<i64> =
        rest.iter().map(|id| server.until(id, "succeeded")["finished"].as_i64().unwrap()).collect();
    assert!(job["finished"].as_i64().unwrap() <= ends[0] && ends.is_sorted(), "in order");
    let history = server.get("/history");
    assert_eq!(history.as_object().unwrap().len(), 3);
    let image = &history[&first]["outputs"]["9"]["images"][0]["filename"];
    assert!(place.files("output").contains(&image.as_str().unwrap().to_owned()), "{history}");
}

#[test]
fn ended_in_order_while_it_samples_the_job_waits_again() {
    let place = Place::new();
    let mut server = place.serve("");
    let id = server.submit(&sampling(400, 1));
    server.until_it_samples(3);
    let asked = Instant::now();
    let ended = server.signal("TERM");
    assert!(ended.success(), "{ended}");
    assert!(asked.elapsed() < Duration::from_secs(20), "{:?}", asked.elapsed());
    assert!(place.files("output").is_empty());

    let server = place.serve("");
    let job = server.until(&id, "running");
    assert_eq!(job["attempts"], 1, "a stop in order is no attempt");
    let (status, _) = server.request("POST", "/interrupt", &json!({"prompt_id": id}));
    assert_eq!(status, 200);
    server.until(&id, "cancelled");
}

/// The end of a job that a full disk cannot hold waits for room, and then the queue goes on without a restart.
#[cfg(target_os = "linux")]
#[test]
fn a_job_that_ends_on_a_full_disk_is_stored_once_there_is_room() {
    let place = Place::new();
    let filler = |n: usize| {
        json!({
            "1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": n}},
            "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}, "_meta": {"title": "x".repeat(8000)}},
        })
    };
    let server = place.serve("trap '' XFSZ;");
    let id = server.submit(&sampling(60, 1));
    server.until_it_samples(1);
    let submit = |n: usize| server.request("POST", "/prompt", &json!({"prompt": filler(n)})).0;
    let accepted = (0..8).filter(|n| submit(*n) == 200).count();
    assert_eq!(accepted, 8);
    // The log of the database is far beyond this by now, and cannot grow by a page; a picture of 128 by 128 fits. Only
    // the soft limit: it is raised again below.
    let process = server.process.id().to_string();
    let limit = |size: &str| {
        let set = Command::new("prlimit").args([&format!("--fsize={size}:"), "--pid", &process]).status();
        assert!(set.expect("prlimit is there").success());
    };
    limit("65536");
    assert_eq!(submit(8), 507, "the disk is full");
    let sampled = |count: u64| server.until_it_samples(count);
    sampled(59);
    // The picture is there, its job's end is not.
    wait("the picture", || (!place.files("output").is_empty()).then_some(()));
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(server.job(&id)["state"], "running");
    assert_eq!(server.get("/v1/queue")["queued"], accepted);
    limit("unlimited");
    let job = server.until(&id, "succeeded");
    assert_eq!((&job["attempts"], job["results"].as_array().map(Vec::len)), (&json!(1), Some(1)));
    wait("the rest", || {
        let succeeded = &server.get("/v1/jobs?state=succeeded&limit=1")["total"];
        (*succeeded == accepted + 1).then_some(())
    });
}

#[test]
fn told_twice_to_stop_it_ends_at_once() {
    let place = Place::new();
    let mut server = place.serve("");
    let id = server.submit(&sampling(400, 1));
    server.until_it_samples(2);
    let process = server.process.id().to_string();
    let term = || Command::new("kill").args(["-s", "TERM", &process]).status().unwrap();
    let asked = Instant::now();
    term();
    while server.process.try_wait().unwrap().is_none() {
        term();
        std::thread::sleep(Duration::from_millis(20));
        assert!(asked.elapsed() < Duration::from_secs(20), "it does not end");
    }
    let server = place.serve("");
    server.until(&id, "running");
}

/// No file may grow beyond so many KiB; writing more is an error and not the process's end: a disk that is full, for
/// whoever writes.
fn room(kib: u32) -> String {
    // `ulimit -f` counts 512 bytes.
    format!("trap '' XFSZ; ulimit -f {};", kib * 2)
}

#[test]
fn a_picture_that_the_disk_cannot_hold_fails_its_job_and_leaves_nothing() {
    let place = Place::new();
    std::fs::create_dir(place.0.path().join("input")).unwrap();
    // Noise does not compress: its PNG is as large as its pixels.
    let mut state = 1u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    let picture = image::RgbImage::from_fn(1600, 1600, |_, _| image::Rgb([noise(), noise(), noise()]));
    picture.save(place.0.path().join("input/noise.png")).unwrap();
    let server = place.serve(&room(6000));
    let too_large = server.submit(&json!({
        "1": {"class_type": "LoadImage", "inputs": {"image": "noise.png"}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "large"}},
    }));
    let small = server.submit(&json!({
        "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 255}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "small"}},
    }));
    let failed = server.until(&too_large, "failed");
    let error = failed["error"].to_string();
    assert!(error.contains("large") && error.contains("nothing was left behind"), "{error}");
    server.until(&small, "succeeded");
    assert_eq!(place.files("output"), ["small_00001_.png"], "no part of a picture is left");
}

#[test]
fn a_queue_that_the_disk_cannot_hold_refuses_and_forgets_nothing() {
    let place = Place::new();
    let prompt = |n: usize| {
        json!({
            "1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": n}},
            "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}, "_meta": {"title": "x".repeat(4000)}},
        })
    };
    let mut server = place.serve("");
    server.request("POST", "/v1/queue/pause", &Json::Null);
    let mut accepted = vec![server.submit(&prompt(0))];
    assert!(server.signal("TERM").success());

    let mut server = place.serve(&room(600));
    let refusal = (1..2000).find_map(|n| {
        let (status, body) = server.request("POST", "/prompt", &json!({"prompt": prompt(n)}));
        let answer: Json = serde_json::from_str(&body).unwrap();
        if status == 200 {
            accepted.push(answer["prompt_id"].as_str().unwrap().to_owned());
        }
        (status != 200).then_some((status, answer))
    });
    let (status, answer) = refusal.expect("the disk is full at last");
    assert_eq!((status, &answer["error"]["type"]), (507, &json!("storage_full")), "{answer}");
    assert_eq!(server.get("/v1/queue")["queued"], accepted.len(), "what was accepted is there");
    assert_eq!(server.signal("KILL").signal(), Some(9));

    let server = place.serve("");
    let queue = server.get("/queue");
    let waiting: Vec<&str> =
        queue["queue_pending"].as_array().unwrap().iter().map(|item| item[1].as_str().unwrap()).collect();
    assert_eq!(waiting, accepted, "all of them, in order");
    server.submit(&prompt(5000));
}

/// A loop of the testing nodes: a white picture, halved some times.
fn halved(times: u32) -> Json {
    let side = json!(8);
    json!({
        "1": {"class_type": "StubImage",
              "inputs": {"content": "WHITE", "height": side, "width": side, "batch_size": 1}},
        "2": {"class_type": "StubImage",
              "inputs": {"content": "BLACK", "height": side, "width": side, "batch_size": 1}},
        "3": {"class_type": "StubMask", "inputs": {"value": 0.5, "height": side, "width": side, "batch_size": 1}},
        "4": {"class_type": "TestForLoopOpen", "inputs": {"remaining": times, "initial_value1": ["1", 0]}},
        "5": {"class_type": "TestLazyMixImages",
              "inputs": {"image1": ["2", 0], "image2": ["4", 2], "mask": ["3", 0]}},
        "6": {"class_type": "TestForLoopClose", "inputs": {"flow_control": ["4", 0], "initial_value1": ["5", 0]}},
        "7": {"class_type": "SaveImage", "inputs": {"images": ["6", 0], "filename_prefix": "halved"}},
    })
}

#[cfg(not(feature = "testing-nodes"))]
#[test]
fn testing_nodes_are_no_part_of_a_release() {
    let ebb = |arguments: &[&str]| Command::new(env!("CARGO_BIN_EXE_ebb")).args(arguments).output().unwrap();
    let refused = ebb(&["serve", "--port", "0", "--testing-nodes"]);
    assert_eq!(refused.status.code(), Some(1), "as for any unknown argument");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--testing-nodes"));
    let place = Place::new();
    let server = place.serve("");
    let (status, answer) = server.request("POST", "/prompt", &json!({"prompt": halved(3)}));
    assert_eq!(status, 400, "{answer}");
    assert!(answer.contains("node StubImage does not exist"), "{answer}");
}

#[cfg(feature = "testing-nodes")]
#[test]
fn testing_nodes_are_there_when_a_test_build_is_asked_for_them() {
    let place = Place::new();
    let server = place.serve_with("", "--testing-nodes --max-depth 12");
    let id = server.submit(&halved(3));
    server.until(&id, "succeeded");
    let picture = image::open(place.0.path().join("output/halved_00001_.png")).unwrap().to_rgb8();
    assert!(picture.pixels().all(|pixel| pixel.0 == [31; 3]), "an eighth of 255, cut");
    // The loop's own limit, by its flag.
    let endless = server.submit(&halved(20));
    let error = server.until(&endless, "failed")["error"].to_string();
    assert!(error.contains("13 deep, more than the limit of 12") && error.contains("--max-depth"), "{error}");
    // Without the flag the same build has none of them.
    let place = Place::new();
    let server = place.serve("");
    let (status, answer) = server.request("POST", "/prompt", &json!({"prompt": halved(3)}));
    assert_eq!(status, 400, "{answer}");
    assert!(answer.contains("node StubImage does not exist"), "{answer}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_job_that_the_system_has_no_memory_for_fails_and_the_server_goes_on() {
    let place = Place::new();
    // No more than 1.5 GiB of address space, whatever --memory thinks there is.
    let server = place.serve("ulimit -v 1572864;");
    let mut large = sampling(1, 1);
    for (input, value) in [("width", 512), ("height", 512), ("batch_size", 128)] {
        large["5"]["inputs"][input] = json!(value);
    }
    let wide = json!({
        "1": {"class_type": "EmptyImage", "inputs": {"width": 16000, "height": 16000, "batch_size": 1, "color": 255}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "wide"}},
    });
    // Nobody foretells what this takes: a copy of the picture for each of its steps.
    let grown = json!({
        "1": {"class_type": "EmptyImage", "inputs": {"width": 6000, "height": 6000, "batch_size": 1, "color": 255}},
        "2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
        "3": {"class_type": "ImageBlend", "inputs": {
            "image1": ["1", 0], "image2": ["2", 0], "blend_factor": 0.5, "blend_mode": "overlay"}},
        "4": {"class_type": "SaveImage", "inputs": {"images": ["3", 0], "filename_prefix": "grown"}},
    });
    for prompt in [large, wide, grown] {
        let id = server.submit(&prompt);
        let error = server.until(&id, "failed")["error"].to_string();
        assert!(error.contains("OutOfMemoryError"), "{error}");
        let id = server.submit(&sampling(1, 2));
        server.until(&id, "succeeded");
    }
}
