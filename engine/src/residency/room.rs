//! Room within the budget: asked for before it is taken, made by giving back what is needed last.

use std::sync::Arc;

use super::Item;
use super::component::ComponentKey;
use super::ledger::{Held, Owner, OwnerKind};
use super::load::For;
use super::manager::{Entry, Residency};
use super::policy::{Candidate, NextUse};
use super::timeline::MarkKind;
use crate::events::{Event, EventKind};
use crate::node::{Context, NodeError};
use crate::workflow::NodeId;

/// Scratch that was asked for; given back when dropped.
#[derive(Debug)]
pub struct Reservation(Held);

impl Reservation {
    /// The bytes.
    pub fn bytes(&self) -> u64 {
        self.0.bytes()
    }
}

/// What made way for weights that are about to be loaded, and is held by their load until these are entered.
#[derive(Default)]
pub(super) struct HandedOn {
    /// Their entries in the ledger, in the name of the load.
    pub(super) held: Vec<Held>,
    /// Keeps their pages for as long as the load lasts.
    pub(super) pages: Option<Box<dyn Send>>,
}

/// Whose the pages are between an eviction and the load that it makes way for.
const LEFT: &str = "pages handed on";

impl HandedOn {
    fn bytes(&self) -> u64 {
        self.held.iter().map(Held::bytes).sum()
    }

    /// Takes the entry of weights that are gone, if their pages are kept.
    fn keep(&mut self, mut held: Held) {
        if self.pages.is_some() {
            held.pass_on(Owner { kind: OwnerKind::Loading, name: LEFT.into() });
            self.held.push(held);
        }
    }
}

/// On whose behalf something is given back, and why.
#[derive(Clone, Copy)]
pub(super) enum On<'a> {
    /// Nobody's: the policy, or the user, wants it so, for this reason.
    Nobody(&'static str),
    /// A node needs room for something.
    Node(&'a Context, &'a str),
}

impl Residency {
    /// See [`Context::reserve`].
    pub(crate) fn reserve(
        &self,
        context: &Context,
        what: &str,
        bytes: u64,
    ) -> Result<Reservation, NodeError> {
        let owner = Owner { kind: OwnerKind::Scratch, name: what.into() };
        let [held] = self.take(context, what, For::Node, [(owner, bytes)], &mut HandedOn::default())?;
        Ok(Reservation(held))
    }

    /// Enters bytes in the ledger, all or none, after making room for them.
    pub(super) fn take<const N: usize>(
        &self,
        context: &Context,
        what: &str,
        whom: For,
        mut owners: [(Owner, u64); N],
        handed: &mut HandedOn,
    ) -> Result<[Held; N], NodeError> {
        let bytes = owners.iter().fold(0u64, |sum, (_, bytes)| sum.saturating_add(*bytes));
        // Another thread may take the room that was made, so it is looked for again.
        loop {
            if let Err(refused) = self.system_room(what, bytes) {
                if whom == For::Node && self.waited_for_a_read_ahead() {
                    context.check()?;
                    continue;
                }
                self.mark(MarkKind::Refused, what, Some(bytes), for_whom(On::Node(context, what)));
                return Err(refused);
            }
            let budget = self.budget().unwrap_or(u64::MAX);
            match self.ledger().hold_within(budget, owners, &mut handed.held) {
                Ok(held) => {
                    self.sample_moment();
                    return Ok(held);
                }
                Err(back) => owners = back,
            }
            context.check()?;
            if let Err(refused) = self.make_room(what, bytes, On::Node(context, what), handed) {
                if whom == For::Node && self.waited_for_a_read_ahead() {
                    continue;
                }
                self.mark(MarkKind::Refused, what, Some(bytes), for_whom(On::Node(context, what)));
                return Err(refused);
            }
        }
    }

    /// Sees to it that the system would give `bytes` more: what may go makes way until it would.
    ///
    /// # Errors
    /// Where it would not even so.
    pub(crate) fn system_room(&self, what: &str, bytes: u64) -> Result<(), NodeError> {
        while !self.system_has(bytes) {
            // Nobody says how much is missing; of 0 bytes, what is put by is.
            if self.give_back(bytes.max(1)) == 0 {
                let held = self.ledger().total();
                return Err(NodeError::memory(format!(
                    "{what} needs {bytes} bytes, and the system has no more to give: this process is limited, or others \
                     hold the rest; {held} bytes are held by what is running; raise the limit, or use a smaller picture, \
                     batch or model"
                )));
            }
        }
        Ok(())
    }

    /// Gives back what is needed last until `bytes` more fit the budget. Gives nothing back if that would not do.
    fn make_room(&self, what: &str, bytes: u64, on: On<'_>, handed: &mut HandedOn) -> Result<(), NodeError> {
        let Some(budget) = self.budget() else { return Ok(()) };
        let candidates = self.candidates();
        let held = self.ledger().total().saturating_sub(handed.bytes());
        let idle: u64 = candidates.iter().map(|c| c.bytes).sum();
        let idle = idle.saturating_add(self.lock().held_by_idle());
        if held.saturating_sub(idle).saturating_add(bytes) <= budget {
            let total = |handed: &HandedOn| self.ledger().total().saturating_sub(handed.bytes());
            let fits = |handed: &HandedOn| total(handed).saturating_add(bytes) <= budget;
            self.give_back_until(&candidates, on, handed, fits);
            // What views held until now may go too.
            self.give_back_until(&self.candidates(), on, handed, fits);
            if fits(handed) {
                return Ok(());
            }
        }
        let held = self.ledger().total();
        let pinned: Vec<String> =
            self.residents().iter().filter(|r| r.pinned).map(|r| format!("`{}`", r.label)).collect();
        let unpin = match pinned.as_slice() {
            [] => String::new(),
            some => format!("unpin {}, ", some.join(" and ")),
        };
        Err(NodeError::memory(format!(
            "{what} needs {bytes} bytes; {held} of the budget of {budget} bytes are held by what is running and not \
             enough can be given back; {unpin}raise --memory, or use a smaller picture, batch or model"
        )))
    }

    /// What may go, in the order in which it goes.
    fn candidates(&self) -> Vec<Candidate> {
        let mut candidates = self.idle_outputs();
        let state = self.lock();
        for candidate in &mut candidates {
            candidate.next_use = state.outlook.next_use(&candidate.item);
        }
        candidates.extend(state.idle());
        drop(state);
        candidates.sort_by(|a, b| self.policy.order(a, b));
        candidates
    }

    /// Gives candidates back, one after the other, until it is enough. The bytes that were freed.
    fn give_back_until(
        &self,
        candidates: &[Candidate],
        on: On<'_>,
        handed: &mut HandedOn,
        enough: impl Fn(&HandedOn) -> bool,
    ) -> u64 {
        let mut freed = 0;
        for candidate in candidates {
            if enough(handed) {
                break;
            }
            match &candidate.item {
                Item::Weights(_) => {
                    let entry = self.lock().take_out(&candidate.item);
                    freed += entry.map_or(0, |entry| self.make_way(entry, on, handed));
                }
                Item::Output(signature) => {
                    let Some(bytes) = self.let_go(*signature) else { continue };
                    freed += bytes;
                    self.mark(MarkKind::Evict, &candidate.label, Some(bytes), for_whom(on));
                    self.tell(on, |reason| EventKind::CacheEvicted {
                        label: candidate.label.clone(),
                        bytes,
                        reason,
                    });
                }
            }
        }
        freed
    }

    /// Gives back at least `bytes`, if so much may go: for pressure from outside of the process. The bytes that were
    /// freed.
    pub fn give_back(&self, bytes: u64) -> u64 {
        let before = self.ledger().total();
        let enough = |_: &HandedOn| before.saturating_sub(self.ledger().total()) >= bytes;
        let on = On::Nobody("the system is short of memory");
        self.give_back_until(&self.candidates(), on, &mut HandedOn::default(), enough)
    }

    /// Brings what is held under the budget again, as far as that can be done: outputs are made without asking.
    pub(crate) fn fit(&self) {
        let Some(budget) = self.budget() else { return };
        let fits = || self.ledger().total() <= budget;
        if !fits() {
            let on = On::Nobody("outputs need room");
            self.give_back_until(&self.candidates(), on, &mut HandedOn::default(), |_| fits());
        }
    }

    /// Gives back what no running job will use until `bytes` more are below `limit`, beside as much `scratch` as the
    /// step that computes will have taken; false if that cannot be done.
    pub(super) fn make_room_ahead(
        &self,
        bytes: u64,
        scratch: u64,
        limit: u64,
        handed: &mut HandedOn,
    ) -> bool {
        let mut candidates = self.candidates();
        candidates.retain(|c| !matches!(c.next_use, NextUse::Step(_)));
        let held = |handed: &HandedOn| {
            let (total, reserved) = self.ledger().total_and_scratch();
            let total = total.saturating_sub(handed.bytes());
            total.saturating_add(scratch.saturating_sub(reserved)).saturating_add(bytes)
        };
        let idle: u64 = candidates.iter().map(|c| c.bytes).sum();
        if held(handed).saturating_sub(idle) > limit {
            return false;
        }
        let on = On::Nobody("what is read ahead needs room");
        self.give_back_until(&candidates, on, handed, |handed| held(handed) <= limit);
        held(handed) <= limit
    }

    /// Frees weights that were taken out; their bytes.
    pub(super) fn gone(&self, entry: (ComponentKey, Entry), on: On<'_>) -> u64 {
        self.make_way(entry, on, &mut HandedOn::default())
    }

    /// [`gone`](Self::gone), for weights that are about to be loaded.
    fn make_way(&self, (component, entry): (ComponentKey, Entry), on: On<'_>, handed: &mut HandedOn) -> u64 {
        let Entry { label, ready: Some(ready), .. } = entry else { return 0 };
        let bytes = ready.held.bytes();
        // Freed first: the eviction is told when the bytes are gone, or another's by name.
        drop(ready.component);
        handed.keep(ready.held);
        self.mark(MarkKind::Evict, &label, Some(bytes), for_whom(on));
        self.tell(on, |reason| EventKind::Evicted { component, label, bytes, reason });
        bytes
    }

    /// Tells why something was given back: the job that it was for, else the one that has been running longest.
    fn tell(&self, on: On<'_>, event: impl FnOnce(String) -> EventKind) {
        match on {
            On::Node(context, what) => context.emit(event(format!("{what} needs room"))),
            On::Nobody(reason) => {
                let listener = self.listeners().first().cloned();
                if let Some((job, sink)) = listener {
                    sink.emit(Event { job, kind: event(reason.to_owned()) });
                }
            }
        }
    }
}

/// The node and the job that something is given back for.
fn for_whom(on: On<'_>) -> (Option<NodeId>, Option<Arc<str>>) {
    match on {
        On::Nobody(_) => (None, None),
        On::Node(context, _) => (Some(context.node().id.clone()), Some(context.job_id().clone())),
    }
}
