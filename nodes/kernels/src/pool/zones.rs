//! Places for buffers of all sizes: two zones, so that small ones don't split the gaps of large ones.

#![allow(unsafe_code)]

use std::ptr::NonNull;

use super::arena::Arena;
use super::block::Block;

/// Buffers below this many bytes have a zone of their own.
const LARGE: usize = 256 << 10;
/// Bytes of address space that a region takes. Linux gives pages to what is touched alone.
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
const REGION: [usize; 2] = [64 << 20, 64 << 30];
#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
const REGION: [usize; 2] = [4 << 20, 256 << 20];
/// What a region is tried with when there is no room for the above.
const LEAST: usize = 64 << 20;

/// Where a buffer lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot {
    zone: usize,
    region: usize,
    start: usize,
    bytes: usize,
}

fn zone_of(bytes: usize) -> usize {
    usize::from(bytes >= LARGE)
}

#[derive(Debug)]
struct Region {
    block: Block,
    arena: Arena,
}

/// Regions of memory, by zone. A region that was given back leaves its index to the next one.
#[derive(Debug, Default)]
pub(super) struct Zones([Vec<Option<Region>>; 2]);

impl Zones {
    /// Takes `bytes`; says where they are. Nothing where the system has no more.
    pub(super) fn take(&mut self, bytes: usize) -> Option<(Slot, NonNull<u8>)> {
        let zone = zone_of(bytes);
        let regions = &mut self.0[zone];
        for (region, found) in regions.iter_mut().enumerate() {
            if let Some(found) = found
                && let Some(start) = found.arena.take(bytes)
            {
                // SAFETY: the arena's places lie within its block.
                let ptr = NonNull::new(unsafe { found.block.ptr().add(start) })?;
                return Some((Slot { zone, region, start, bytes }, ptr));
            }
        }
        let block = Block::zeroed(REGION[zone].max(bytes)).or_else(|| Block::zeroed(LEAST.max(bytes)))?;
        let mut arena = Arena::new(block.bytes());
        let start = arena.take(bytes)?;
        let ptr = NonNull::new(block.ptr())?;
        let made = Some(Region { block, arena });
        let region = match regions.iter().position(Option::is_none) {
            Some(index) => {
                regions[index] = made;
                index
            }
            None => {
                regions.push(made);
                regions.len() - 1
            }
        };
        Some((Slot { zone, region, start, bytes }, ptr))
    }

    /// Gives a place back.
    pub(super) fn give(&mut self, slot: Slot) {
        if let Some(region) = &mut self.0[slot.zone][slot.region] {
            region.arena.give(slot.start, slot.bytes);
        }
    }

    /// Bytes that were touched and not given back to the system.
    pub(super) fn held(&self) -> usize {
        self.arenas().map(Arena::high).sum()
    }

    /// Bytes up to the last buffer that is alive, in every region.
    pub(super) fn reach(&self) -> usize {
        self.arenas().map(Arena::end).sum()
    }

    fn arenas(&self) -> impl Iterator<Item = &Arena> {
        self.0.iter().flatten().flatten().map(|region| &region.arena)
    }

    /// Gives what lies beyond the last buffer of every region back to the system.
    pub(super) fn trim(&mut self) {
        for region in self.0.iter_mut().flatten() {
            let Some(Region { block, arena }) = region else { continue };
            if arena.end() == 0 {
                *region = None;
            } else {
                block.release(arena.end()..arena.high());
                arena.lower();
            }
        }
    }
}

/// A pool's bookkeeping without its memory: what the same requests would make a pool hold.
#[derive(Debug)]
pub struct PoolPlan {
    arenas: [Arena; 2],
}

impl Default for PoolPlan {
    fn default() -> Self {
        Self { arenas: [Arena::new(usize::MAX), Arena::new(usize::MAX)] }
    }
}

/// A place in a [`PoolPlan`].
#[derive(Debug)]
pub struct Planned(Slot);

impl PoolPlan {
    /// Takes `bytes` as [`Pool::get`](super::Pool::get) would.
    pub fn take(&mut self, bytes: usize) -> Planned {
        let bytes = super::counted(bytes).unwrap_or(isize::MAX as usize / 2);
        let zone = zone_of(bytes);
        let start = self.arenas[zone].take(bytes).unwrap_or(0);
        Planned(Slot { zone, region: 0, start, bytes })
    }

    /// Gives a place back.
    pub fn give(&mut self, place: &Planned) {
        self.arenas[place.0.zone].give(place.0.start, place.0.bytes);
    }

    /// The most that the pool would have held since the last reset.
    pub fn peak(&self) -> usize {
        self.arenas.iter().map(Arena::high).sum()
    }

    /// What the system would have given for that: a pool asks for large pages, which are given whole.
    pub fn peak_pages(&self) -> usize {
        self.arenas.iter().map(|arena| arena.high().next_multiple_of(super::block::HUGE)).sum()
    }

    /// Makes the peak start again from what is alive now.
    pub fn reset_peak(&mut self) {
        self.arenas.iter_mut().for_each(Arena::lower);
    }
}
