//! How long `/prompt` takes when many clients submit at once.
//!
//! `cargo run --release -p ebb-web --example load -- 127.0.0.1:8188 [WORKFLOW.json] [CLIENTS] [SUBMISSIONS]`
//!
//! Pauses the queue, so that what is measured is the way to the disk and back, submits the workflow with another seed
//! each time from every client over a connection of its own, says how long the answers took, what the server
//! holds more than before, and how long the queue takes to list, and clears it. With `--running` the queue is not paused:
//! measure so while a job samples.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

struct Client {
    stream: BufReader<TcpStream>,
    host: String,
}

impl Client {
    fn connect(host: &str) -> std::io::Result<Self> {
        let stream = TcpStream::connect(host)?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream), host: host.to_owned() })
    }

    fn request(&mut self, method: &str, path: &str, body: &[u8]) -> std::io::Result<(u16, Vec<u8>)> {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n\r\n",
            self.host,
            body.len()
        );
        let mut request = head.into_bytes();
        request.extend_from_slice(body);
        self.stream.get_mut().write_all(&request)?;
        let (mut status, mut length, mut line) = (0, 0, String::new());
        loop {
            line.clear();
            if self.stream.read_line(&mut line)? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            let text = line.trim_end().to_ascii_lowercase();
            if let Some(rest) = text.strip_prefix("http/1.1 ") {
                status = rest.split(' ').next().and_then(|s| s.parse().ok()).unwrap_or(0);
            } else if let Some(rest) = text.strip_prefix("content-length: ") {
                length = rest.parse().unwrap_or(0);
            } else if text.is_empty() {
                break;
            }
        }
        let mut answer = vec![0; length];
        self.stream.read_exact(&mut answer)?;
        Ok((status, answer))
    }
}

/// The workflow with another seed.
fn varied(workflow: &Json, n: usize) -> Json {
    let mut workflow = workflow.clone();
    for node in workflow.as_object_mut().into_iter().flat_map(|w| w.values_mut()) {
        for key in ["seed", "noise_seed", "color"] {
            if node["inputs"].get(key).is_some_and(Json::is_number) {
                node["inputs"][key] = json!(n);
            }
        }
    }
    workflow
}

fn at(times: &[Duration], share: f64) -> f64 {
    let index = ((times.len() as f64 - 1.0) * share).round() as usize;
    times.get(index).map_or(0.0, |t| t.as_secs_f64() * 1e3)
}

/// MB that the server holds itself, by its own metrics.
fn held(control: &mut Client) -> std::io::Result<f64> {
    let (_, text) = control.request("GET", "/metrics", b"")?;
    let text = String::from_utf8_lossy(&text).into_owned();
    let line = text.lines().find_map(|line| line.strip_prefix("ebb_rss_anon_bytes "));
    Ok(line.and_then(|bytes| bytes.parse::<f64>().ok()).unwrap_or(f64::NAN) / 1e6)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let running = arguments.iter().any(|a| a == "--running");
    arguments.retain(|a| a != "--running");
    let host = arguments.first().cloned().unwrap_or_else(|| "127.0.0.1:8188".to_owned());
    let workflow: Json = match arguments.get(1) {
        Some(path) => serde_json::from_slice(&std::fs::read(path)?)?,
        None => json!({
            "1": {"class_type": "EmptyImage", "inputs": {"width": 16, "height": 16, "batch_size": 1, "color": 0}},
            "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
        }),
    };
    let clients: usize = arguments.get(2).map_or(Ok(50), |n| n.parse())?;
    let submissions: usize = arguments.get(3).map_or(Ok(1000), |n| n.parse())?;

    let mut control = Client::connect(&host)?;
    if !running {
        control.request("POST", "/v1/queue/pause", b"")?;
    }
    let before = held(&mut control)?;
    let next = Arc::new(AtomicUsize::new(0));
    let began = Instant::now();
    let workers: Vec<_> = (0..clients)
        .map(|_| {
            let (next, host, workflow) = (Arc::clone(&next), host.clone(), workflow.clone());
            std::thread::spawn(move || -> std::io::Result<Vec<Duration>> {
                let mut client = Client::connect(&host)?;
                let mut times = Vec::new();
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= submissions {
                        return Ok(times);
                    }
                    let body = json!({"prompt": varied(&workflow, n), "client_id": "load"}).to_string();
                    let sent = Instant::now();
                    let (status, answer) = client.request("POST", "/prompt", body.as_bytes())?;
                    times.push(sent.elapsed());
                    if status != 200 {
                        return Err(std::io::Error::other(String::from_utf8_lossy(&answer).into_owned()));
                    }
                }
            })
        })
        .collect();
    let mut times = Vec::new();
    for worker in workers {
        times.extend(worker.join().map_err(|_| "a client panicked")??);
    }
    let seconds = began.elapsed().as_secs_f64();
    times.sort();
    println!(
        "{} submissions by {clients} clients in {seconds:.2} s ({:.0}/s): p50 {:.1} ms, p90 {:.1} ms, p99 {:.1} ms, max {:.1} ms",
        times.len(),
        times.len() as f64 / seconds,
        at(&times, 0.5),
        at(&times, 0.9),
        at(&times, 0.99),
        at(&times, 1.0)
    );
    let after = held(&mut control)?;
    println!("the server holds {after:.1} MB, {:+.1} MB", after - before);
    let listed = Instant::now();
    let (_, queue) = control.request("GET", "/queue", b"")?;
    let whole = listed.elapsed();
    let paged = Instant::now();
    control.request("GET", "/api/jobs?status=pending&limit=200", b"")?;
    println!(
        "queue of {:.1} MB listed in {:.0} ms, a page of 200 in {:.1} ms",
        queue.len() as f64 / 1e6,
        whole.as_secs_f64() * 1e3,
        paged.elapsed().as_secs_f64() * 1e3
    );
    control.request("POST", "/queue", b"{\"clear\": true}")?;
    if !running {
        control.request("POST", "/v1/queue/resume", b"")?;
    }
    Ok(())
}
