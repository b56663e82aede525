//! What stays when nobody holds it, and what goes first when room is needed.
//!
//! The rules and what they achieve are on a page of their own: `docs/memory-policy.md`.

use std::cmp::Ordering;

use super::Item;

/// When something is needed next, as far as anybody knows; what is needed sooner is less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NextUse {
    /// By a running job: the place of the step in its order.
    Step(u64),
    /// By a queued job: its place in the queue.
    Queued(u64),
    /// By nobody who is known.
    Unknown,
}

/// Something that nobody holds at the moment.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// What it is.
    pub item: Item,
    /// Its name for people.
    pub label: std::sync::Arc<str>,
    /// Bytes that giving it back frees.
    pub bytes: u64,
    /// The job that used it last; jobs are numbered from 1 as they begin.
    pub last_job: u64,
    /// When a use of it last ended, as a count of such endings.
    pub last_used: u64,
    /// When it is needed next.
    pub next_use: NextUse,
    /// Seconds that it took to load or to compute: what bringing it back will cost.
    pub seconds: f64,
}

impl Candidate {
    /// Seconds a byte: what is cheap to bring back goes before what is dear.
    fn cost(&self) -> f64 {
        self.seconds / self.bytes.max(1) as f64
    }

    fn is_planned(&self) -> bool {
        matches!(self.next_use, NextUse::Step(_))
    }
}

/// Decides what stays when nobody holds it.
///
/// Weights that a running job will need again are never surplus, whatever the policy; when room is needed they go
/// last.
pub trait Policy: Send + Sync {
    /// Its name, for reports.
    fn name(&self) -> String;

    /// The weights to give back now that no room is needed: those beyond what the policy keeps. `job` is the number of
    /// the job that began last.
    fn surplus(&self, candidates: &[Candidate], job: u64) -> Vec<Item>;

    /// Whether what nobody uses stays until room is needed: what a plan reckons with.
    fn keeps_unused(&self) -> bool {
        true
    }

    /// Which of two goes first when room is needed: the lesser one.
    fn order(&self, a: &Candidate, b: &Candidate) -> Ordering {
        by_next_use(a, b)
    }
}

/// What is needed last goes first; among equals what an earlier job used, then what is cheapest a byte to bring back,
/// then what was used longest ago.
fn by_next_use(a: &Candidate, b: &Candidate) -> Ordering {
    b.next_use
        .cmp(&a.next_use)
        .then(a.last_job.cmp(&b.last_job))
        .then(a.cost().total_cmp(&b.cost()))
        .then(a.last_used.cmp(&b.last_used))
}

/// Keeps everything until room is needed; then what is needed last goes first. The default.
#[derive(Debug, Default)]
pub struct Foresight;

impl Policy for Foresight {
    fn name(&self) -> String {
        "next-use".into()
    }

    fn surplus(&self, _: &[Candidate], _: u64) -> Vec<Item> {
        Vec::new()
    }
}

/// Keeps nothing: freed as soon as no running job needs it.
#[derive(Debug, Default)]
pub struct KeepNothing;

impl Policy for KeepNothing {
    fn name(&self) -> String {
        "none".into()
    }

    fn keeps_unused(&self) -> bool {
        false
    }

    fn surplus(&self, candidates: &[Candidate], _: u64) -> Vec<Item> {
        candidates.iter().filter(|c| !c.is_planned()).map(|c| c.item.clone()).collect()
    }
}

/// Keeps the N that were used last; looks at nothing but that.
#[derive(Debug)]
pub struct Lru(
    /// How many.
    pub usize,
);

impl Policy for Lru {
    fn name(&self) -> String {
        format!("lru={}", self.0)
    }

    fn surplus(&self, candidates: &[Candidate], _: u64) -> Vec<Item> {
        let mut by_age: Vec<&Candidate> = candidates.iter().collect();
        by_age.sort_by_key(|c| std::cmp::Reverse(c.last_used));
        by_age.iter().skip(self.0).filter(|c| !c.is_planned()).map(|c| c.item.clone()).collect()
    }

    fn order(&self, a: &Candidate, b: &Candidate) -> Ordering {
        a.last_used.cmp(&b.last_used)
    }
}

/// Keeps what the last job used: whatever it did not use goes as soon as it is known not to.
#[derive(Debug, Default)]
pub struct KeepLast;

impl Policy for KeepLast {
    fn name(&self) -> String {
        "keep-last".into()
    }

    fn surplus(&self, candidates: &[Candidate], job: u64) -> Vec<Item> {
        let old = candidates.iter().filter(|c| c.last_job < job && !c.is_planned());
        old.map(|c| c.item.clone()).collect()
    }
}
