//! The rows of one panel, read from where they are stored.
//!
//! Weights that are read panel by panel are never in memory twice: each worker has a buffer for 32 rows, which stays in
//! its second-level cache, and what it packed is done with. Rows that follow one another are read at once.

use half::{bf16, f16};

use super::{LANES, Packed};
use crate::error::{KernelError, Result};
use crate::view::{Rows, Source};

/// A worker's buffers.
#[derive(Default)]
pub(super) struct Staged {
    f32s: Lines<f32>,
    f16s: Lines<f16>,
    bf16s: Lines<bf16>,
    /// Where each row of the panel is: its number, and its first element in the buffer of its type.
    rows: Vec<(usize, Kind, usize)>,
}

/// Values of one type. What an earlier panel left is written over, not cleared.
#[derive(Default)]
struct Lines<T> {
    values: Vec<T>,
    used: usize,
}

impl<T: Copy + Default> Lines<T> {
    /// `more` further elements, to be written.
    fn grow(&mut self, more: usize) -> &mut [T] {
        let from = self.used;
        self.used += more;
        if self.values.len() < self.used {
            self.values.resize(self.used, T::default());
        }
        &mut self.values[from..self.used]
    }
}

#[derive(Clone, Copy)]
enum Kind {
    F32,
    F16,
    Bf16,
}

impl Staged {
    /// Reads the rows of a panel whose sources are stored elsewhere.
    pub(super) fn read<'a>(
        &mut self,
        op: &'static str,
        packed: &Packed,
        panel: usize,
        at: &(impl Fn(usize) -> (Source<'a>, usize) + Sync),
    ) -> Result<()> {
        self.f32s.used = 0;
        self.f16s.used = 0;
        self.bf16s.used = 0;
        self.rows.clear();
        let len = packed.k * packed.taps;
        let lanes: Vec<usize> = (0..LANES).filter_map(|lane| packed.row_of(panel, lane)).collect();
        let mut lane = 0;
        while lane < lanes.len() {
            let (source, first) = at(lanes[lane]);
            let Source::Stored(stored) = source else {
                lane += 1;
                continue;
            };
            // How many rows of the panel lie behind one another in it.
            let follows = |n: usize| {
                let (next, from) = at(lanes[lane + n]);
                matches!(next, Source::Stored(s) if std::ptr::addr_eq(s, stored)) && from == first + n * len
            };
            let run = (1..lanes.len() - lane).take_while(|n| follows(*n)).count() + 1;
            let kind = match stored.like() {
                Source::F16(_) => Kind::F16,
                Source::Bf16(_) => Kind::Bf16,
                _ => Kind::F32,
            };
            let base = match kind {
                Kind::F32 => self.f32s.used,
                Kind::F16 => self.f16s.used,
                Kind::Bf16 => self.bf16s.used,
            };
            let done = match kind {
                Kind::F32 => stored.read(first, Rows::F32(self.f32s.grow(run * len))),
                Kind::F16 => stored.read(first, Rows::F16(self.f16s.grow(run * len))),
                Kind::Bf16 => stored.read(first, Rows::Bf16(self.bf16s.grow(run * len))),
            };
            done.map_err(|reason| KernelError::Unsupported { op, reason })?;
            self.rows.extend((0..run).map(|n| (lanes[lane + n], kind, base + n * len)));
            lane += run;
        }
        Ok(())
    }

    /// The buffer that holds a row and where it begins; nothing for a row that was not stored elsewhere.
    pub(super) fn at(&self, row: usize) -> Option<(Source<'_>, usize)> {
        let (_, kind, base) = *self.rows.iter().find(|(number, ..)| *number == row)?;
        let source = match kind {
            Kind::F32 => Source::F32(&self.f32s.values),
            Kind::F16 => Source::F16(&self.f16s.values),
            Kind::Bf16 => Source::Bf16(&self.bf16s.values),
        };
        Some((source, base))
    }
}
