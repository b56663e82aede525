//! Weights in the order the matrix-product tile reads them.
//!
//! A panel is 32 output lanes. Within it, for each kernel tap and input channel, the 32 lanes lie side by side:
//! `[panel][tap][channel][32]`; bf16 pairs two channels in 32 bits: `[panel][tap][channel / 2][32][2]`. Every path
//! reads the same packing. A gated layer puts 16 value lanes and their 16 gate lanes in one panel, so that the
//! product of the two is an epilogue.

#![allow(unsafe_code)]

mod conv;
mod linear;
mod narrow;
mod quant;
mod staged;
mod table;
mod turn;

pub use conv::{ConvSpec, PackedConv};
pub use linear::{LinearSpec, PackedLinear};
pub(crate) use quant::GROUP;
pub use quant::Quant;
pub use table::PackedTable;

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use rayon::prelude::*;

use crate::activation::Activation;
use crate::error::{KernelError, Result, product};
use crate::pool::Block;
use crate::simd::{LANES, Simd};
use crate::view::{Precision, Source};
use narrow::{narrow, narrow_f16};
use staged::Staged;

/// How packed weights are stored. Never wider than what the file held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Storage {
    /// f32.
    F32,
    /// f16, widened to f32 panel by panel as it is used.
    F16,
    /// bf16, multiplied as such or widened to f32 panel by panel.
    Bf16,
    /// Signed bytes and an f16 factor for 32 of them, widened panel by panel.
    Q8,
    /// Four-bit codes, an f16 factor and an f16 minimum for 32 of them, widened panel by panel.
    Q4,
}

impl Storage {
    /// Bytes of `weights` weights, a multiple of 32 of them for the last two.
    pub const fn bytes_of(self, weights: usize) -> usize {
        match self {
            Storage::F32 => weights * 4,
            Storage::F16 | Storage::Bf16 => weights * 2,
            Storage::Q8 => weights / 16 * 17,
            Storage::Q4 => weights / 8 * 5,
        }
    }

    /// The storage for weights of this kind, computed with at this precision.
    pub fn of(source: &Source<'_>, precision: Precision) -> Storage {
        match (precision, source) {
            (_, Source::Quant(q, _)) => q.storage(),
            (_, Source::Stored(stored)) => match stored.like() {
                // One that is stored elsewhere again would be nobody's.
                Source::Stored(_) => Storage::F32,
                like => Storage::of(&like, precision),
            },
            (Precision::Bf16, _) | (_, Source::Bf16(_)) => Storage::Bf16,
            (Precision::F32, Source::F32(_)) => Storage::F32,
            (Precision::F32, Source::F16(_)) => Storage::F16,
        }
    }
}

/// The packed matrix of a linear layer or a convolution.
#[derive(Debug)]
pub(crate) struct Packed {
    block: Block,
    pub(crate) storage: Storage,
    /// Input channels.
    pub(crate) k: usize,
    /// Kernel positions: 1 for a linear layer.
    pub(crate) taps: usize,
    /// Rows of the weight: outputs, twice that for a gated layer.
    pub(crate) rows: usize,
    /// The activation of the gate half, of a gated layer.
    pub(crate) glu: Option<Activation>,
    pub(crate) bias: Option<Vec<f32>>,
    pub(crate) precision: Precision,
}

/// What decides the size of a packing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dims {
    pub(crate) k: usize,
    pub(crate) taps: usize,
    pub(crate) rows: usize,
    pub(crate) gated: bool,
    pub(crate) storage: Storage,
}

impl Dims {
    fn panels(&self) -> usize {
        if self.gated { (self.rows / 2).div_ceil(LANES / 2) } else { self.rows.div_ceil(LANES) }
    }

    /// Channels as stored: pairs round up.
    fn k_stored(&self) -> usize {
        if self.storage == Storage::Bf16 { self.k.next_multiple_of(2) } else { self.k }
    }

    pub(crate) fn bytes(&self, op: &'static str) -> Result<usize> {
        // The wider check first: what follows cannot overflow after it.
        product(op, &[self.panels(), self.taps, self.k_stored(), LANES, 4])?;
        Ok(self.storage.bytes_of(self.panels() * self.taps * self.k_stored() * LANES))
    }

    /// What these bytes take from the system.
    fn held(&self, op: &'static str) -> Result<usize> {
        Ok(Block::held_for(self.bytes(op)?.max(64)))
    }
}

impl Packed {
    /// `at(row)` gives the tensor that holds weight row `row`, and the index of that row's first element in it.
    /// Element (row, channel, tap) is `channel * taps + tap` further: torch's order for both kinds of layer.
    pub(crate) fn new<'a>(
        op: &'static str,
        dims: Dims,
        glu: Option<Activation>,
        bias: Option<Vec<f32>>,
        precision: Precision,
        at: impl Fn(usize) -> (Source<'a>, usize) + Sync,
    ) -> Result<Packed> {
        let bytes = dims.bytes(op)?;
        let block = Block::for_weights(bytes.max(64)).ok_or(KernelError::OutOfMemory {
            requested: bytes,
            live: 0,
            limit: None,
        })?;
        let packed = Packed {
            block,
            storage: dims.storage,
            k: dims.k,
            taps: dims.taps,
            rows: dims.rows,
            glu,
            bias,
            precision,
        };
        let panel_bytes = dims.storage.bytes_of(dims.taps * dims.k_stored() * LANES);
        if panel_bytes == 0 {
            return Ok(packed);
        }
        // SAFETY: the block holds `panels * panel_bytes` bytes, and nothing else refers to it yet. They may hold what other
        // weights left: every byte of a panel is written below.
        let all =
            unsafe { std::slice::from_raw_parts_mut(packed.block.ptr(), packed.panels() * panel_bytes) };
        all.par_chunks_mut(panel_bytes).enumerate().try_for_each_init(
            Staged::default,
            |staged, (panel, bytes)| {
                // By every worker for its own part: the system zeroes pages, which takes as long as packing does.
                packed.block.populate(panel * panel_bytes..(panel + 1) * panel_bytes);
                staged.read(op, &packed, panel, &at)?;
                let at = |row: usize| staged.at(row).unwrap_or_else(|| at(row));
                // SAFETY: chunks start at multiples of 64 bytes of an aligned block, and any bits are a value.
                unsafe {
                    match dims.storage {
                        Storage::F32 => packed.fill::<f32>(panel, cast(bytes), &at),
                        Storage::F16 => packed.fill::<f16>(panel, cast(bytes), &at),
                        Storage::Bf16 => packed.fill::<bf16>(panel, cast(bytes), &at),
                        Storage::Q8 | Storage::Q4 => {
                            // Codes are put into their halves of a byte, and lanes that pad the last panel are not written.
                            bytes.fill(0);
                            quant::fill(dims.storage, dims.k, bytes, |lane| {
                                match at(packed.row_of(panel, lane)?) {
                                    (Source::Quant(q, blocks), base) => Some((q, blocks, base / GROUP)),
                                    // `PackedLinear::new` chooses these storages for blocks alone.
                                    _ => None,
                                }
                            });
                        }
                    }
                }
                Ok(())
            },
        )?;
        Ok(packed)
    }

    /// A strip of channels at a time: its 32 rows are read in the file's order into a buffer that stays in the
    /// first-level cache, then written in the panel's order. Both ends of memory are walked forwards. Every value of
    /// `out` is written: zeros for lanes that pad the last panel, and for the other half of a last odd channel.
    fn fill<'a, T: Element>(
        &self,
        panel: usize,
        out: &mut [T],
        at: &(impl Fn(usize) -> (Source<'a>, usize) + Sync),
    ) {
        // Two channels are neighbours when bf16 pairs them.
        let paired = self.storage == Storage::Bf16;
        let group = if paired { 2 } else { 1 };
        let k_stored = self.k.next_multiple_of(group);
        let strip = (512 / self.taps).next_multiple_of(group).max(group);
        let row_len = strip * self.taps;
        let mut rows = vec![T::default(); LANES * row_len];
        let mut columns = vec![T::default(); if self.taps > 1 { row_len * LANES } else { 0 }];
        for k0 in (0..self.k).step_by(strip) {
            let n = strip.min(self.k - k0);
            for lane in 0..LANES {
                let line = &mut rows[lane * row_len..][..row_len];
                if let Some(row) = self.row_of(panel, lane) {
                    let (source, base) = at(row);
                    T::read(source, base + k0 * self.taps, &mut line[..n * self.taps]);
                }
                // After the last channel of an odd number of them, the strip before may have left something.
                line[n * self.taps..n.next_multiple_of(group) * self.taps].fill(T::default());
            }
            let n = n.next_multiple_of(group);
            if self.taps == 1 {
                let to = &mut out[k0 * LANES..][..n * LANES];
                if paired {
                    T::turn_pairs(&rows, row_len, n, to)
                } else {
                    T::turn(&rows, row_len, n, to)
                }
                continue;
            }
            T::turn(&rows, row_len, n * self.taps, &mut columns);
            for tap in 0..self.taps {
                let column = |k: usize| &columns[(k * self.taps + tap) * LANES..][..LANES];
                for k in (0..n).step_by(group) {
                    let to = &mut out[(tap * k_stored + k0 + k) * LANES..][..group * LANES];
                    if paired {
                        for ((to, a), b) in to.chunks_exact_mut(2).zip(column(k)).zip(column(k + 1)) {
                            (to[0], to[1]) = (*a, *b);
                        }
                    } else {
                        to.copy_from_slice(column(k));
                    }
                }
            }
        }
    }

    /// The weight row of a lane of a panel; none for a lane that pads the last panel.
    fn row_of(&self, panel: usize, lane: usize) -> Option<usize> {
        if self.glu.is_some() {
            let (half, n) = (LANES / 2, self.rows / 2);
            let o = panel * half + lane % half;
            (o < n).then_some(if lane < half { o } else { n + o })
        } else {
            let o = panel * LANES + lane;
            (o < self.rows).then_some(o)
        }
    }

    /// Columns of the result.
    pub(crate) fn outputs(&self) -> usize {
        if self.glu.is_some() { self.rows / 2 } else { self.rows }
    }

    pub(crate) fn panels(&self) -> usize {
        if self.glu.is_some() { self.outputs().div_ceil(LANES / 2) } else { self.outputs().div_ceil(LANES) }
    }

    /// Elements (f32, f16, or pairs of bf16) of one tap of a panel, over 32.
    pub(crate) fn units(&self) -> usize {
        if self.storage == Storage::Bf16 { self.k.div_ceil(2) } else { self.k }
    }

    pub(crate) fn ptr(&self) -> *const u8 {
        self.block.ptr()
    }

    /// The weights of one input channel at one tap, for the lanes from `lane` on, as f32.
    ///
    /// # Safety
    /// The panel, tap, channel and lanes must exist.
    #[inline(always)]
    pub(crate) unsafe fn load<S: Simd>(
        &self,
        s: S,
        panel: usize,
        tap: usize,
        channel: usize,
        lane: usize,
    ) -> S::V {
        let row = panel * self.taps + tap;
        // SAFETY: the caller's promise; offsets follow the layouts at the top of this file and of `quant`.
        unsafe {
            match self.storage {
                Storage::F32 => s.load(self.ptr().cast::<f32>().add((row * self.k + channel) * LANES + lane)),
                Storage::F16 => {
                    s.load_f16(self.ptr().cast::<u16>().add((row * self.k + channel) * LANES + lane))
                }
                Storage::Bf16 => {
                    let pair = row * self.units() + channel / 2;
                    let (lo, hi) = s.load_pairs(self.ptr().cast::<u32>().add(pair * LANES + lane));
                    if channel.is_multiple_of(2) { lo } else { hi }
                }
                Storage::Q8 => {
                    let panel = self.ptr().add(self.storage.bytes_of(row * self.k * LANES));
                    let factors = panel.add(self.k * LANES).cast::<u16>();
                    let factor = s.load_f16(factors.add(channel / GROUP * LANES + lane));
                    s.mul(s.load_i8(panel.add(channel * LANES + lane).cast()), factor)
                }
                Storage::Q4 => {
                    let panel = self.ptr().add(self.storage.bytes_of(row * self.k * LANES));
                    let factors = panel.add(self.k * LANES / 2).cast::<u16>();
                    let minima = factors.add(self.k / GROUP * LANES);
                    let at = channel / GROUP * LANES + lane;
                    let codes = s.load_u4(panel.add(channel / 2 * LANES + lane), channel % 2 * 4);
                    s.fma(codes, s.load_f16(factors.add(at)), s.load_f16(minima.add(at)))
                }
            }
        }
    }

    /// Bytes held, bias included.
    pub(crate) fn bytes(&self) -> usize {
        Block::held_for(self.block.bytes()) + self.bias.as_ref().map_or(0, |b| b.len() * 4)
    }
}

/// Reinterprets the bytes of a panel.
///
/// # Safety
/// `bytes` must be aligned for `T`, and any bit pattern must be a `T`.
unsafe fn cast<T>(bytes: &mut [u8]) -> &mut [T] {
    // SAFETY: alignment and validity are the caller's; the length is rounded down.
    unsafe {
        std::slice::from_raw_parts_mut(bytes.as_mut_ptr().cast(), bytes.len() / std::mem::size_of::<T>())
    }
}

/// The bits of values.
fn words(values: &[f32]) -> &[u32] {
    // SAFETY: f32 and u32 are of one size and alignment, and any bits are a value of either.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), values.len()) }
}

/// The bits of values, to write.
fn words_mut(values: &mut [f32]) -> &mut [u32] {
    // SAFETY: as in `words`.
    unsafe { std::slice::from_raw_parts_mut(values.as_mut_ptr().cast(), values.len()) }
}

/// What weights are stored as.
trait Element: Copy + Default {
    /// Reads values from element `from` on.
    fn read(source: Source<'_>, from: usize, to: &mut [Self]);

    /// Rows as columns of 32 lanes: see [`turn`].
    fn turn(rows: &[Self], row_len: usize, columns: usize, to: &mut [Self]);

    /// The same for pairs of neighbours in a row, which stay neighbours; `columns` and `row_len` are even.
    fn turn_pairs(rows: &[Self], row_len: usize, columns: usize, to: &mut [Self]) {
        // Only bf16 is paired.
        let _ = (rows, row_len, columns, to);
    }
}

impl Element for f32 {
    fn turn(rows: &[f32], row_len: usize, columns: usize, to: &mut [f32]) {
        turn::turn32(words(rows), row_len, columns, words_mut(to));
    }

    fn read(source: Source<'_>, from: usize, to: &mut [f32]) {
        let range = from..from + to.len();
        match source {
            Source::F32(s) => to.copy_from_slice(&s[range]),
            Source::F16(s) => s[range].convert_to_f32_slice(to),
            Source::Bf16(s) => s[range].convert_to_f32_slice(to),
            // Rows that are stored elsewhere were read before.
            Source::Stored(_) => to.fill(0.0),
            Source::Quant(q, blocks) => {
                for (i, to) in to.chunks_mut(GROUP).enumerate() {
                    let values = quant::group(q, blocks, from / GROUP + i).values();
                    to.copy_from_slice(&values[..to.len()]);
                }
            }
        }
    }
}

impl Element for f16 {
    fn turn(rows: &[f16], row_len: usize, columns: usize, to: &mut [f16]) {
        turn::turn16(rows.reinterpret_cast(), row_len, columns, to.reinterpret_cast_mut());
    }

    fn read(source: Source<'_>, from: usize, to: &mut [f16]) {
        let range = from..from + to.len();
        match source {
            Source::F32(s) => to.convert_from_f32_slice(&s[range]),
            Source::F16(s) => to.copy_from_slice(&s[range]),
            Source::Bf16(_) | Source::Quant(..) | Source::Stored(_) => {
                in_f32(source, from, to, |wide, to| to.convert_from_f32_slice(wide));
            }
        }
    }
}

impl Element for bf16 {
    fn turn(rows: &[bf16], row_len: usize, columns: usize, to: &mut [bf16]) {
        turn::turn16(rows.reinterpret_cast(), row_len, columns, to.reinterpret_cast_mut());
    }

    fn turn_pairs(rows: &[bf16], row_len: usize, columns: usize, to: &mut [bf16]) {
        turn::turn16_pairs(rows.reinterpret_cast(), row_len, columns, to.reinterpret_cast_mut());
    }

    fn read(source: Source<'_>, from: usize, to: &mut [bf16]) {
        let range = from..from + to.len();
        match source {
            Source::F32(s) => narrow(&s[range], to),
            Source::Bf16(s) => to.copy_from_slice(&s[range]),
            Source::F16(s) if narrow_f16(&s[range.clone()], to) => {}
            Source::F16(_) | Source::Quant(..) | Source::Stored(_) => in_f32(source, from, to, narrow),
        }
    }
}

/// Reads through f32, a few values at a time.
fn in_f32<T>(source: Source<'_>, from: usize, to: &mut [T], put: impl Fn(&[f32], &mut [T])) {
    const FEW: usize = 256;
    let mut wide = [0f32; FEW];
    for (i, to) in to.chunks_mut(FEW).enumerate() {
        let wide = &mut wide[..to.len()];
        f32::read(source, from + i * FEW, wide);
        put(wide, to);
    }
}
