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
        let mut state = self.lock();
        *state.owners.entry(owner.clone()).or_default() += bytes;
        state.total += bytes;
        state.peak = state.peak.max(state.total);
        drop(state);
        Held { ledger: self.clone(), owner, bytes }
    }

    /// Bytes held now.
    pub fn total(&self) -> u64 {
        self.lock().total
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
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut state = self.ledger.lock();
        state.total -= self.bytes;
        if let Some(bytes) = state.owners.get_mut(&self.owner) {
            *bytes -= self.bytes;
            if *bytes == 0 {
                state.owners.remove(&self.owner);
            }
        }
    }
}
