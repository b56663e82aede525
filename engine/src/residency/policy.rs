//! Which evictable component goes.

use super::ComponentKey;

/// An evictable component: nobody holds a lease on it.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Which weights.
    pub key: ComponentKey,
    /// Bytes that evicting it gives back.
    pub bytes: u64,
    /// When a lease on it last ended, as a count of such endings.
    pub last_used: u64,
    /// Steps until it is next needed, by the plan and the queue; `None` where nobody is known to.
    pub next_use: Option<u64>,
}

/// Decides what stays when nobody holds it.
pub trait Policy: Send + Sync {
    /// Its name, for reports.
    fn name(&self) -> String;

    /// The components to evict now that no room is needed: those beyond what the policy keeps.
    fn surplus(&self, candidates: &[Candidate]) -> Vec<ComponentKey>;

    /// Whether what nobody uses stays until room is needed: what a plan reckons with.
    fn keeps_unused(&self) -> bool {
        true
    }

    /// The component to evict first when room is needed.
    fn victim(&self, candidates: &[Candidate]) -> Option<ComponentKey> {
        candidates
            .iter()
            .min_by_key(|c| (std::cmp::Reverse(c.next_use.unwrap_or(u64::MAX)), c.last_used))
            .map(|c| c.key.clone())
    }
}

/// Keeps nothing: freed at once.
#[derive(Debug, Default)]
pub struct KeepNothing;

impl Policy for KeepNothing {
    fn name(&self) -> String {
        "none".into()
    }

    fn keeps_unused(&self) -> bool {
        false
    }

    fn surplus(&self, candidates: &[Candidate]) -> Vec<ComponentKey> {
        candidates.iter().filter(|c| c.next_use.is_none()).map(|c| c.key.clone()).collect()
    }
}

/// Keeps the N that were used last.
#[derive(Debug)]
pub struct Lru(
    /// How many.
    pub usize,
);

impl Policy for Lru {
    fn name(&self) -> String {
        format!("lru={}", self.0)
    }

    fn surplus(&self, candidates: &[Candidate]) -> Vec<ComponentKey> {
        let mut by_age: Vec<&Candidate> = candidates.iter().collect();
        by_age.sort_by_key(|c| std::cmp::Reverse(c.last_used));
        by_age.iter().skip(self.0).filter(|c| c.next_use.is_none()).map(|c| c.key.clone()).collect()
    }
}

/// Keeps everything until room is needed: the default.
#[derive(Debug, Default)]
pub struct KeepLast;

impl Policy for KeepLast {
    fn name(&self) -> String {
        "keep-last".into()
    }

    fn surplus(&self, _: &[Candidate]) -> Vec<ComponentKey> {
        Vec::new()
    }
}
