//! The process's one residency manager.

use std::any::Any;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use super::Item;
use super::component::{ComponentKey, ComponentSpec};
use super::ledger::{Held, Ledger};
use super::outlook::{Outlook, QueuedJob, Upcoming};
use super::policy::{Candidate, NextUse, Policy};
use super::room::{HandedOn, On};
use super::shelf::Shelf;
use super::timeline::{MarkKind, Timeline};
use crate::events::EventSink;
use crate::node::NodeRef;
use crate::workflow::NodeId;

/// Holds the weights, keeps the ledger, and decides what goes. Shared by every run of the process.
pub struct Residency {
    ledger: Arc<Ledger>,
    timeline: Timeline,
    pub(super) policy: Box<dyn Policy>,
    /// Bytes that the ledger may name at once.
    budget: Option<u64>,
    state: Mutex<State>,
    /// Signalled whenever a load ends, well or badly.
    pub(super) loaded: Condvar,
    /// Caches that share the pool.
    shelves: Mutex<Vec<Weak<dyn Shelf>>>,
    /// Counts uses, of weights and of cached outputs: the clock of `last_used`.
    clock: Arc<AtomicU64>,
    /// Jobs that have begun.
    jobs: AtomicU64,
    /// Jobs that run, in the order in which they began, and who listens to them.
    listeners: Mutex<Vec<Listener>>,
    /// Whether the system would give so many bytes more.
    headroom: OnceLock<Headroom>,
    /// Keeps pages of what makes way for what is about to be loaded.
    hand_on: OnceLock<HandOn>,
}

/// A running job and who listens to it.
type Listener = (Arc<str>, Arc<dyn EventSink>);

/// Why something goes that the user, or what speaks for him, wants to go.
const BY_HAND: &str = "it was asked for";

/// Tells whether the system would give so many bytes more; of 0 bytes, whether what the process puts by for emergencies
/// is there.
pub type Headroom = fn(u64) -> bool;

/// Announces weights of so many bytes that are about to be loaded: until the result is dropped, the pages of weights that make
/// way may be kept for them, no more of them than are still to come.
pub type HandOn = fn(u64) -> Box<dyn Send>;

#[derive(Default)]
pub(super) struct State {
    pub(super) entries: HashMap<ComponentKey, Entry>,
    pub(super) outlook: Outlook,
    /// Leases so far.
    pub(super) tickets: u64,
}

pub(super) struct Entry {
    pub(super) label: Arc<str>,
    /// `None` while it is being loaded.
    pub(super) ready: Option<Ready>,
    /// Leases, by ticket.
    pub(super) holders: Vec<(u64, Holder)>,
    pub(super) pinned: bool,
    pub(super) last_job: u64,
    pub(super) last_used: u64,
    /// Seconds that loading took.
    pub(super) seconds: f64,
}

pub(super) struct Ready {
    pub(super) component: Arc<dyn Any + Send + Sync>,
    pub(super) held: Held,
    /// The weights that these hold, as a view on them.
    pub(super) base: Option<ComponentKey>,
}

/// Who holds a lease.
#[derive(Clone, Debug)]
pub struct Holder {
    /// The node.
    pub node: Arc<NodeRef>,
    /// Its job.
    pub job: Arc<str>,
}

/// What may be done with a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResidentState {
    /// It is being read.
    Loading,
    /// A node holds it.
    InUse,
    /// It may go.
    Evictable,
}

/// A component in memory, for reports.
#[derive(Clone, Debug)]
pub struct Resident {
    /// Which weights; as text, its id in requests.
    pub key: ComponentKey,
    /// Their name for people.
    pub label: Arc<str>,
    /// Their bytes; 0 while they are read.
    pub bytes: u64,
    /// Leases on them.
    pub leases: usize,
    /// The user wants them kept.
    pub pinned: bool,
    /// What may be done with them.
    pub state: ResidentState,
    /// Who holds them.
    pub holders: Vec<Holder>,
    /// Who needs them next; `None`: nobody who is known.
    pub next_use: Option<Upcoming>,
    /// Seconds that loading them took.
    pub seconds: f64,
}

/// Why something is not given back or pinned on request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvictError {
    /// Nothing of that id is in memory.
    #[error("nothing with the id `{0}` is in memory; it may have been given back already")]
    Unknown(String),
    /// A running job holds it.
    #[error("`{label}` is in use by {by}; wait for it or interrupt it first")]
    InUse {
        /// Its name.
        label: Arc<str>,
        /// Who holds it.
        by: String,
    },
    /// The user pinned it.
    #[error("`{0}` is pinned; unpin it first")]
    Pinned(Arc<str>),
    /// Cached outputs cannot be pinned.
    #[error("`{0}` is a cached output; only weights can be pinned")]
    NotWeights(String),
}

impl Residency {
    /// A manager with a policy and, if wanted, a budget in bytes.
    pub fn new(policy: impl Policy + 'static, budget: Option<u64>) -> Arc<Self> {
        Arc::new(Self {
            ledger: Arc::default(),
            timeline: Timeline::default(),
            policy: Box::new(policy),
            budget,
            state: Mutex::default(),
            loaded: Condvar::new(),
            shelves: Mutex::default(),
            clock: Arc::default(),
            jobs: AtomicU64::new(0),
            listeners: Mutex::default(),
            headroom: OnceLock::new(),
            hand_on: OnceLock::new(),
        })
    }

    /// Has the system asked before memory is taken: a limit on the process is then a job's error and not the
    /// process's end. Only the first call counts.
    pub fn ask_system(&self, headroom: Headroom) {
        // A second one would ask the same system.
        let _ = self.headroom.set(headroom);
    }

    /// Has the pages of weights that make way for others handed on to these. Only the first call counts.
    pub fn hand_on_pages(&self, hand_on: HandOn) {
        // A second one would keep pages of the same process.
        let _ = self.hand_on.set(hand_on);
    }

    /// What is handed on to weights of so many bytes.
    pub(super) fn handing_on(&self, bytes: u64) -> HandedOn {
        HandedOn { held: Vec::new(), pages: self.hand_on.get().map(|hand_on| hand_on(bytes)) }
    }

    /// Whether the system would give so many bytes more, as far as anybody can ask it.
    pub(super) fn system_has(&self, bytes: u64) -> bool {
        self.headroom.get().is_none_or(|has| has(bytes))
    }

    /// The ledger.
    pub fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    /// Memory over time.
    pub fn timeline(&self) -> &Timeline {
        &self.timeline
    }

    /// Samples memory now, unless there is a fresh sample: for whoever shows the present.
    pub fn sample(&self) {
        self.timeline.tick(&self.ledger);
    }

    /// Samples memory at a moment that is worth one, such as the end of a computation that holds scratch: what is over within
    /// a tenth of a second is seen as well.
    pub fn sample_moment(&self) {
        self.timeline.moment(&self.ledger);
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

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn shelves(&self) -> MutexGuard<'_, Vec<Weak<dyn Shelf>>> {
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The clock that uses are counted with.
    pub(crate) fn clock(&self) -> &Arc<AtomicU64> {
        &self.clock
    }

    pub(super) fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The number of the job that began last.
    pub(super) fn job(&self) -> u64 {
        self.jobs.load(Ordering::Relaxed)
    }

    pub(super) fn listeners(&self) -> MutexGuard<'_, Vec<Listener>> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn mark(
        &self,
        kind: MarkKind,
        label: &str,
        bytes: Option<u64>,
        whom: (Option<NodeId>, Option<Arc<str>>),
    ) {
        self.timeline.mark(&self.ledger, kind, label, bytes, whom);
    }

    /// The components in memory or on their way to it, by key.
    pub fn residents(&self) -> Vec<Resident> {
        let state = self.lock();
        let resident = |(key, entry): (&ComponentKey, &Entry)| Resident {
            key: key.clone(),
            label: entry.label.clone(),
            bytes: entry.ready.as_ref().map_or(0, |ready| ready.held.bytes()),
            leases: entry.holders.len(),
            pinned: entry.pinned,
            state: match &entry.ready {
                None => ResidentState::Loading,
                Some(_) if entry.holders.is_empty() => ResidentState::Evictable,
                Some(_) => ResidentState::InUse,
            },
            holders: entry.holders.iter().map(|(_, holder)| holder.clone()).collect(),
            next_use: state.outlook.upcoming(&Item::Weights(key.clone())),
            seconds: entry.seconds,
        };
        let mut residents: Vec<Resident> = state.entries.iter().map(resident).collect();
        drop(state);
        residents.sort_by(|a, b| a.key.cmp(&b.key));
        residents
    }

    /// Whether weights are in memory or on their way to it.
    pub(crate) fn has(&self, key: &ComponentKey) -> bool {
        self.lock().entries.contains_key(key)
    }

    /// Tells what queued jobs will need, in the order in which they will run: what is needed later goes first.
    pub fn foresee(&self, queue: Vec<QueuedJob>) {
        self.lock().outlook.see(queue);
    }

    /// A job begins; its number. Its listener hears of what is given back while it runs.
    pub(crate) fn begin(&self, job: &Arc<str>, sink: &Arc<dyn EventSink>) -> u64 {
        self.listeners().push((job.clone(), sink.clone()));
        let number = self.jobs.fetch_add(1, Ordering::Relaxed) + 1;
        self.mark(MarkKind::JobStart, "job begins", None, (None, Some(job.clone())));
        number
    }

    /// A node of a running job will use weights, at a place in the job's order.
    pub(crate) fn will_use(&self, job: &Arc<str>, place: u64, node: &Arc<NodeRef>, uses: &[ComponentSpec]) {
        let mut state = self.lock();
        for spec in uses {
            state.outlook.will_use(job, place, node, &spec.key);
        }
    }

    /// A node of a running job has used the weights that it was expected to use. Until then they are known to be
    /// needed: before it takes them, and between one of its calls and the next.
    pub(crate) fn used(&self, job: &str, place: u64, uses: &[ComponentSpec]) {
        let mut state = self.lock();
        for spec in uses {
            state.outlook.used(job, place, &spec.key);
        }
        drop(state);
        self.drop_surplus();
    }

    /// A node begins to compute.
    pub(crate) fn step(&self, node: &NodeRef, job: &Arc<str>) {
        let label = format!("{} #{}", node.class, node.id);
        self.mark(MarkKind::Step, &label, None, (Some(node.id.clone()), Some(job.clone())));
    }

    /// A job ended, well or badly: what the policy kept for it alone goes.
    pub(crate) fn end(&self, job: &Arc<str>) {
        // Its own end is the last that it hears of.
        self.listeners().retain(|(running, _)| running != job);
        self.lock().outlook.ended(job);
        self.drop_surplus();
        self.mark(MarkKind::JobEnd, "job ends", None, (None, Some(job.clone())));
    }

    /// Gives back what the policy does not keep.
    pub(super) fn drop_surplus(&self) {
        let mut state = self.lock();
        let surplus = self.policy.surplus(&state.idle(), self.job());
        let gone: Vec<_> = surplus.iter().filter_map(|item| state.take_out(item)).collect();
        // The weights are freed outside of the lock: it takes time.
        drop(state);
        for entry in gone {
            self.gone(entry, On::Nobody("no step needs it any more, and the policy keeps nothing else"));
        }
    }

    /// A lease ended.
    pub(super) fn release(&self, key: &ComponentKey, ticket: u64) {
        let (clock, job) = (self.tick(), self.job());
        let mut state = self.lock();
        if let Some(entry) = state.entries.get_mut(key) {
            entry.holders.retain(|(held, _)| *held != ticket);
            (entry.last_used, entry.last_job) = (clock, job);
        }
        drop(state);
        self.drop_surplus();
    }

    /// Gives back weights or cached outputs by their id (see [`Item`]). The bytes that were freed.
    ///
    /// # Errors
    /// Where nothing of that id is in memory, a job holds it, or it is pinned.
    pub fn evict(&self, id: &str) -> Result<u64, EvictError> {
        let mut state = self.lock();
        if let Some((key, entry)) = state.entries.iter().find(|(key, _)| key.to_string() == id) {
            let label = entry.label.clone();
            if entry.pinned {
                return Err(EvictError::Pinned(label));
            }
            if entry.ready.is_none() || !entry.holders.is_empty() {
                let by: Vec<String> = entry.holders.iter().map(|(_, holder)| holder.to_string()).collect();
                let by = if by.is_empty() { "the job that loads it".to_owned() } else { by.join(", ") };
                return Err(EvictError::InUse { label, by });
            }
            let item = Item::Weights(key.clone());
            let entry = state.take_out(&item);
            drop(state);
            return Ok(entry.map_or(0, |entry| self.gone(entry, On::Nobody(BY_HAND))));
        }
        drop(state);
        let kept = self.cached().into_iter().find(|kept| Item::Output(kept.signature).to_string() == id);
        let Some(kept) = kept else { return Err(EvictError::Unknown(id.to_owned())) };
        if kept.idle == 0 {
            return Err(EvictError::InUse { label: kept.label, by: "a running job".to_owned() });
        }
        let freed = self.let_go(kept.signature).unwrap_or(0);
        self.mark(MarkKind::Evict, &kept.label, Some(freed), (None, None));
        Ok(freed)
    }

    /// Keeps weights in memory whatever happens, or no longer. Returns whether they are pinned now.
    ///
    /// # Errors
    /// Where nothing of that id is in memory, or it is no weights.
    pub fn pin(&self, id: &str, pinned: bool) -> Result<bool, EvictError> {
        let mut state = self.lock();
        if let Some((_, entry)) = state.entries.iter_mut().find(|(key, _)| key.to_string() == id) {
            entry.pinned = pinned;
            return Ok(pinned);
        }
        drop(state);
        match self.cached().iter().any(|kept| Item::Output(kept.signature).to_string() == id) {
            true => Err(EvictError::NotWeights(id.to_owned())),
            false => Err(EvictError::Unknown(id.to_owned())),
        }
    }

    /// Gives back every component that nobody holds or has pinned. Returns the bytes given back.
    pub fn evict_all(&self) -> u64 {
        let mut freed = 0;
        // A view holds its base: what goes first frees the next.
        loop {
            let state = self.lock();
            let items: Vec<Item> = state.idle().into_iter().map(|c| c.item).collect();
            match self.evict_items(state, &items) {
                0 => return freed,
                more => freed += more,
            }
        }
    }

    /// Gives back the components that `which` picks by their keys, of those that nobody holds, has pinned, or is
    /// about to use in a running job. Returns the bytes given back.
    pub fn evict_unused(&self, which: impl Fn(&ComponentKey) -> bool) -> u64 {
        let state = self.lock();
        let unused = state.idle().into_iter().filter(|c| !matches!(c.next_use, NextUse::Step(_)));
        let picked = |item: &Item| matches!(item, Item::Weights(key) if which(key));
        let items: Vec<Item> = unused.map(|c| c.item).filter(picked).collect();
        self.evict_items(state, &items)
    }

    fn evict_items(&self, mut state: MutexGuard<'_, State>, items: &[Item]) -> u64 {
        let gone: Vec<_> = items.iter().filter_map(|item| state.take_out(item)).collect();
        drop(state);
        gone.into_iter().map(|entry| self.gone(entry, On::Nobody(BY_HAND))).sum()
    }
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "node #{} ({}) of job {}", self.node.id, self.node.class, self.job)
    }
}

impl State {
    /// Weights that may go.
    pub(super) fn idle(&self) -> Vec<Candidate> {
        let idle = self.entries.iter().filter(|(_, entry)| entry.holders.is_empty() && !entry.pinned);
        idle.filter_map(|(key, entry)| {
            let item = Item::Weights(key.clone());
            Some(Candidate {
                bytes: entry.ready.as_ref()?.held.bytes(),
                label: entry.label.clone(),
                last_job: entry.last_job,
                last_used: entry.last_used,
                next_use: self.outlook.next_use(&item),
                seconds: entry.seconds,
                item,
            })
        })
        .collect()
    }

    /// Bytes of weights that are held by nothing but views that may go: they may go after these.
    pub(super) fn held_by_idle(&self) -> u64 {
        let idle = |entry: &Entry| entry.holders.is_empty() && !entry.pinned;
        let views =
            self.entries.values().filter(|entry| idle(entry)).filter_map(|entry| entry.ready.as_ref());
        let bases: Vec<&ComponentKey> = views.filter_map(|ready| ready.base.as_ref()).collect();
        let freed = |(key, entry): (&ComponentKey, &Entry)| {
            let by_idle = bases.iter().filter(|base| **base == key).count();
            let goes = by_idle > 0 && by_idle == entry.holders.len() && !entry.pinned;
            entry.ready.as_ref().filter(|_| goes).map_or(0, |ready| ready.held.bytes())
        };
        self.entries.iter().map(freed).sum()
    }

    /// Takes weights out that nobody holds (any more).
    pub(super) fn take_out(&mut self, item: &Item) -> Option<(ComponentKey, Entry)> {
        let Item::Weights(key) = item else { return None };
        let entry = self.entries.get(key)?;
        let idle = entry.ready.is_some() && entry.holders.is_empty() && !entry.pinned;
        if idle { self.entries.remove_entry(key) } else { None }
    }
}
