//! Where buffers lie in a stretch of memory: numbers only.

use std::collections::BTreeMap;

/// A stretch of `capacity` bytes, parts of which are taken. The lowest gap that fits is taken, so that a model's
/// activations stay close together whatever their sizes, and the same requests find the same places again.
#[derive(Debug)]
pub(super) struct Arena {
    capacity: usize,
    /// Length of each gap below `end`, by where it begins. No two touch, and none touches `end`.
    gaps: BTreeMap<usize, usize>,
    /// Where the last part that is taken ends.
    end: usize,
    /// The highest `end` so far: what lies above was never touched.
    high: usize,
}

impl Arena {
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, gaps: BTreeMap::new(), end: 0, high: 0 }
    }

    /// Takes `bytes` (not 0): where they begin, or nothing where there is no room.
    pub(super) fn take(&mut self, bytes: usize) -> Option<usize> {
        if let Some((&start, &len)) = self.gaps.iter().find(|(_, len)| **len >= bytes) {
            self.gaps.remove(&start);
            if len > bytes {
                self.gaps.insert(start + bytes, len - bytes);
            }
            return Some(start);
        }
        let start = self.end;
        let end = start.checked_add(bytes).filter(|end| *end <= self.capacity)?;
        self.end = end;
        self.high = self.high.max(end);
        Some(start)
    }

    /// Gives back what `take` gave for `bytes`.
    pub(super) fn give(&mut self, start: usize, bytes: usize) {
        let (mut from, mut to) = (start, start + bytes);
        if let Some((&before, &len)) = self.gaps.range(..start).next_back()
            && before + len == start
        {
            self.gaps.remove(&before);
            from = before;
        }
        if let Some(len) = self.gaps.remove(&to) {
            to += len;
        }
        if to == self.end {
            self.end = from;
        } else {
            self.gaps.insert(from, to - from);
        }
    }

    /// Where the last part that is taken ends.
    pub(super) fn end(&self) -> usize {
        self.end
    }

    /// The highest end since the last [`Arena::lower`].
    pub(super) fn high(&self) -> usize {
        self.high
    }

    /// Forgets how high the arena once was.
    pub(super) fn lower(&mut self) {
        self.high = self.end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_join_and_are_used_from_below() {
        let mut arena = Arena::new(1000);
        let parts: Vec<usize> = (0..5).map(|_| arena.take(100).unwrap()).collect();
        assert_eq!(parts, [0, 100, 200, 300, 400]);
        arena.give(100, 100);
        arena.give(300, 100);
        assert_eq!(arena.take(150), Some(500), "no gap is that large");
        arena.give(200, 100);
        assert_eq!(arena.take(250), Some(100), "three gaps have become one");
        assert_eq!(arena.take(50), Some(350));
        assert_eq!(arena.take(351), None);
        for (start, bytes) in [(500, 150), (0, 100), (350, 50), (100, 250), (400, 100)] {
            arena.give(start, bytes);
        }
        assert_eq!((arena.end(), arena.gaps.len(), arena.high()), (0, 0, 650));
    }
}
