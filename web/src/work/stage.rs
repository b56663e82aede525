//! A running job's events as frames, in ComfyUI's order.
//!
//! Recipients: frames of a job go to the client that submitted it. Without a client id `progress_state`, `progress`,
//! previews and the interruption go to everybody and the rest to nobody; that is odd, and clients rely on it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use ebb_engine::events::{Event, EventKind, EventSink, JobError, Preview};
use ebb_engine::node::NodeRef;
use ebb_queue::{JobState, JobStore, NewEvent};
use serde_json::{Map, Value as Json, json};

use super::feed::{Feed, Told};
use super::outcome::{Record, raw};
use super::progress::Progress;
use crate::ops::metrics::Metrics;
use crate::ws::frames;
use crate::ws::hub::{Hub, To, Weight};

/// Where a job's events are shown: the hub, the feed and the store's log.
pub(crate) struct Stage {
    job: Arc<str>,
    client: Option<String>,
    /// Every id of the submitted prompt, for error frames.
    prompt_ids: Vec<String>,
    hub: Arc<Hub>,
    feed: Arc<Feed>,
    store: Arc<dyn JobStore>,
    metrics: Arc<Metrics>,
    state: Mutex<State>,
}

struct State {
    progress: Progress,
    record: Record,
    next_event: i64,
    ended: Option<JobState>,
    /// The server stops: the job will run again, so its end is not shown.
    muted: bool,
}

impl Stage {
    pub(crate) fn new(
        job: Arc<str>,
        client: Option<String>,
        prompt_ids: Vec<String>,
        next_event: i64,
        (hub, feed): (Arc<Hub>, Arc<Feed>),
        store: Arc<dyn JobStore>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let state = State {
            progress: Progress::default(),
            record: Record::default(),
            next_event,
            ended: None,
            muted: false,
        };
        Self { job, client, prompt_ids, hub, feed, store, metrics, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows nothing from now on.
    pub(crate) fn mute(&self) {
        self.state().muted = true;
    }

    /// What an earlier run of the job showed already.
    pub(crate) fn recall(&self, outputs: Map<String, Json>) {
        self.state().record.outputs = outputs;
    }

    /// How the job ended and what is kept of it. A run that ended without saying how has failed.
    pub(crate) fn end(&self) -> (JobState, Record) {
        let mut state = self.state();
        let ended = state.ended.unwrap_or(JobState::Failed);
        (ended, std::mem::take(&mut state.record))
    }

    /// Shows that the run panicked or could not begin.
    pub(crate) fn broke(&self, message: &str) {
        let mut state = self.state();
        if state.ended.is_some() {
            return;
        }
        let data = json!({
            "prompt_id": &*self.job, "node_id": null, "node_type": null, "executed": [],
            "exception_message": format!("{message}\n"), "exception_type": "InternalError", "traceback": [message],
            "current_inputs": {}, "current_outputs": self.prompt_ids, "timestamp": now(),
        });
        self.close(&mut state, "execution_error", data, JobState::Failed);
    }

    /// Tells a fact: kept in the log, told to readers of the feed, sent to the client.
    fn tell(&self, state: &mut State, kind: &str, data: &Json, weight: Weight, everybody: bool) {
        if state.muted {
            return;
        }
        self.keep(state, kind, data);
        if let Some(to) = self.to(everybody) {
            self.hub.text(to, &frames::text(kind, data), weight);
        }
    }

    fn keep(&self, state: &mut State, kind: &str, data: &Json) {
        let seq = state.next_event;
        state.next_event += 1;
        let data = raw(data);
        self.feed.tell(Told { job: self.job.clone(), seq, kind: kind.into(), data: Arc::from(data.clone()) });
        let event = NewEvent { seq, at_ms: now(), kind: kind.to_owned(), data };
        if let Err(error) = self.store.append_events(&self.job, vec![event]) {
            tracing::warn!(%error, "an event could not be kept");
        }
    }

    fn to(&self, everybody: bool) -> Option<To<'_>> {
        match &self.client {
            Some(client) => Some(To::Client(client)),
            None => everybody.then_some(To::All),
        }
    }

    /// `progress_state`: not kept, the next one says the same and more.
    fn show_progress(&self, state: &State) {
        if state.muted {
            return;
        }
        if let Some(to) = self.to(true) {
            let frame = frames::text("progress_state", &state.progress.data(&self.job));
            self.hub.text(to, &frame, Weight::Progress);
        }
    }

    fn show_preview(&self, node: &NodeRef, preview: &Preview, step: Option<&Json>) {
        let Some(to) = self.to(true) else { return };
        let plain = frames::preview(preview.format, &preview.data);
        let with = frames::preview_with_metadata(&self.job, node, preview.format, &preview.data);
        let step = step.map(|data| frames::text("progress", data));
        self.hub.step(to, step.as_ref(), &plain, &with);
    }

    fn close(&self, state: &mut State, kind: &str, data: Json, ended: JobState) {
        let everybody = kind == "execution_interrupted";
        self.tell(state, kind, &data, Weight::Fact, everybody);
        if ended == JobState::Failed {
            state.record.error = Some(data.clone());
        }
        state.record.completed = ended == JobState::Succeeded;
        state.record.messages.push((kind.to_owned(), data));
        state.ended = Some(ended);
    }

    fn progress(&self, state: &mut State, node: &NodeRef, value: f64, max: f64, preview: Option<&Preview>) {
        state.progress.step(node, value, max);
        self.show_progress(state);
        let data = json!({"value": frames::number(value), "max": frames::number(max), "prompt_id": &*self.job,
                          "node": node.id.as_str()});
        if state.muted {
            return;
        }
        match preview {
            None => self.tell(state, "progress", &data, Weight::Progress, true),
            Some(preview) => {
                self.keep(state, "progress", &data);
                self.show_preview(node, preview, Some(&data));
            }
        }
    }

    fn error_data(&self, error: &JobError) -> Json {
        // A cycle is no node's own failure; ComfyUI gives a list here, and an empty one.
        let inputs = match error.kind {
            "cycle" => json!([]),
            _ => {
                Json::Object(error.inputs.iter().map(|(name, value)| (name.clone(), listed(value))).collect())
            }
        };
        let place = format!("{} #{}: {}", error.node.class, error.node.id, error.message);
        json!({
            "prompt_id": &*self.job,
            "node_id": error.node.real.as_str(),
            "node_type": &*error.node.class,
            "executed": error.executed.iter().map(|id| id.as_str()).collect::<Vec<_>>(),
            "exception_message": format!("{}\n", error.message.trim_end()),
            "exception_type": error.exception,
            "traceback": [place],
            "current_inputs": inputs,
            "current_outputs": self.prompt_ids,
            "timestamp": now(),
        })
    }
}

impl EventSink for Stage {
    fn emit(&self, event: Event) {
        self.metrics.count(&event.kind);
        let mut guard = self.state();
        let state = &mut *guard;
        let job = &*self.job;
        match event.kind {
            EventKind::Started { .. } => {
                let data = json!({"prompt_id": job, "timestamp": now()});
                self.tell(state, "execution_start", &data, Weight::Fact, false);
                state.record.messages.push(("execution_start".to_owned(), data));
            }
            EventKind::Cached { nodes } => {
                let nodes: Vec<&str> = nodes.iter().map(|id| id.as_str()).collect();
                let data = json!({"nodes": nodes, "prompt_id": job, "timestamp": now()});
                self.tell(state, "execution_cached", &data, Weight::Fact, false);
                state.record.messages.push(("execution_cached".to_owned(), data));
            }
            EventKind::NodeStarted { node } => {
                state.progress.start(&node);
                self.show_progress(state);
                let data = json!({"node": node.id.as_str(), "display_node": node.display.as_str(), "prompt_id": job});
                if let Some(client) = &self.client {
                    self.hub.running(Some((client, Some(node.display.as_str()))));
                }
                self.tell(state, "executing", &data, Weight::Fact, false);
            }
            EventKind::Progress { node, value, max, preview } => {
                self.progress(state, &node, value, max, preview.as_deref());
            }
            EventKind::Preview { node, preview } if !state.muted => self.show_preview(&node, &preview, None),
            EventKind::Text { node, text } if !state.muted => {
                if let Some(to) = self.to(true) {
                    self.hub.binary(to, &frames::node_text(node.id.as_str(), &text), Weight::Fact);
                }
            }
            EventKind::NodeFinished { node, ui, cached, .. } => {
                if let Some(ui) = &ui {
                    state.record.output(&node, ui);
                }
                // A node that ran tells what it shows; one that was found in the cache tells that it was, too.
                if ui.is_some() || cached {
                    let data = json!({"node": node.id.as_str(), "display_node": node.display.as_str(),
                                      "output": ui.as_deref(), "prompt_id": job});
                    self.tell(state, "executed", &data, Weight::Fact, false);
                }
                state.progress.finish(&node);
                self.show_progress(state);
            }
            EventKind::NodeBlocked { node, message, executed } => {
                let executed: Vec<&str> = executed.iter().map(|id| id.as_str()).collect();
                let data = json!({
                    "prompt_id": job, "node_id": node.id.as_str(), "node_type": &*node.class, "executed": executed,
                    "exception_message": format!("Execution Blocked: {message}"),
                    "exception_type": "ExecutionBlocked", "traceback": [], "current_inputs": [], "current_outputs": [],
                });
                self.tell(state, "execution_error", &data, Weight::Fact, false);
            }
            EventKind::Succeeded => {
                let data = json!({"prompt_id": job, "timestamp": now()});
                self.close(state, "execution_success", data, JobState::Succeeded);
            }
            EventKind::Failed { error } => {
                state.progress.fail(&error.node);
                let data = self.error_data(&error);
                self.close(state, "execution_error", data, JobState::Failed);
            }
            EventKind::Interrupted { node, executed } => {
                let executed: Vec<&str> = executed.iter().map(|id| id.as_str()).collect();
                let data = json!({
                    "prompt_id": job, "node_id": node.as_ref().map(|n| n.real.as_str()),
                    "node_type": node.as_ref().map(|n| &*n.class), "executed": executed, "timestamp": now(),
                });
                self.close(state, "execution_interrupted", data, JobState::Cancelled);
            }
            // Told by `/v1` and metrics; ComfyUI's clients have no frames for them.
            _ => {}
        }
    }
}

/// Inputs are shown as lists, one value a call.
fn listed(value: &Json) -> Json {
    if value.is_array() { value.clone() } else { json!([value]) }
}

/// Milliseconds since 1970.
pub(crate) fn now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX))
}
