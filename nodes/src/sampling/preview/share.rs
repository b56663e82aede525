//! How much of a run its previews may take: pictures that would slow it down are left out, and the next one is
//! drawn when there is time for it again.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// Of the time that sampling took so far.
const PART: f64 = 0.02;
/// What previews may take in any case, so that quick runs show something.
const AT_LEAST: Duration = Duration::from_millis(100);

/// What one run's previews took.
pub(super) struct Share {
    started: Instant,
    spent: Cell<Duration>,
    /// What the last one took.
    last: Cell<Duration>,
}

impl Share {
    pub(super) fn new() -> Self {
        Self { started: Instant::now(), spent: Cell::default(), last: Cell::default() }
    }

    /// Draws, where there is time for as much as the last one took.
    pub(super) fn draw<T>(&self, draw: impl FnOnce() -> Option<T>) -> Option<T> {
        if !fits(self.started.elapsed(), self.spent.get(), self.last.get()) {
            return None;
        }
        let start = Instant::now();
        let picture = draw();
        let took = start.elapsed();
        self.last.set(took);
        self.spent.set(self.spent.get() + took);
        tracing::debug!(seconds = took.as_secs_f64(), "preview");
        picture
    }
}

/// Whether another picture fits, this long after the start.
fn fits(elapsed: Duration, spent: Duration, next: Duration) -> bool {
    spent + next <= elapsed.mul_f64(PART) + AT_LEAST
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many pictures a run gets, and the part of its time that they take.
    fn run(steps: u32, step: Duration, picture: Duration) -> (u32, f64) {
        let (mut drawn, mut spent, mut last) = (0, Duration::ZERO, Duration::ZERO);
        for done in 1..=steps {
            if fits(step * done + spent, spent, last) {
                (drawn, spent, last) = (drawn + 1, spent + picture, picture);
            }
        }
        (drawn, spent.as_secs_f64() / (step * steps).as_secs_f64())
    }

    #[test]
    fn dear_pictures_are_fewer_and_cheap_ones_are_all_drawn() {
        let millis = Duration::from_millis;
        // A linear map beside SD 1.5, and a small decoder beside it.
        assert_eq!(run(20, millis(900), millis(8)).0, 20);
        let (drawn, part) = run(20, millis(4300), millis(350));
        assert!((4..=8).contains(&drawn) && part < 0.03, "{drawn}, {part}");
        // A picture that takes longer than a step.
        let (drawn, part) = run(1000, millis(5), millis(200));
        assert!(drawn == 1 && part < 0.05, "{drawn}, {part}");
        // A small model.
        assert!(run(20, millis(5), millis(8)).0 >= 10);
    }
}
