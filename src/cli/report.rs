//! `--report`: what a run did and what it cost, from its events alone.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ebb_engine::events::{Event, EventKind};
use ebb_engine::execute::RunReport;
use ebb_engine::residency::{History, Residency, Sample, resident};
use serde_json::{Value as Json, json};

use super::failure::{Done, Failure};
use super::process;

/// Collects a report.
#[derive(Default)]
pub(super) struct Report {
    steps: Vec<Json>,
    cached: Vec<Json>,
    loads: Vec<Json>,
    evictions: Vec<Json>,
    dropped: Vec<Json>,
    predicted_peak: u64,
    end: Json,
}

impl Report {
    /// Takes an event.
    pub(super) fn add(&mut self, event: &Event) {
        match &event.kind {
            EventKind::Started { predicted_peak, .. } | EventKind::PlanRevised { predicted_peak, .. } => {
                self.predicted_peak = self.predicted_peak.max(*predicted_peak);
            }
            EventKind::Cached { nodes } => self.cached.extend(nodes.iter().map(|id| json!(id.as_str()))),
            EventKind::NodeFinished { node, origin, cached, seconds, bytes, .. } => self.steps.push(json!({
                "node": node.id.as_str(),
                "class": node.class,
                "cached": cached,
                "origin": origin.id.as_str(),
                "seconds": seconds,
                "bytes": bytes,
            })),
            EventKind::ValueDropped { node, slot, bytes } => self.dropped.push(json!({
                "node": node.id.as_str(),
                "slot": slot,
                "bytes": bytes,
                "after_step": self.steps.len(),
            })),
            EventKind::Loaded { component, label, bytes, seconds } => {
                let entry =
                    json!({"component": component, "label": label, "bytes": bytes, "seconds": seconds});
                self.loads.push(entry);
            }
            EventKind::Evicted { component, label, bytes, reason } => {
                let entry = json!({"component": component, "label": label, "bytes": bytes, "reason": reason});
                self.evictions.push(entry);
            }
            EventKind::Succeeded => self.end = json!({"status": "succeeded"}),
            EventKind::Failed { error } => self.end = json!({"status": "failed", "error": error}),
            EventKind::Interrupted { node, .. } => {
                self.end = json!({"status": "cancelled", "node": node.as_ref().map(|node| node.id.as_str())});
            }
            _ => {}
        }
    }

    /// Writes it. The file appears whole or not at all.
    pub(super) fn write(
        self,
        path: &Path,
        seconds: f64,
        run: Option<&RunReport>,
        memory: &Memory<'_>,
        files: &[PathBuf],
    ) -> Done {
        let history = memory.residency.timeline().since(None);
        let report = json!({
            "ebb": env!("CARGO_PKG_VERSION"),
            "end": self.end,
            "seconds": seconds,
            "steps": self.steps,
            "cached": self.cached,
            "dropped": self.dropped,
            "loads": self.loads,
            "evictions": self.evictions,
            "files": files,
            "memory": {
                "predicted_peak": run.map_or(self.predicted_peak, |run| run.predicted_peak),
                "ledger_peak": memory.ledger_peak,
                "process": process::memory(),
                "idle": memory.idle,
                "named": named(&history, memory.idle),
                "timeline": history,
            },
        });
        write_whole(path, &(serde_json::to_string_pretty(&report)? + "\n"))
    }
}

/// Whose memory a report is about.
pub(super) struct Memory<'a> {
    residency: &'a Residency,
    /// `RssAnon` before anything ran.
    idle: Option<u64>,
    /// The most that the ledger named.
    pub(super) ledger_peak: u64,
}

impl<'a> Memory<'a> {
    /// That of this process, idle as it is now.
    pub(super) fn idle(residency: &'a Residency) -> Self {
        Self { residency, idle: resident().0, ledger_peak: 0 }
    }
}

/// How much of the process's growth over its idle self the ledger names, where it had grown most.
fn named(history: &History, idle: Option<u64>) -> Option<Json> {
    let grown = |sample: &Sample| Some(sample.rss_anon?.saturating_sub(idle?)).filter(|grown| *grown > 0);
    let most = history.samples.iter().max_by_key(|sample| grown(sample))?;
    let (grown, ledger) = (grown(most)?, most.bytes.iter().sum::<u64>());
    Some(json!({"t": most.t, "grown": grown, "ledger": ledger, "part": ledger as f64 / grown as f64}))
}

/// Samples memory ten times a second, so that a step which says nothing is seen as well. Stops when dropped.
pub(super) struct Sampling(tokio::task::JoinHandle<()>);

impl Sampling {
    /// Begins. Must be called within a runtime.
    pub(super) fn begin(residency: &Arc<Residency>) -> Self {
        let residency = residency.clone();
        Self(tokio::spawn(async move {
            loop {
                residency.sample();
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }))
    }
}

impl Drop for Sampling {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Fails where [`write_whole`] would: before an hour of work rather than after it.
pub(super) fn writable(path: &Path) -> Done {
    if path.is_dir() {
        return Err(Failure::other(format!("cannot write {}: it is a folder", path.display())));
    }
    let part = beside(path)?;
    std::fs::write(&part, "")
        .and_then(|()| std::fs::remove_file(&part))
        .map_err(|error| Failure::file("write", path, &error))
}

/// The temporary name of a file that is not whole yet.
fn beside(path: &Path) -> Done<PathBuf> {
    let name =
        path.file_name().ok_or_else(|| Failure::other(format!("{} is no file name", path.display())))?;
    let mut part = name.to_owned();
    part.push(format!(".{}.part", std::process::id()));
    Ok(path.with_file_name(part))
}

/// Writes a file under a temporary name beside it, then renames it.
pub(super) fn write_whole(path: &Path, text: &str) -> Done {
    let failed = |error| Failure::file("write", path, &error);
    let part = beside(path)?;
    std::fs::write(&part, text).and_then(|()| std::fs::rename(&part, path)).map_err(|error| {
        // It may not be there: the write is what failed then.
        let _ = std::fs::remove_file(&part);
        failed(error)
    })
}
