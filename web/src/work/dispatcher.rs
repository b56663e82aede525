//! The one thread that takes jobs, runs them and stores how they ended.
//!
//! One job computes at a time. The thread sleeps until it is told that something changed; what it does next it reads
//! from the store, so that a missed or doubled call changes nothing.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use ebb_engine::events::{EventSink, PreviewMethod, Previews};
use ebb_engine::node::Cancel;
use ebb_queue::pick::{Preference, pick};
use ebb_queue::{Cancelled, Claimed, Ended, JobState, JobStore, QueueError};
use futures::FutureExt;
use serde_json::{Value as Json, json};

use super::feed::Feed;
use super::resume::shown_before;
use super::stage::Stage;
use super::workshop::{Run, Workshop};
use crate::config::Folders;
use crate::ops::metrics::Metrics;
use crate::ws::frames;
use crate::ws::hub::{Hub, To, Weight};

/// Jobs that are looked at to choose the next one.
const LOOK_AHEAD: u64 = 256;
/// How long the thread sleeps at most: a safety net, not a clock.
const NAP: Duration = Duration::from_secs(5);
/// How long it waits at most before it tries again to store what a full disk refused.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Where `extra_data` of a job keeps the sweep that it is.
pub(crate) const SWEEP: &str = "ebb_sweep";

/// What the thread works with.
pub(crate) struct Bench {
    pub(crate) store: Arc<dyn JobStore>,
    pub(crate) workshop: Arc<dyn Workshop>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) feed: Arc<Feed>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) folders: Folders,
    pub(crate) preference: Preference,
    /// For jobs that don't say which previews they want.
    pub(crate) previews: Previews,
}

/// Handle to the thread.
pub(crate) struct Dispatcher {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Something changed since the thread last looked.
    woken: bool,
    stopping: bool,
    running: Option<Running>,
    /// Asked for by `/free`, done when no job runs.
    free_models: bool,
    free_cache: bool,
}

struct Running {
    id: Arc<str>,
    cancel: Cancel,
    stage: Arc<Stage>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Dispatcher {
    /// Starts the thread. It runs futures of the runtime it is started from.
    pub(crate) fn start(bench: Bench) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let runtime = tokio::runtime::Handle::current();
        let worker = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("ebb-dispatch".into())
            .spawn(move || work(&bench, &worker, &runtime))?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    /// The queue or its settings changed.
    pub(crate) fn wake(&self) {
        self.shared.state().woken = true;
        self.shared.changed.notify_all();
    }

    /// Frees memory once no job runs.
    pub(crate) fn free(&self, models: bool, cache: bool) {
        let mut state = self.shared.state();
        state.free_models |= models;
        state.free_cache |= cache;
        state.woken = true;
        drop(state);
        self.shared.changed.notify_all();
    }

    /// Whether the thread is there: without it jobs are accepted and none is run.
    pub(crate) fn is_alive(&self) -> bool {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Tells the running job to stop, if it is this one. The request is to be stored before.
    pub(crate) fn stop_job(&self, id: &str) {
        if let Some(running) = self.shared.state().running.as_ref().filter(|r| *r.id == *id) {
            running.cancel.cancel();
        }
    }

    /// Stops a job whatever it is doing: stored first, so that it holds over a crash.
    pub(crate) fn cancel(&self, store: &dyn JobStore, id: &str) -> Result<Cancelled, QueueError> {
        let done = store.cancel(id)?;
        if done == Cancelled::Requested {
            self.stop_job(id);
        }
        Ok(done)
    }

    /// Puts the running job back into the queue and ends the thread.
    pub(crate) fn stop(&self) {
        let mut state = self.shared.state();
        state.stopping = true;
        if let Some(running) = &state.running {
            // It will run again: its clients are not told that it was interrupted.
            running.stage.mute();
            running.cancel.cancel();
        }
        drop(state);
        self.shared.changed.notify_all();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|t| t.join().is_err()) {
            tracing::error!("the dispatcher panicked");
        }
    }
}

fn work(bench: &Bench, shared: &Shared, runtime: &tokio::runtime::Handle) {
    loop {
        let mut state = shared.state();
        if state.stopping {
            return;
        }
        let (models, cache) = (std::mem::take(&mut state.free_models), std::mem::take(&mut state.free_cache));
        state.woken = false;
        drop(state);
        if models || cache {
            bench.workshop.free(models, cache);
        }
        match take(bench) {
            Ok(Some(claimed)) => run(bench, shared, runtime, claimed),
            Ok(None) => sleep(shared),
            Err(error) => {
                tracing::error!(%error, "the queue cannot be read; trying again");
                std::thread::sleep(Duration::from_secs(1));
            }
        }
    }
}

fn sleep(shared: &Shared) {
    let state = shared.state();
    if !state.woken && !state.stopping {
        drop(shared.changed.wait_timeout(state, NAP));
    }
}

/// The next job, taken.
fn take(bench: &Bench) -> Result<Option<Claimed>, QueueError> {
    if bench.store.paused()? {
        return Ok(None);
    }
    let look = if bench.preference.max_passes == 0 { 1 } else { LOOK_AHEAD };
    let waiting = bench.store.queued(look)?;
    let resident =
        if bench.preference.max_passes == 0 { Default::default() } else { bench.workshop.resident() };
    let Some(choice) = pick(&waiting, &resident, bench.preference) else { return Ok(None) };
    match bench.store.claim(&waiting[choice.index].id, &choice.passed_over)? {
        Some(claimed) => {
            if bench.preference.max_passes > 0 {
                // What a later job needs is kept before what nobody needs.
                let mut later = waiting;
                later.remove(choice.index);
                bench.workshop.foresee(later.into_iter().map(|job| (job.id, job.components)).collect());
            }
            Ok(Some(claimed))
        }
        // Cancelled or removed in between: look again.
        None => take(bench),
    }
}

fn run(bench: &Bench, shared: &Shared, runtime: &tokio::runtime::Handle, claimed: Claimed) {
    let summary = &claimed.record.summary;
    let (id, client): (Arc<str>, _) = (summary.id.as_str().into(), summary.client_id.clone());
    let cancel = Cancel::new();
    let (stage, job) = prepare(bench, &claimed, id.clone());
    {
        let mut state = shared.state();
        if state.stopping {
            stage.mute();
            cancel.cancel();
        }
        state.running = Some(Running { id: id.clone(), cancel: cancel.clone(), stage: Arc::clone(&stage) });
    }
    // A request to stop may have been stored between the claim and the line above.
    if asked_to_stop(bench, &id) {
        cancel.cancel();
    }
    if let Some(client) = &client {
        bench.hub.running(Some((client, None)));
    }
    tell_status(bench);
    tracing::info!(job = %id, attempt = summary.attempts, "job started");
    let events: Arc<dyn EventSink> = Arc::clone(&stage) as _;
    let ran = runtime.block_on(AssertUnwindSafe(bench.workshop.run(job, events, cancel)).catch_unwind());
    if ran.is_err() {
        stage.broke("the run panicked: this is a defect of ebb, its log has the place");
    }
    let stopping = conclude(bench, shared, &id, &stage);
    shared.state().running = None;
    bench.hub.running(None);
    tell_status(bench);
    if let Some(client) = client.filter(|_| !stopping) {
        let frame = frames::text("executing", &json!({"node": null, "prompt_id": &*id}));
        bench.hub.text(To::Client(&client), &frame, Weight::Fact);
    }
}

/// What the workshop is handed, and where its events go.
fn prepare(bench: &Bench, claimed: &Claimed, id: Arc<str>) -> (Arc<Stage>, Run) {
    let body = &claimed.record.body;
    let prompt: Json = serde_json::from_str(body.prompt.get()).unwrap_or_default();
    let extra: Json = serde_json::from_str(body.extra_data.get()).unwrap_or_default();
    let mut outputs: Vec<String> = serde_json::from_str(body.outputs.get()).unwrap_or_default();
    let ids = prompt.as_object().map(|p| p.keys().cloned().collect()).unwrap_or_default();
    let stage = Stage::new(
        id.clone(),
        claimed.record.summary.client_id.clone(),
        ids,
        claimed.next_event,
        (Arc::clone(&bench.hub), Arc::clone(&bench.feed)),
        Arc::clone(&bench.store),
        Arc::clone(&bench.metrics),
    );
    let extra_pnginfo = extra.get("extra_pnginfo").cloned().unwrap_or_default();
    let sweep = extra.get(SWEEP).cloned();
    if sweep.is_some() && claimed.next_event > 1 {
        let mut shown = shown_before(&*bench.store, &id, |kind| folder(&bench.folders, kind));
        if let Some(last) = outputs.last().filter(|_| outputs.iter().all(|id| shown.contains_key(id))) {
            // It was stopped after its last cell and before its end: a job has to run something.
            shown.remove(last);
        }
        outputs.retain(|id| !shown.contains_key(id));
        stage.recall(shown);
    }
    // Newer front ends say what they want; "default" and what is unknown leave it to the server.
    let asked = extra.get("preview_method").and_then(Json::as_str).and_then(PreviewMethod::named);
    let previews = Previews { method: asked.unwrap_or(bench.previews.method), ..bench.previews };
    (Arc::new(stage), Run { id, prompt, outputs, extra_pnginfo, sweep, previews })
}

fn asked_to_stop(bench: &Bench, id: &str) -> bool {
    matches!(bench.store.get(id), Ok(Some(job)) if job.summary.cancel_requested)
}

/// Stores how it ended; whether the server stops. History is written before anybody hears of the end. What a full
/// disk refuses is tried again until there is room: the job's pictures are there, and nothing else could be taken
/// meanwhile.
fn conclude(bench: &Bench, shared: &Shared, id: &str, stage: &Stage) -> bool {
    let (state, record) = stage.end();
    let mut ended = None;
    let mut wait = Duration::from_secs(1);
    loop {
        let stopping = shared.state().stopping;
        let stored = if stopping && state == JobState::Cancelled && !asked_to_stop(bench, id) {
            bench.store.release(id).map(|()| tracing::info!(job = id, "job put back: the server stops"))
        } else {
            let ended = ended.get_or_insert_with(|| {
                tracing::info!(job = id, %state, "job ended");
                bench.metrics.ended(state);
                let results = record.results(|kind| folder(&bench.folders, kind));
                Ended { state, outcome: record.outcome(), results }
            });
            bench.store.finish(id, ended.clone())
        };
        let Err(error) = stored else { return stopping };
        let again = matches!(error, QueueError::DiskFull | QueueError::Storage { .. });
        if stopping || !again {
            tracing::error!(job = id, %error, "how the job ended could not be stored; it will run again at the next start");
            return stopping;
        }
        tracing::error!(job = id, %error, "how the job ended could not be stored; trying again");
        let state = shared.state();
        if !state.stopping {
            drop(shared.changed.wait_timeout_while(state, wait, |state| !state.stopping));
        }
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

fn tell_status(bench: &Bench) {
    match bench.store.counts() {
        Ok(counts) => bench.hub.status(counts.remaining()),
        Err(error) => tracing::error!(%error, "the queue cannot be counted"),
    }
}

/// The folder that `type` names in requests and results.
pub(crate) fn folder(folders: &Folders, kind: &str) -> Option<std::path::PathBuf> {
    match kind {
        "output" => Some(folders.output.clone()),
        "input" => Some(folders.input.clone()),
        "temp" => Some(folders.temp.clone()),
        _ => None,
    }
}
