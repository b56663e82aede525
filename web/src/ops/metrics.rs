//! Counters, and how Prometheus reads them at `/metrics`. No label holds a prompt, a file name or an address.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use ebb_engine::events::EventKind;
use ebb_queue::JobState;

use super::process;
use crate::app::App;
use crate::files::blocking;

/// Upper bounds of the step histogram, in seconds.
const BUCKETS: [f64; 10] = [0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0];

/// Counts since the process started.
#[derive(Default)]
pub(crate) struct Metrics {
    succeeded: AtomicU64,
    failed: AtomicU64,
    cancelled: AtomicU64,
    nodes: AtomicU64,
    cached: AtomicU64,
    loads: AtomicU64,
    loaded_bytes: AtomicU64,
    load_microseconds: AtomicU64,
    evictions: AtomicU64,
    steps: Mutex<Steps>,
}

/// Times between progress reports of one node.
#[derive(Default)]
struct Steps {
    last: Option<(String, Instant)>,
    buckets: [u64; BUCKETS.len()],
    count: u64,
    seconds: f64,
}

impl Metrics {
    /// A job ended.
    pub(crate) fn ended(&self, state: JobState) {
        match state {
            JobState::Succeeded => add(&self.succeeded, 1),
            JobState::Failed => add(&self.failed, 1),
            JobState::Cancelled => add(&self.cancelled, 1),
            JobState::Queued | JobState::Running => {}
        }
    }

    /// Something happened in a job.
    pub(crate) fn count(&self, event: &EventKind) {
        match event {
            EventKind::NodeFinished { cached, .. } => {
                add(if *cached { &self.cached } else { &self.nodes }, 1)
            }
            EventKind::Loaded { bytes, seconds, .. } => {
                add(&self.loads, 1);
                add(&self.loaded_bytes, *bytes);
                add(&self.load_microseconds, (seconds * 1e6) as u64);
            }
            EventKind::Evicted { .. } => add(&self.evictions, 1),
            EventKind::Progress { node, .. } => {
                self.steps
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .step(node.id.as_str(), Instant::now());
            }
            _ => {}
        }
    }

    fn write(&self, out: &mut String) {
        let get = |n: &AtomicU64| n.load(Ordering::Relaxed) as f64;
        let help = "Jobs by how they ended.";
        let ends = [("succeeded", &self.succeeded), ("failed", &self.failed), ("cancelled", &self.cancelled)];
        let ends = ends.map(|(end, n)| (format!("{{end=\"{end}\"}}"), get(n)));
        family(out, "ebb_jobs_ended_total", "counter", help, &ends);
        let one = |n: &AtomicU64| [(String::new(), get(n))];
        family(out, "ebb_nodes_run_total", "counter", "Nodes that computed.", &one(&self.nodes));
        family(
            out,
            "ebb_nodes_cached_total",
            "counter",
            "Nodes answered from the cache.",
            &one(&self.cached),
        );
        family(out, "ebb_loads_total", "counter", "Components read into memory.", &one(&self.loads));
        family(out, "ebb_loaded_bytes_total", "counter", "Bytes of them.", &one(&self.loaded_bytes));
        let seconds = [(String::new(), get(&self.load_microseconds) / 1e6)];
        family(out, "ebb_load_seconds_total", "counter", "Time that loads took.", &seconds);
        family(
            out,
            "ebb_evictions_total",
            "counter",
            "Components given back for room.",
            &one(&self.evictions),
        );
        self.steps.lock().unwrap_or_else(PoisonError::into_inner).write(out);
    }
}

impl Steps {
    fn step(&mut self, node: &str, now: Instant) {
        // The first report of a node tells how far it is, not how long a step takes.
        if let Some((_, before)) = self.last.as_ref().filter(|(last, _)| last == node) {
            let seconds = now.duration_since(*before).as_secs_f64();
            self.count += 1;
            self.seconds += seconds;
            for (bucket, bound) in self.buckets.iter_mut().zip(BUCKETS) {
                *bucket += u64::from(seconds <= bound);
            }
        }
        self.last = Some((node.to_owned(), now));
    }

    fn write(&self, out: &mut String) {
        let _ = writeln!(out, "# HELP ebb_step_seconds Time between progress reports of a node.");
        let _ = writeln!(out, "# TYPE ebb_step_seconds histogram");
        for (bucket, bound) in self.buckets.iter().zip(BUCKETS) {
            let _ = writeln!(out, "ebb_step_seconds_bucket{{le=\"{bound}\"}} {bucket}");
        }
        let _ = writeln!(out, "ebb_step_seconds_bucket{{le=\"+Inf\"}} {}", self.count);
        let _ = writeln!(out, "ebb_step_seconds_sum {}\nebb_step_seconds_count {}", self.seconds, self.count);
    }
}

fn add(to: &AtomicU64, n: u64) {
    to.fetch_add(n, Ordering::Relaxed);
}

/// One metric in Prometheus' text form. Writing to a string cannot fail.
fn family(out: &mut String, name: &str, kind: &str, help: &str, values: &[(String, f64)]) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
    for (labels, value) in values {
        let _ = writeln!(out, "{name}{labels} {value}");
    }
}

/// Sums by label, in the order in which they are first seen.
fn summed(label: &str, values: impl IntoIterator<Item = (String, u64)>) -> Vec<(String, f64)> {
    let mut sums: Vec<(String, f64)> = Vec::new();
    for (value, bytes) in values {
        // Prometheus escapes like Rust's debug form where there are only names of parts.
        let label = format!("{{{label}={value:?}}}");
        match sums.iter_mut().find(|(l, _)| *l == label) {
            Some((_, sum)) => *sum += bytes as f64,
            None => sums.push((label, bytes as f64)),
        }
    }
    sums
}

/// `GET /metrics`.
pub(crate) async fn metrics(State(app): State<App>) -> Response {
    let mut out = String::new();
    app.metrics.write(&mut out);
    let store = app.store.clone();
    let one = |value: f64| [(String::new(), value)];
    if let Ok(counts) = blocking(move || store.counts().map_err(std::io::Error::other)).await {
        let jobs = [("queued", counts.queued), ("running", counts.running)];
        let jobs = jobs.map(|(state, n)| (format!("{{state=\"{state}\"}}"), n as f64));
        family(&mut out, "ebb_jobs", "gauge", "Jobs by state.", &jobs);
    }
    family(&mut out, "ebb_websockets", "gauge", "Connected websockets.", &one(app.hub.len() as f64));
    if let Some(residency) = app.workshop.residency() {
        let owners = residency.ledger().owners().into_iter().map(|(owner, bytes)| {
            (
                serde_json::to_value(owner.kind).unwrap_or_default().as_str().unwrap_or_default().to_owned(),
                bytes,
            )
        });
        let held = summed("kind", owners);
        family(&mut out, "ebb_held_bytes", "gauge", "Bytes in the ledger by what holds them.", &held);
        let parts = summed("kind", residency.residents().iter().map(|r| (r.key.part.to_string(), r.bytes)));
        family(&mut out, "ebb_component_bytes", "gauge", "Bytes of models in memory by their part.", &parts);
        if let Some(budget) = residency.budget() {
            let help = "The most that the ledger may hold.";
            family(&mut out, "ebb_budget_bytes", "gauge", help, &one(budget as f64));
        }
    }
    let memory = process::memory();
    family(&mut out, "ebb_rss_anon_bytes", "gauge", "RssAnon of this process.", &one(memory.rss_anon as f64));
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], out).into_response()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn steps_are_counted_within_a_node() {
        let (mut steps, t) = (Steps::default(), Instant::now());
        for (node, ms) in [("1", 0), ("1", 30), ("1", 230), ("2", 900), ("2", 910)] {
            steps.step(node, t + Duration::from_millis(ms));
        }
        assert_eq!(steps.count, 3);
        assert_eq!(steps.buckets, [1, 2, 2, 3, 3, 3, 3, 3, 3, 3]);
    }

    #[test]
    fn the_text_is_prometheus() {
        let metrics = Metrics::default();
        metrics.ended(JobState::Failed);
        let mut out = String::new();
        metrics.write(&mut out);
        assert!(out.contains("# TYPE ebb_jobs_ended_total counter\n"));
        assert!(out.contains("ebb_jobs_ended_total{end=\"failed\"} 1\n"));
        assert!(
            out.lines()
                .all(|l| l.starts_with('#')
                    || l.rsplit_once(' ').is_some_and(|(_, v)| v.parse::<f64>().is_ok()))
        );
    }
}
