//! The cache of outputs, as the pool sees it.

use std::sync::Arc;

use super::policy::{Candidate, NextUse};
use super::{Item, Residency};
use crate::cache::Signature;

/// Outputs of a node that the cache keeps.
#[derive(Clone, Debug)]
pub struct CachedOutput {
    /// The history of their content.
    pub signature: Signature,
    /// The node that made them, for people.
    pub label: Arc<str>,
    /// Bytes that nobody but the cache holds.
    pub idle: u64,
    /// All their bytes.
    pub bytes: u64,
    /// The job that used them last.
    pub last_job: u64,
    /// When they were used last.
    pub last_used: u64,
    /// Seconds that it took to make them.
    pub seconds: f64,
}

/// Something beside the weights that can give memory back.
pub(crate) trait Shelf: Send + Sync {
    /// What it keeps that weighs something.
    fn kept(&self) -> Vec<CachedOutput>;

    /// Lets go of something; the bytes that this freed, or `None` where it is not there (any more).
    fn let_go(&self, signature: Signature) -> Option<u64>;
}

impl Residency {
    /// Has a cache take part in the pool for as long as it lives.
    pub(crate) fn attach(&self, shelf: &Arc<impl Shelf + 'static>) {
        let shelf: std::sync::Weak<dyn Shelf> = Arc::downgrade(&(shelf.clone() as Arc<dyn Shelf>));
        let mut shelves = self.shelves();
        shelves.retain(|shelf| shelf.strong_count() > 0);
        shelves.push(shelf);
    }

    /// The caches that are alive.
    fn attached(&self) -> Vec<Arc<dyn Shelf>> {
        self.shelves().iter().filter_map(std::sync::Weak::upgrade).collect()
    }

    /// Cached outputs that weigh something. Their ids are those of [`Item::Output`].
    pub fn cached(&self) -> Vec<CachedOutput> {
        self.attached().iter().flat_map(|shelf| shelf.kept()).collect()
    }

    pub(super) fn let_go(&self, signature: Signature) -> Option<u64> {
        self.attached().iter().find_map(|shelf| shelf.let_go(signature))
    }

    /// Cached outputs that giving back would free something.
    pub(super) fn idle_outputs(&self) -> Vec<Candidate> {
        let idle = self.cached().into_iter().filter(|kept| kept.idle > 0);
        idle.map(|kept| Candidate {
            item: Item::Output(kept.signature),
            label: kept.label,
            bytes: kept.idle,
            last_job: kept.last_job,
            last_used: kept.last_used,
            next_use: NextUse::Unknown,
            seconds: kept.seconds,
        })
        .collect()
    }
}
