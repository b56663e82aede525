//! Outputs of nodes, kept across runs by the history of their content.
//!
//! A [`Signature`] stands for how a value came about: class, inputs, the signatures of whatever it
//! was made from, and what the node says has changed outside. Node ids are no part of it, so a
//! renumbered workflow finds its values again. What is kept is the [`CachePolicy`]'s decision.

mod holdings;
mod signature;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use lru::LruCache;
use serde_json::{Map, Value as Json};

use crate::node::{NodeRef, Sketch};
use crate::residency::{CachedOutput, Shelf};
use crate::value::Column;

pub(crate) use holdings::{By, Holdings};
pub use signature::Signature;
pub(crate) use signature::{BySignature, Known, Signer, element};

/// What is kept when no running job needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum CachePolicy {
    /// What the last workflow made: whatever the next one does not contain goes as it begins.
    #[default]
    LastRun,
    /// The outputs of the N nodes that were used last.
    Lru(usize),
    /// Nothing.
    None,
    /// As much as fits into so many bytes; what was used longest ago goes first.
    Budget(u64),
}

/// The outputs of a node.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) outputs: Arc<[Column]>,
    pub(crate) ui: Option<Arc<Map<String, Json>>>,
    /// The node that made them.
    pub(crate) origin: Arc<NodeRef>,
    /// What was foretold of them, for the forecasts of later runs.
    pub(crate) sketches: Arc<[Sketch]>,
    /// Made inside of an expansion, so that the next workflow does not name it.
    pub(crate) inner: bool,
    /// Seconds that it took to make them.
    pub(crate) seconds: f64,
}

struct Kept {
    entry: Entry,
    bytes: u64,
    /// The run that used it last.
    run: u64,
    /// When it was used last, by the clock that it shares with weights.
    used: u64,
}

/// Outputs by signature.
pub(crate) struct Cache {
    policy: CachePolicy,
    kept: LruCache<Signature, Kept, BySignature>,
    holdings: Arc<Holdings>,
    /// Counts uses, of weights and of outputs.
    clock: Arc<AtomicU64>,
    bytes: u64,
    run: u64,
}

impl Cache {
    pub(crate) fn new(policy: CachePolicy, holdings: Arc<Holdings>, clock: Arc<AtomicU64>) -> Self {
        Self {
            policy,
            kept: LruCache::unbounded_with_hasher(BySignature::default()),
            holdings,
            clock,
            bytes: 0,
            run: 0,
        }
    }

    fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// A run begins with a workflow that names these signatures; gives what was foretold of each that is kept. Under
    /// [`CachePolicy::LastRun`] the entries that it does not name go; those from inside of expansions wait for the
    /// end, for the run may come upon them yet.
    pub(crate) fn begin(
        &mut self,
        run: u64,
        named: impl Iterator<Item = Signature>,
    ) -> Vec<Option<Arc<[Sketch]>>> {
        self.run = run;
        let mut found = 0;
        let sketches = named.map(|signature| {
            let kept = self.kept.peek_mut(&signature)?;
            found += usize::from(kept.run != run);
            kept.run = run;
            Some(kept.entry.sketches.clone())
        });
        let sketches = sketches.collect();
        if self.policy == CachePolicy::LastRun && found < self.kept.len() {
            self.retain(|_, kept| kept.entry.inner || kept.run == run);
        }
        sketches
    }

    /// A run ended: what it did not come upon goes.
    pub(crate) fn end(&mut self) {
        if self.policy == CachePolicy::LastRun {
            let run = self.run;
            self.retain(|_, kept| !kept.entry.inner || kept.run == run);
        }
    }

    /// What was foretold of an entry's outputs.
    pub(crate) fn sketches(&self, signature: &Signature) -> Option<Arc<[Sketch]>> {
        self.kept.peek(signature).map(|kept| kept.entry.sketches.clone())
    }

    pub(crate) fn contains(&self, signature: &Signature) -> bool {
        self.kept.contains(signature)
    }

    pub(crate) fn get(&mut self, signature: &Signature) -> Option<Entry> {
        let used = self.tick();
        let kept = self.kept.get_mut(signature)?;
        (kept.run, kept.used) = (self.run, used);
        Some(kept.entry.clone())
    }

    pub(crate) fn put(&mut self, signature: Signature, entry: Entry) {
        if matches!(self.policy, CachePolicy::None | CachePolicy::Lru(0)) {
            return;
        }
        for column in entry.outputs.iter() {
            self.holdings.take(column, By::Cache, &entry.origin);
        }
        let bytes = entry.outputs.iter().map(Column::bytes).sum();
        self.bytes += bytes;
        let used = self.tick();
        if let Some(old) = self.kept.put(signature, Kept { entry, bytes, run: self.run, used }) {
            self.gone(&old);
        }
        loop {
            let full = match self.policy {
                CachePolicy::Lru(most) => self.kept.len() > most,
                CachePolicy::Budget(most) => self.bytes > most,
                CachePolicy::LastRun | CachePolicy::None => false,
            };
            let Some((_, oldest)) = full.then(|| self.kept.pop_lru()).flatten() else { break };
            self.gone(&oldest);
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.retain(|_, _| false);
    }

    pub(crate) fn len(&self) -> usize {
        self.kept.len()
    }

    fn retain(&mut self, keep: impl Fn(&Signature, &Kept) -> bool) {
        let gone: Vec<Signature> =
            self.kept.iter().filter(|(s, kept)| !keep(s, kept)).map(|(s, _)| *s).collect();
        for signature in gone {
            if let Some(kept) = self.kept.pop(&signature) {
                self.gone(&kept);
            }
        }
    }

    fn gone(&mut self, kept: &Kept) -> u64 {
        self.bytes -= kept.bytes;
        kept.entry.outputs.iter().map(|column| self.holdings.give(column, By::Cache)).sum()
    }
}

/// Kept outputs compete with weights for memory.
impl Shelf for Mutex<Cache> {
    fn kept(&self) -> Vec<CachedOutput> {
        let cache = self.lock().unwrap_or_else(PoisonError::into_inner);
        let heavy = cache.kept.iter().filter(|(_, kept)| kept.bytes > 0);
        heavy
            .map(|(signature, kept)| CachedOutput {
                signature: *signature,
                label: format!("{} #{}", kept.entry.origin.class, kept.entry.origin.id).into(),
                idle: kept.entry.outputs.iter().map(|column| cache.holdings.idle(column)).sum(),
                bytes: kept.bytes,
                last_job: kept.run,
                last_used: kept.used,
                seconds: kept.entry.seconds,
            })
            .collect()
    }

    fn let_go(&self, signature: Signature) -> Option<u64> {
        let mut cache = self.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = cache.kept.peek(&signature)?;
        // A job may have come upon it since it was a candidate.
        if kept.entry.outputs.iter().all(|column| cache.holdings.idle(column) == 0) {
            return None;
        }
        let kept = cache.kept.pop(&signature)?;
        let freed = cache.gone(&kept);
        // The outputs are freed outside of the lock.
        drop(cache);
        Some(freed)
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        self.clear();
    }
}
