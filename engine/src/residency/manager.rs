//! The process's one residency manager.

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde::Serialize;

use super::component::{Component, ComponentKey, ComponentSpec, Lease, LoadProgress};
use super::ledger::{Held, Ledger, Owner, OwnerKind};
use super::policy::{Candidate, Policy};
use crate::events::EventKind;
use crate::node::{Context, NodeError};

/// Holds the weights, keeps the ledger, and decides what goes. Shared by every run of the process.
pub struct Residency {
    ledger: Arc<Ledger>,
    policy: Box<dyn Policy>,
    /// Bytes that the ledger may name at once.
    budget: Option<u64>,
    state: Mutex<State>,
    /// Signalled whenever a load ends, well or badly.
    loaded: Condvar,
}

#[derive(Default)]
struct State {
    entries: HashMap<ComponentKey, Entry>,
    /// Counts the endings of leases: the clock of `last_used`.
    clock: u64,
}

struct Entry {
    label: Arc<str>,
    /// `None` while it is being loaded.
    ready: Option<Ready>,
    leases: usize,
    last_used: u64,
}

struct Ready {
    component: Arc<dyn Any + Send + Sync>,
    held: Held,
}

/// A component in memory, for reports.
#[derive(Clone, Debug, Serialize)]
pub struct Resident {
    /// Which weights.
    pub key: ComponentKey,
    /// Their name for people.
    pub label: Arc<str>,
    /// Their bytes.
    pub bytes: u64,
    /// Leases on them.
    pub leases: usize,
}

/// Scratch that was asked for; given back when dropped.
#[derive(Debug)]
pub struct Reservation(Held);

impl Reservation {
    /// The bytes.
    pub fn bytes(&self) -> u64 {
        self.0.bytes()
    }
}

impl Residency {
    /// A manager with a policy and, if wanted, a budget in bytes.
    pub fn new(policy: impl Policy + 'static, budget: Option<u64>) -> Arc<Self> {
        Arc::new(Self {
            ledger: Arc::default(),
            policy: Box::new(policy),
            budget,
            state: Mutex::default(),
            loaded: Condvar::new(),
        })
    }

    /// The ledger.
    pub fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    /// The budget in bytes.
    pub fn budget(&self) -> Option<u64> {
        self.budget
    }

    /// Whether weights that nobody uses stay until room is needed.
    pub fn keeps_unused(&self) -> bool {
        self.policy.keeps_unused()
    }

    /// The policy's name.
    pub fn policy(&self) -> String {
        self.policy.name()
    }

    /// The components in memory, by key.
    pub fn residents(&self) -> Vec<Resident> {
        let mut residents: Vec<Resident> = self
            .lock()
            .entries
            .iter()
            .filter_map(|(key, entry)| {
                let ready = entry.ready.as_ref()?;
                Some(Resident {
                    key: key.clone(),
                    label: entry.label.clone(),
                    bytes: ready.held.bytes(),
                    leases: entry.leases,
                })
            })
            .collect();
        residents.sort_by(|a, b| a.key.cmp(&b.key));
        residents
    }

    /// Evicts every component that nobody holds. Returns the bytes given back.
    pub fn evict_all(&self) -> u64 {
        let mut state = self.lock();
        let keys: Vec<_> = state.candidates().into_iter().map(|c| c.key).collect();
        let gone: Vec<Entry> = keys.iter().filter_map(|key| state.entries.remove(key)).collect();
        drop(state);
        gone.iter().filter_map(|entry| entry.ready.as_ref()).map(|ready| ready.held.bytes()).sum()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// See [`Context::component`].
    pub(crate) fn acquire<C: Component>(
        self: &Arc<Self>,
        context: &Context,
        spec: &ComponentSpec,
        load: impl FnOnce(&LoadProgress<'_>) -> Result<C, NodeError>,
    ) -> Result<Lease<C>, NodeError> {
        let mut state = self.lock();
        loop {
            match state.entries.get_mut(&spec.key) {
                Some(Entry { ready: Some(ready), leases, .. }) => {
                    let component = ready.component.clone().downcast::<C>().map_err(|_| {
                        NodeError::failed(format!(
                            "`{}` is in memory as another kind of component",
                            spec.label
                        ))
                    })?;
                    *leases += 1;
                    return Ok(Lease::new(component, spec.key.clone(), self.clone()));
                }
                Some(_) => {
                    // Another thread loads it: never twice for one key.
                    state = self.loaded.wait(state).unwrap_or_else(PoisonError::into_inner);
                    context.check()?;
                }
                None => break,
            }
        }
        let entry = Entry { label: spec.label.clone(), ready: None, leases: 1, last_used: 0 };
        state.entries.insert(spec.key.clone(), entry);
        drop(state);
        // From here on a failure or a panic must take the entry out again and wake those who wait.
        let loading = Loading { residency: self, key: &spec.key };
        let overhead = Owner { kind: OwnerKind::Scratch, name: format!("loading {}", spec.label).into() };
        self.make_room(context, spec.bytes.saturating_add(spec.load_overhead), &spec.label)?;
        let transient = self.ledger.hold(overhead, spec.load_overhead);
        let begin = Instant::now();
        let report = |done, total| {
            context.check()?;
            let node = context.node().clone();
            context.emit(EventKind::Loading { node, label: spec.label.clone(), done, total });
            Ok(())
        };
        let component = Arc::new(load(&LoadProgress { report: &report })?);
        drop(transient);
        let owner = Owner { kind: OwnerKind::Weights, name: spec.label.clone() };
        let bytes = component.bytes();
        let held = self.ledger.hold(owner, bytes);
        let mut state = self.lock();
        if let Some(entry) = state.entries.get_mut(&spec.key) {
            entry.ready = Some(Ready { component: component.clone(), held });
        }
        drop(state);
        std::mem::forget(loading);
        self.loaded.notify_all();
        context.emit(EventKind::Loaded {
            component: spec.key.clone(),
            label: spec.label.clone(),
            bytes,
            seconds: begin.elapsed().as_secs_f64(),
        });
        Ok(Lease::new(component, spec.key.clone(), self.clone()))
    }

    /// See [`Context::reserve`].
    pub(crate) fn reserve(
        &self,
        context: &Context,
        what: &str,
        bytes: u64,
    ) -> Result<Reservation, NodeError> {
        self.make_room(context, bytes, what)?;
        let owner = Owner { kind: OwnerKind::Scratch, name: what.into() };
        Ok(Reservation(self.ledger.hold(owner, bytes)))
    }

    /// A lease ended.
    pub(super) fn release(&self, key: &ComponentKey) {
        let mut state = self.lock();
        state.clock += 1;
        let clock = state.clock;
        if let Some(entry) = state.entries.get_mut(key) {
            entry.leases -= 1;
            entry.last_used = clock;
        }
        let surplus = self.policy.surplus(&state.candidates());
        let gone: Vec<Entry> = surplus.iter().filter_map(|key| state.entries.remove(key)).collect();
        // The weights are freed outside of the lock: it takes time.
        drop(state);
        drop(gone);
    }

    /// Evicts until `bytes` more fit the budget.
    fn make_room(&self, context: &Context, bytes: u64, what: &str) -> Result<(), NodeError> {
        let Some(budget) = self.budget else { return Ok(()) };
        loop {
            let held = self.ledger.total();
            if held.saturating_add(bytes) <= budget {
                return Ok(());
            }
            let mut state = self.lock();
            let victim = self.policy.victim(&state.candidates());
            let Some((key, entry)) = victim.and_then(|key| state.entries.remove_entry(&key)) else {
                drop(state);
                return Err(NodeError::memory(format!(
                    "{what} needs {bytes} bytes; {held} of the budget of {budget} bytes are held by what is \
                     running and nothing more can be given back; raise --memory, or use a smaller picture, \
                     batch or model"
                )));
            };
            drop(state);
            let freed = entry.ready.as_ref().map_or(0, |ready| ready.held.bytes());
            let label = entry.label.clone();
            drop(entry);
            let reason = format!("{what} needs room");
            context.emit(EventKind::Evicted { component: key, label, bytes: freed, reason });
        }
    }
}

impl State {
    fn candidates(&self) -> Vec<Candidate> {
        let evictable = self.entries.iter().filter(|(_, entry)| entry.leases == 0);
        evictable
            .filter_map(|(key, entry)| {
                let bytes = entry.ready.as_ref()?.held.bytes();
                Some(Candidate { key: key.clone(), bytes, last_used: entry.last_used, next_use: None })
            })
            .collect()
    }
}

/// Takes the entry out again if a load does not end well.
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
