//! Each payload in the ledger once, however many wires, jobs and cache entries refer to it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::node::NodeRef;
use crate::residency::{Held, Ledger, Owner, OwnerKind};
use crate::value::{Column, Value};

/// On whose behalf a payload is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// A running job.
    Job,
    /// The cache.
    Cache,
}

struct Holding {
    /// Entered as [`OwnerKind::Output`] while a job needs it, else as [`OwnerKind::Cached`].
    held: Option<Held>,
    name: Arc<str>,
    bytes: u64,
    jobs: u32,
    cached: u32,
}

/// Payloads by address. An address stays taken for as long as its payload is in here, because
/// whoever took it holds a reference.
pub(crate) struct Holdings {
    ledger: Arc<Ledger>,
    by_address: Mutex<HashMap<usize, Holding>>,
}

impl Holdings {
    pub(crate) fn new(ledger: Arc<Ledger>) -> Self {
        Self { ledger, by_address: Mutex::default() }
    }

    pub(crate) fn take(&self, column: &Column, by: By, maker: &NodeRef) {
        column.values().iter().for_each(|value| self.take_value(value, by, maker));
    }

    /// The bytes that nobody holds any more.
    pub(crate) fn give(&self, column: &Column, by: By) -> u64 {
        column.values().iter().map(|value| self.give_value(value, by)).sum()
    }

    /// Bytes of a column that no job holds.
    pub(crate) fn idle(&self, column: &Column) -> u64 {
        column.values().iter().map(|value| self.idle_value(value)).sum()
    }

    fn idle_value(&self, value: &Value) -> u64 {
        if let Value::List(values) = value {
            return values.iter().map(|value| self.idle_value(value)).sum();
        }
        let Some(address) = value.address() else { return 0 };
        let all = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&address).filter(|holding| holding.jobs == 0).map_or(0, |holding| holding.bytes)
    }

    fn take_value(&self, value: &Value, by: By, maker: &NodeRef) {
        if let Value::List(values) = value {
            return values.iter().for_each(|value| self.take_value(value, by, maker));
        }
        let Some(address) = value.address() else { return };
        let mut all = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let holding = all.entry(address).or_insert_with(|| Holding {
            held: None,
            name: format!("{} #{} {}", maker.class, maker.id, value.type_name()).into(),
            bytes: value.bytes(),
            jobs: 0,
            cached: 0,
        });
        match by {
            By::Job => holding.jobs += 1,
            By::Cache => holding.cached += 1,
        }
        holding.enter(&self.ledger);
    }

    fn give_value(&self, value: &Value, by: By) -> u64 {
        if let Value::List(values) = value {
            return values.iter().map(|value| self.give_value(value, by)).sum();
        }
        let Some(address) = value.address() else { return 0 };
        let mut all = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(holding) = all.get_mut(&address) else { return 0 };
        match by {
            By::Job => holding.jobs = holding.jobs.saturating_sub(1),
            By::Cache => holding.cached = holding.cached.saturating_sub(1),
        }
        if holding.jobs + holding.cached == 0 {
            return all.remove(&address).map_or(0, |holding| holding.bytes);
        }
        holding.enter(&self.ledger);
        0
    }
}

impl Holding {
    /// Enters it under the kind that holds now.
    fn enter(&mut self, ledger: &Arc<Ledger>) {
        let kind = if self.jobs > 0 { OwnerKind::Output } else { OwnerKind::Cached };
        if self.bytes > 0 && self.held.as_ref().is_none_or(|held| held.owner().kind != kind) {
            // Out before in: the ledger must not count the bytes twice, even for a moment.
            self.held = None;
            self.held = Some(ledger.hold(Owner { kind, name: self.name.clone() }, self.bytes));
        }
    }
}
