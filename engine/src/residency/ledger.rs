//! Every byte and its owner.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

/// What sort of thing holds bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OwnerKind {
    /// Weights of a component.
    Weights,
    /// An output of a node that a running job still needs.
    Output,
    /// An output of a node that only the cache holds.
    Cached,
    /// Activations and other scratch.
    Scratch,
    /// Buffers beside the weights while these are read.
    Loading,
}

impl OwnerKind {
    /// Its name in reports: `weights`, `values`, `cache`, `activations` or `scratch`.
    pub fn shown(self) -> &'static str {
        match self {
            Self::Weights => "weights",
            Self::Output => "values",
            Self::Cached => "cache",
            Self::Scratch => "activations",
            Self::Loading => "scratch",
        }
    }
}

/// Who holds bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Owner {
    /// The sort.
    pub kind: OwnerKind,
    /// Its name for people: a component's label, `KSampler #5 latent`.
    pub name: Arc<str>,
}

/// Sums by owner, and the highest sum so far.
#[derive(Debug, Default)]
pub struct Ledger {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    owners: BTreeMap<Owner, u64>,
    total: u64,
    peak: u64,
}

impl Ledger {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters bytes of an owner; they leave when the entry is dropped.
    pub fn hold(self: &Arc<Self>, owner: Owner, bytes: u64) -> Held {
        self.lock().enter(&owner, bytes);
        Held { ledger: self.clone(), owner, bytes }
    }

    /// Enters bytes of owners together in place of what was kept for them, unless the sum would then be above a limit.
    pub(super) fn hold_within<const N: usize>(
        self: &Arc<Self>,
        limit: u64,
        owners: [(Owner, u64); N],
        kept: &mut [Held],
    ) -> Result<[Held; N], [(Owner, u64); N]> {
        let mut state = self.lock();
        let more = owners.iter().fold(0u64, |sum, (_, bytes)| sum.saturating_add(*bytes));
        let less: u64 = kept.iter().map(Held::bytes).sum();
        if state.total.saturating_sub(less).saturating_add(more) > limit {
            return Err(owners);
        }
        for held in kept {
            state.leave(&held.owner, held.bytes);
            held.bytes = 0;
        }
        owners.iter().for_each(|(owner, bytes)| state.enter(owner, *bytes));
        drop(state);
        Ok(owners.map(|(owner, bytes)| Held { ledger: self.clone(), owner, bytes }))
    }

    /// Bytes held now.
    pub fn total(&self) -> u64 {
        self.lock().total
    }

    /// Bytes held now, and how many of them are scratch.
    pub(super) fn total_and_scratch(&self) -> (u64, u64) {
        let state = self.lock();
        let scratch = state.owners.iter().filter(|(owner, _)| owner.kind == OwnerKind::Scratch);
        (state.total, scratch.map(|(_, bytes)| bytes).sum())
    }

    /// The most bytes held at once since the last [`reset_peak`](Self::reset_peak).
    pub fn peak(&self) -> u64 {
        self.lock().peak
    }

    /// Forgets the peak: it is what is held now.
    pub fn reset_peak(&self) {
        let mut state = self.lock();
        state.peak = state.total;
    }

    /// Every owner and its bytes.
    pub fn owners(&self) -> Vec<(Owner, u64)> {
        self.lock().owners.iter().map(|(owner, bytes)| (owner.clone(), *bytes)).collect()
    }
}

impl State {
    fn enter(&mut self, owner: &Owner, bytes: u64) {
        if bytes == 0 {
            return;
        }
        match self.owners.get_mut(owner) {
            Some(held) => *held += bytes,
            None => _ = self.owners.insert(owner.clone(), bytes),
        }
        self.total += bytes;
        self.peak = self.peak.max(self.total);
    }

    fn leave(&mut self, owner: &Owner, bytes: u64) {
        if bytes == 0 {
            return;
        }
        self.total -= bytes;
        if let Some(held) = self.owners.get_mut(owner) {
            *held -= bytes;
            if *held == 0 {
                self.owners.remove(owner);
            }
        }
    }
}

/// An entry in the ledger.
#[derive(Debug)]
pub struct Held {
    ledger: Arc<Ledger>,
    owner: Owner,
    bytes: u64,
}

impl Held {
    /// The bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The owner.
    pub fn owner(&self) -> &Owner {
        &self.owner
    }

    /// Says that another holds them now.
    pub(super) fn pass_on(&mut self, owner: Owner) {
        let mut state = self.ledger.lock();
        state.leave(&self.owner, self.bytes);
        state.enter(&owner, self.bytes);
        drop(state);
        self.owner = owner;
    }

    /// Corrects the bytes, now that they are known.
    pub(super) fn correct(&mut self, bytes: u64) {
        let mut state = self.ledger.lock();
        state.leave(&self.owner, self.bytes);
        state.enter(&self.owner, bytes);
        drop(state);
        self.bytes = bytes;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.ledger.lock().leave(&self.owner, self.bytes);
    }
}
