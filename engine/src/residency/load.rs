//! Weights come into memory: when a node asks for them, or ahead of that.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::component::{Component, ComponentKey, ComponentSpec, Lease, LoadProgress, Loaded, Loader};
use super::ledger::{Owner, OwnerKind};
use super::manager::{Entry, Holder, Ready, Residency, State};
use super::room::HandedOn;
use super::timeline::MarkKind;
use crate::events::EventKind;
use crate::node::{Context, NodeError};

/// How often a node that waits for another's load looks whether it was cancelled.
const LOOK: Duration = Duration::from_millis(20);

/// What the step takes that computes while weights are read ahead for another one.
pub(crate) struct Meanwhile {
    /// Its weights.
    pub(crate) own: Vec<ComponentKey>,
    /// Bytes of its scratch, reserved by now or not.
    pub(crate) scratch: u64,
    /// Bytes of its outputs.
    pub(crate) outputs: u64,
    /// The peak that the plan promises.
    pub(crate) promised: u64,
    /// Whether it is still at it.
    pub(crate) computing: Arc<AtomicBool>,
}

impl Residency {
    /// See [`Context::component`].
    pub(crate) fn acquire<C: Component>(
        self: &Arc<Self>,
        context: &Context,
        spec: &ComponentSpec,
        load: impl FnOnce(&LoadProgress<'_>) -> Result<C, NodeError>,
    ) -> Result<Lease<C>, NodeError> {
        let mut state = self.lock();
        state.tickets += 1;
        let ticket = state.tickets;
        let holder = Holder { node: context.node().clone(), job: context.job_id().clone() };
        loop {
            match state.entries.get_mut(&spec.key) {
                Some(Entry { ready: Some(ready), holders, .. }) => {
                    let component = ready.component.clone().downcast::<C>();
                    let component = component.map_err(|_| other_kind(&spec.label))?;
                    holders.push((ticket, holder));
                    return Ok(Lease::new(component, spec.key.clone(), self.clone(), ticket));
                }
                Some(_) => {
                    // Another thread loads it: never twice for one key.
                    let waited = self.loaded.wait_timeout(state, LOOK);
                    (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
                    context.check()?;
                }
                None => break,
            }
        }
        state.entries.insert(spec.key.clone(), Entry::new(spec, vec![(ticket, holder)]));
        drop(state);
        let handed = self.handing_on(spec.bytes);
        let loaded =
            self.bring(context, spec, For::Node, handed, |progress| load(progress).map(Loaded::new))?;
        let component = loaded.downcast::<C>().map_err(|_| other_kind(&spec.label))?;
        Ok(Lease::new(component, spec.key.clone(), self.clone(), ticket))
    }

    /// Reads weights that nobody holds yet, if they then fit beside what a step takes `meanwhile`, without giving back
    /// what a running job will use. They are evictable at once, as what is needed next. Whoever asks for them in
    /// between waits for this load; if it fails, they load themselves, and say what is wrong.
    pub(crate) fn prefetch(
        &self,
        context: &Context,
        spec: &ComponentSpec,
        loader: &Loader,
        meanwhile: &Meanwhile,
    ) {
        if !self.own_weights_are_there(context, meanwhile) || self.has(&spec.key) {
            return;
        }
        if !meanwhile.computing.load(Ordering::Relaxed) || context.check().is_err() {
            return;
        }
        let Meanwhile { scratch, outputs, promised, .. } = *meanwhile;
        let limit = self.budget().map_or(promised, |budget| budget.min(promised)).saturating_sub(outputs);
        let bytes = spec.bytes.saturating_add(spec.load_overhead);
        let mut handed = self.handing_on(spec.bytes);
        if !self.make_room_ahead(bytes, scratch, limit, &mut handed) {
            return;
        }
        let mut state = self.lock();
        if state.entries.contains_key(&spec.key) {
            return;
        }
        state.entries.insert(spec.key.clone(), Entry::new(spec, Vec::new()));
        drop(state);
        let (node, job) = (context.node().clone(), context.job_id().clone());
        self.mark(MarkKind::Prefetch, &spec.label, Some(spec.bytes), (Some(node.id.clone()), Some(job)));
        let (component, label) = (spec.key.clone(), spec.label.clone());
        context.emit(EventKind::Prefetching { node, component, label, bytes: spec.bytes });
        // An error is found again by the node that needs the weights.
        if let Err(error) = self.bring(context, spec, For::Later, handed, |progress| loader.load(progress)) {
            tracing::debug!(label = &*spec.label, %error, "not read ahead");
        }
    }

    /// Waits until the weights of the step that computes are in memory: before that nobody knows what is left. False
    /// if the step ends without them.
    fn own_weights_are_there(&self, context: &Context, meanwhile: &Meanwhile) -> bool {
        let mut state = self.lock();
        let there = |state: &State, key| state.entries.get(key).is_some_and(|entry| entry.ready.is_some());
        while !meanwhile.own.iter().all(|key| there(&state, key)) {
            if !meanwhile.computing.load(Ordering::Relaxed) || context.check().is_err() {
                return false;
            }
            let waited = self.loaded.wait_timeout(state, LOOK);
            (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
        true
    }

    /// Waits for a load that nobody asked for yet, if there is one: when it is done it can be given back.
    pub(super) fn waited_for_a_read_ahead(&self) -> bool {
        let state = self.lock();
        let ahead = state.entries.values().any(|entry| entry.ready.is_none() && entry.holders.is_empty());
        if ahead {
            drop(self.loaded.wait_timeout(state, LOOK));
        }
        ahead
    }

    /// Loads into an entry that is there and empty. A failure or a panic takes it out again.
    fn bring(
        &self,
        context: &Context,
        spec: &ComponentSpec,
        whom: For,
        mut handed: HandedOn,
        load: impl FnOnce(&LoadProgress<'_>) -> Result<Loaded, NodeError>,
    ) -> Result<Arc<dyn std::any::Any + Send + Sync>, NodeError> {
        let loading = Loading { residency: self, key: &spec.key };
        let weights = Owner { kind: OwnerKind::Weights, name: spec.label.clone() };
        let buffers = Owner { kind: OwnerKind::Loading, name: spec.label.clone() };
        let owners = [(weights, spec.bytes), (buffers, spec.load_overhead)];
        let [mut held, transient] = self.take(context, &spec.label, whom, owners, &mut handed)?;
        // Dropped before these entries, however the load ends: what is kept for it is in their name.
        let handed = handed;
        let begin = Instant::now();
        let report = |done, total| {
            context.check()?;
            let node = context.node().clone();
            context.emit(EventKind::Loading { node, label: spec.label.clone(), done, total });
            Ok(())
        };
        let loaded = load(&LoadProgress { report: &report });
        // What was kept and not used goes to the system.
        drop(handed);
        let Loaded { component, bytes, base } = loaded?;
        drop(transient);
        if held.bytes() != bytes {
            held.correct(bytes);
        }
        let seconds = begin.elapsed().as_secs_f64();
        // Told before others may use them, or what these do with them could be told first.
        let whom = (Some(context.node().id.clone()), Some(context.job_id().clone()));
        self.mark(MarkKind::Load, &spec.label, Some(bytes), whom);
        let (component_key, label) = (spec.key.clone(), spec.label.clone());
        context.emit(EventKind::Loaded { component: component_key, label, bytes, seconds });
        let (clock, job) = (self.tick(), self.job());
        let mut state = self.lock();
        if let Some(entry) = state.entries.get_mut(&spec.key) {
            entry.ready = Some(Ready { component: component.clone(), held, base });
            (entry.last_used, entry.last_job, entry.seconds) = (clock, job, seconds);
        }
        drop(state);
        std::mem::forget(loading);
        self.loaded.notify_all();
        Ok(component)
    }
}

/// Whom memory is taken for.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum For {
    /// A node that needs it now, and waits for reads ahead to end so that these can be given back.
    Node,
    /// A read ahead, which gives up.
    Later,
}

impl Entry {
    /// An entry whose weights are on their way.
    fn new(spec: &ComponentSpec, holders: Vec<(u64, Holder)>) -> Self {
        Self {
            label: spec.label.clone(),
            ready: None,
            holders,
            pinned: false,
            last_job: 0,
            last_used: 0,
            seconds: 0.0,
        }
    }
}

fn other_kind(label: &str) -> NodeError {
    NodeError::failed(format!("`{label}` is in memory as another kind of component"))
}

/// Takes the entry out again if a load does not end well, and wakes those who wait for it.
struct Loading<'a> {
    residency: &'a Residency,
    key: &'a ComponentKey,
}

impl Drop for Loading<'_> {
    fn drop(&mut self) {
        self.residency.lock().entries.remove(self.key);
        self.residency.loaded.notify_all();
    }
}
