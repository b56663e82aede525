//! Who needs which weights next: the steps of running jobs, then the visible queue.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::policy::NextUse;
use super::{ComponentKey, Item};
use crate::node::NodeRef;

/// A queued job and what it will need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueuedJob {
    /// Its id.
    pub job: Arc<str>,
    /// Ids of the components (and outputs) that it will need, as [`Item`] prints them.
    pub needs: Vec<String>,
}

/// The next use of something, for reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upcoming {
    /// The job that needs it.
    pub job: Arc<str>,
    /// The step of its plan, counted from 0; `None` for a queued job.
    pub step: Option<u64>,
    /// The node that needs it; `None` for a queued job.
    pub node: Option<Arc<NodeRef>>,
}

/// Uses of one job's components that are still to come, by the place of the step in the order.
type Uses = HashMap<ComponentKey, BTreeMap<u64, Arc<NodeRef>>>;

#[derive(Default)]
pub(super) struct Outlook {
    running: HashMap<Arc<str>, Uses>,
    /// The first queued job that needs an item, and its place.
    queued: HashMap<String, (u64, Arc<str>)>,
}

/// The step that a place in the order stands for: revisions count in the upper half.
fn step(place: u64) -> u64 {
    place & u64::from(u32::MAX)
}

impl Outlook {
    pub(super) fn see(&mut self, queue: Vec<QueuedJob>) {
        self.queued.clear();
        for (place, QueuedJob { job, needs }) in (0..).zip(queue) {
            for need in needs {
                self.queued.entry(need).or_insert_with(|| (place, job.clone()));
            }
        }
    }

    pub(super) fn will_use(&mut self, job: &Arc<str>, place: u64, node: &Arc<NodeRef>, key: &ComponentKey) {
        let uses = self.running.entry(job.clone()).or_default();
        uses.entry(key.clone()).or_default().insert(place, node.clone());
    }

    pub(super) fn used(&mut self, job: &str, place: u64, key: &ComponentKey) {
        if let Some(uses) = self.running.get_mut(job)
            && let Some(places) = uses.get_mut(key)
        {
            places.remove(&place);
            if places.is_empty() {
                uses.remove(key);
            }
        }
    }

    pub(super) fn ended(&mut self, job: &str) {
        self.running.remove(job);
    }

    pub(super) fn next_use(&self, item: &Item) -> NextUse {
        if let Item::Weights(key) = item
            && let Some((place, _, _)) = self.soonest(key)
        {
            return NextUse::Step(place);
        }
        if self.queued.is_empty() {
            return NextUse::Unknown;
        }
        self.queued.get(&item.to_string()).map_or(NextUse::Unknown, |(place, _)| NextUse::Queued(*place))
    }

    pub(super) fn upcoming(&self, item: &Item) -> Option<Upcoming> {
        if let Item::Weights(key) = item
            && let Some((place, job, node)) = self.soonest(key)
        {
            return Some(Upcoming { job: job.clone(), step: Some(step(place)), node: Some(node.clone()) });
        }
        let (_, job) = self.queued.get(&item.to_string())?;
        Some(Upcoming { job: job.clone(), step: None, node: None })
    }

    fn soonest(&self, key: &ComponentKey) -> Option<(u64, &Arc<str>, &Arc<NodeRef>)> {
        let uses = self.running.iter().filter_map(|(job, uses)| {
            let (place, node) = uses.get(key)?.first_key_value()?;
            Some((*place, job, node))
        });
        uses.min_by_key(|(place, _, _)| *place)
    }
}
