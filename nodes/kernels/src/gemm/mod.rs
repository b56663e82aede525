//! One implicit matrix product serves linear layers and convolutions.
//!
//! Rows of the left matrix are never gathered: a table of pointers says where each output row finds its input row at
//! each kernel tap (a row of zeros outside the image), so that stride, padding, nearest upsampling and the
//! concatenation of two inputs are only other tables. The depth is cut into chunks whose part of a panel fits the
//! second-level cache; a task is a block of rows against a group of panels.

#![allow(unsafe_code)]

mod epilogue;
mod stage;
mod tile;

pub use epilogue::{Epilogue, Residual};
pub(crate) use epilogue::{Finish, Shape, part, read, write};
pub(crate) use stage::{Operand, SendPtr, stage, staging};
pub(crate) use tile::{Run, run};

use crate::error::Result;
use crate::kernels::Kernels;
use crate::pack::{Packed, Storage};
use crate::path::Path;
use crate::scratch::Scratch;
use crate::simd::{LANES, Simd, Task, dispatch, tile_rows};
use crate::threads::Threads;
use crate::view::{DType, Layout, Precision};

/// 32-bit elements of a panel chunk: 384 KiB, which leaves the second-level cache room for the rows.
const CHUNK: usize = 96 * 1024;
/// Rows of a block, about.
const BLOCK_ROWS: usize = 256;
/// Tasks for each thread, at least, so that one slow core does not hold the others up.
const TASKS_PER_THREAD: usize = 8;

/// What a product of these weights runs in on this path.
pub(crate) fn compute_type(path: Path, precision: Precision) -> DType {
    match precision {
        Precision::Bf16 if path.multiplies_bf16() => DType::Bf16,
        _ => DType::F32,
    }
}

/// A product to run. The left side has been staged in the compute type.
pub(crate) struct Product<'a, F> {
    pub(crate) w: &'a Packed,
    pub(crate) rows: usize,
    /// One or two inputs, whose channels lie one after the other in the weights.
    pub(crate) inputs: &'a [Operand],
    pub(crate) compute: DType,
    pub(crate) finish: Finish,
    pub(crate) out: Layout,
    pub(crate) rows_per_sample: usize,
    /// The pixel or row of the input that output row `m` reads at a tap; none in the padding.
    pub(crate) source: F,
}

/// A part of the depth.
#[derive(Clone, Copy)]
struct Chunk {
    input: usize,
    tap: usize,
    taps: usize,
    /// First unit within the input's channels.
    first: usize,
    units: usize,
}

/// `inputs` says how many units a row of each has.
fn chunks(inputs: impl IntoIterator<Item = usize>, taps: usize) -> Vec<Chunk> {
    let most = CHUNK / LANES;
    let mut all = Vec::new();
    for (input, units) in inputs.into_iter().enumerate() {
        if units <= most {
            let group = (most / units.max(1)).clamp(1, taps);
            for tap in (0..taps).step_by(group) {
                all.push(Chunk { input, tap, taps: group.min(taps - tap), first: 0, units });
            }
        } else {
            // Even parts, so that a part of bf16-stored weights that is widened starts at a pair.
            let part = units.div_ceil(units.div_ceil(most)).next_multiple_of(2);
            for tap in 0..taps {
                for first in (0..units).step_by(part) {
                    all.push(Chunk { input, tap, taps: 1, first, units: part.min(units - first) });
                }
            }
        }
    }
    all
}

/// Per-worker memory of a product, in bytes from the start of its scratch.
struct Room {
    widened: usize,
    acc: usize,
    table: usize,
    starts: usize,
    samples: usize,
    used: usize,
    total: usize,
}

impl Room {
    fn new(block: usize, taps: usize, inputs: usize, widened: usize) -> Room {
        let align = |n: usize| n.next_multiple_of(64);
        let acc = align(widened * 4);
        let table = acc + align(block * LANES * 4);
        let starts = table + align(block * taps * inputs * size_of::<*const u8>());
        let samples = starts + align(block * size_of::<usize>());
        let used = samples + align(block * size_of::<usize>());
        // A tile has one row at the least.
        Room { widened: 0, acc, table, starts, samples, used, total: used + align(block * size_of::<u64>()) }
    }
}

/// Rows of a block.
fn block_rows(tile: usize, rows: usize) -> usize {
    (BLOCK_ROWS / tile * tile).min(rows.next_multiple_of(tile))
}

/// 32-bit elements of the largest part of a panel that is widened at a time.
fn widened(chunks: &[Chunk], compute: DType, storage: Storage) -> usize {
    match (compute, storage) {
        (DType::F32, Storage::F32) | (DType::Bf16, Storage::Bf16) => 0,
        _ => chunks.iter().map(|c| c.taps * c.units * LANES).max().unwrap_or(0),
    }
}

/// Bytes that a product takes while it runs, beside staged inputs: the workers' scratch, and a row of zeros.
/// `units` are those of a row of each input.
pub(crate) fn workspace(
    rows: usize,
    tile: usize,
    units: &[usize],
    taps: usize,
    (compute, storage): (DType, Storage),
    workers: usize,
) -> [usize; 2] {
    let widen = widened(&chunks(units.iter().copied(), taps), compute, storage);
    let room = Room::new(block_rows(tile, rows), taps, units.len(), widen);
    let width = units.iter().max().copied().unwrap_or(0);
    [Scratch::bytes(workers, room.total), (width + LANES) * 4]
}

/// Runs a product.
pub(crate) fn product<F>(kernels: &Kernels, p: Product<'_, F>) -> Result<()>
where
    F: Fn(usize, usize) -> Option<usize> + Sync,
{
    if p.rows == 0 || p.w.outputs() == 0 {
        return Ok(());
    }
    let (threads, path) = (kernels.threads(), kernels.path());
    let tile = tile_rows(path);
    let block = block_rows(tile, p.rows);
    let blocks = p.rows.div_ceil(block);
    let panels = p.w.panels();
    let groups = (TASKS_PER_THREAD * threads.count()).div_ceil(blocks).clamp(1, panels);
    let group = panels.div_ceil(groups);
    let groups = panels.div_ceil(group);
    let chunks = chunks(p.inputs.iter().map(|x| x.units), p.w.taps);
    let widen = widened(&chunks, p.compute, p.w.storage);
    let room = Room::new(block, p.w.taps, p.inputs.len(), widen);
    let scratch = Scratch::new(kernels, room.total)?;
    let width = p.inputs.iter().map(|x| x.units).max().unwrap_or(0);
    let mut zeros = kernels.pool().f32(width + LANES)?;
    zeros.as_f32_mut().fill(0.0);

    // Neighbouring tasks share a block's rows, not a panel: rows are what a thread keeps in its cache.
    threads.each(blocks * groups, |task| {
        let (b, g) = (task / groups, task % groups);
        let first = b * block;
        let rows = block.min(p.rows - first);
        let mine = scratch.of(Threads::worker());
        // SAFETY: each worker has its own scratch of `room.total` bytes, aligned to 64, used by one task at a time;
        // the table is filled with pointers into operands whose sizes were checked, or to `zeros`, which is as long
        // as the longest row.
        unsafe {
            let table: *mut *const u8 = mine.add(room.table).cast();
            let starts: *mut usize = mine.add(room.starts).cast();
            let samples: *mut usize = mine.add(room.samples).cast();
            let used: *mut u64 = mine.add(room.used).cast();
            let tiles = rows.div_ceil(tile);
            for t in 0..tiles {
                *used.add(t) = 0;
            }
            for (i, x) in p.inputs.iter().enumerate() {
                for r in 0..tiles * tile {
                    for tap in 0..p.w.taps {
                        let from = if r < rows { (p.source)(first + r, tap) } else { None };
                        *used.add(r / tile) |= u64::from(from.is_some()) << tap.min(63);
                        let at = from.map_or(zeros.ptr().cast_const(), |px| x.row(px));
                        *table.add(((i * tiles + r / tile) * p.w.taps + tap) * tile + r % tile) = at;
                    }
                }
            }
            for r in 0..rows {
                *starts.add(r) = p.out.start(first + r);
                *samples.add(r) = (first + r) / p.rows_per_sample;
            }
            let job = BlockJob {
                w: p.w,
                compute: p.compute,
                inputs: p.inputs,
                chunks: &chunks,
                finish: &p.finish,
                panels: g * group..((g + 1) * group).min(panels),
                rows,
                table,
                starts,
                samples,
                used,
                acc: mine.add(room.acc).cast(),
                widened: mine.add(room.widened).cast(),
            };
            dispatch(path, job);
        }
    });
    Ok(())
}

/// A block of rows against a group of panels.
struct BlockJob<'a> {
    w: &'a Packed,
    compute: DType,
    inputs: &'a [Operand],
    chunks: &'a [Chunk],
    finish: &'a Finish,
    panels: std::ops::Range<usize>,
    rows: usize,
    table: *const *const u8,
    starts: *const usize,
    samples: *const usize,
    /// Of each tile, the taps (as bits) at which it reads any input: at the others it lies outside of the image.
    used: *const u64,
    acc: *mut f32,
    widened: *mut f32,
}

impl Task for BlockJob<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self, s: S) {
        // SAFETY: as `panels_of`.
        unsafe {
            match self.compute {
                DType::F32 => self.panels_of::<S, false>(s),
                DType::Bf16 => self.panels_of::<S, true>(s),
            }
        }
    }
}

impl BlockJob<'_> {
    /// # Safety
    /// The pointers are those `product` made.
    #[inline(always)]
    unsafe fn panels_of<S: Simd, const BF16: bool>(&self, s: S) {
        let (taps, tile) = (self.w.taps, S::ROWS);
        let tiles = self.rows.div_ceil(tile);
        let as_stored = self.w.storage == if BF16 { Storage::Bf16 } else { Storage::F32 };
        // Units of the compute type in one tap of a panel.
        let depth = if BF16 { self.w.k.div_ceil(2) } else { self.w.k };
        // SAFETY: as many as there are tiles.
        let used = |t: usize, tap: usize| unsafe { *self.used.add(t) >> tap.min(63) & 1 == 1 };
        for panel in self.panels.clone() {
            for (ci, c) in self.chunks.iter().enumerate() {
                let before: usize = self.inputs[..c.input].iter().map(|x| x.units).sum();
                let unit = before + c.first;
                // SAFETY: chunks lie within the packed weights; `widened` and `acc` were sized for them.
                unsafe {
                    let (b, tap_stride) = if as_stored {
                        let at = ((panel * taps + c.tap) * depth + unit) * LANES;
                        (self.w.ptr().cast::<f32>().add(at), depth * LANES)
                    } else {
                        for t in (0..c.taps).filter(|t| (0..tiles).any(|i| used(i, c.tap + t))) {
                            let to = self.widened.add(t * c.units * LANES);
                            widen::<S, BF16>(s, self.w, panel, c.tap + t, unit, c.units, to);
                        }
                        (self.widened.cast_const(), c.units * LANES)
                    };
                    for t in 0..tiles {
                        let acc = self.acc.add(t * tile * LANES);
                        let mut add = ci > 0;
                        // Taps at which all of the tile lies outside of the image add nothing, and their weights need not
                        // be read: most of them where an image is a pixel or two.
                        let mut tap = 0;
                        while tap < c.taps {
                            let end = (tap..c.taps).find(|i| !used(t, c.tap + i)).unwrap_or(c.taps);
                            if end > tap {
                                run::<S, BF16>(
                                    s,
                                    Run {
                                        taps: end - tap,
                                        units: c.units,
                                        rows: self
                                            .table
                                            .add(((c.input * tiles + t) * taps + c.tap + tap) * tile),
                                        first: c.first,
                                        b: b.add(tap * tap_stride),
                                        tap_stride,
                                        acc,
                                        ahead: 0,
                                        add,
                                    },
                                );
                                add = true;
                            }
                            tap = end + 1;
                        }
                        if !add {
                            std::slice::from_raw_parts_mut(acc, tile * LANES).fill(0.0);
                        }
                        if ci + 1 == self.chunks.len() {
                            let r = t * tile;
                            let n = tile.min(self.rows - r);
                            self.finish.tile(s, acc, n, panel, self.starts.add(r), self.samples.add(r));
                        }
                    }
                }
            }
        }
    }
}

/// Widens `count` units of one tap of a panel, from unit `first` on: channels to f32, or pairs of them to bf16.
///
/// # Safety
/// The channels are within the weights and `to` is writable for `count * LANES` words.
#[inline(always)]
unsafe fn widen<S: Simd, const BF16: bool>(
    s: S,
    w: &Packed,
    panel: usize,
    tap: usize,
    first: usize,
    count: usize,
    to: *mut f32,
) {
    for k in 0..count {
        for lane in (0..LANES).step_by(S::W) {
            // SAFETY: the caller's promise. Storages that are widened to pairs have an even number of channels.
            unsafe {
                let to = to.add(k * LANES + lane);
                if BF16 {
                    let channel = 2 * (first + k);
                    let lo = w.load(s, panel, tap, channel, lane);
                    s.store_pairs(to.cast(), lo, w.load(s, panel, tap, channel + 1, lane));
                } else {
                    s.store(to, w.load(s, panel, tap, first + k, lane));
                }
            }
        }
    }
}
