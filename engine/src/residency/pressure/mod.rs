//! Memory that the rest of the machine wants back.
//!
//! A budget says what this process may take; it cannot say what others will. Where the system tells that memory runs
//! short (little of it available, or work stalled for the want of it), what nobody is using is given back before the
//! kernel takes it by force. What is in use stays.

mod system;

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::Residency;

pub use system::System;

/// What the system says of its memory.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reading {
    /// Bytes that could still be taken without anyone suffering.
    pub available: Option<u64>,
    /// Bytes that there are in all.
    pub limit: Option<u64>,
    /// Hundredths of the last ten seconds in which something waited for memory (PSI's `some avg10`).
    pub stalled: Option<f64>,
}

/// Reads the system's memory.
pub trait Gauge: Send + 'static {
    /// What it says now.
    fn read(&self) -> Reading;
}

/// Below this part of all memory, availability is low.
const LOW: u64 = 32;
/// Nobody needs more than this kept free.
const LOW_AT_MOST: u64 = 1 << 30;
/// From so many hundredths on, waiting counts as pressure.
const STALLED: f64 = 10.0;
/// Readings to wait after a stall was answered: its average falls slowly.
const PATIENCE: u32 = 10;

/// Decides how much to give back.
#[derive(Debug, Default)]
pub struct Relief {
    wait: u32,
}

impl Relief {
    /// Bytes to give back after a reading, of `held` that the process's ledger names.
    pub fn wanted(&mut self, reading: Reading, held: u64) -> u64 {
        let low = reading.limit.map_or(0, |limit| (limit / LOW).min(LOW_AT_MOST));
        let short = reading.available.map_or(0, |available| low.saturating_sub(available));
        self.wait = self.wait.saturating_sub(1);
        let stalled = reading.stalled.is_some_and(|stalled| stalled >= STALLED) && self.wait == 0;
        if stalled {
            self.wait = PATIENCE;
        }
        // Nobody says how much would end a stall: a quarter, and another one if it goes on.
        short.max(if stalled { held / 4 } else { 0 })
    }
}

/// Follows a gauge on a thread of its own for as long as the manager lives.
///
/// # Errors
/// Where no thread can be started.
pub fn watch(residency: &Arc<Residency>, gauge: impl Gauge, every: Duration) -> std::io::Result<()> {
    let residency = Arc::downgrade(residency);
    let follow = move || {
        let mut relief = Relief::default();
        while answer(&residency, &gauge, &mut relief).is_some() {
            std::thread::sleep(every);
        }
    };
    std::thread::Builder::new().name("memory pressure".into()).spawn(follow).map(drop)
}

/// Reads once and gives back what is wanted; `None` where the manager is gone.
fn answer(residency: &Weak<Residency>, gauge: &impl Gauge, relief: &mut Relief) -> Option<u64> {
    let residency = residency.upgrade()?;
    let wanted = relief.wanted(gauge.read(), residency.ledger().total());
    Some(if wanted > 0 { residency.give_back(wanted) } else { 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn reading(available: u64, stalled: f64) -> Reading {
        Reading { available: Some(available), limit: Some(16 * GIB), stalled: Some(stalled) }
    }

    #[test]
    fn what_is_short_is_given_back() {
        let mut relief = Relief::default();
        assert_eq!(relief.wanted(reading(8 * GIB, 0.0), 4 * GIB), 0);
        assert_eq!(relief.wanted(reading(GIB / 4, 0.0), 4 * GIB), GIB / 4, "up to a thirty-second of 16 GiB");
        assert_eq!(relief.wanted(Reading::default(), 4 * GIB), 0, "a system that says nothing");
    }

    #[test]
    fn a_stall_takes_a_quarter_and_then_waits() {
        let mut relief = Relief::default();
        assert_eq!(relief.wanted(reading(8 * GIB, 40.0), 4 * GIB), GIB);
        for _ in 1..PATIENCE {
            assert_eq!(relief.wanted(reading(8 * GIB, 40.0), 3 * GIB), 0);
        }
        assert_eq!(relief.wanted(reading(8 * GIB, 40.0), 2 * GIB), GIB / 2);
    }
}
