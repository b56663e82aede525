//! Weights that files hold in blocks of small integers, kept that way.
//!
//! Blocks of 32 weights along a row share a factor and perhaps a minimum: `weight = factor * code + minimum`. In a
//! panel the codes lie `[channel][32]` (two channels a byte when they have four bits), then the factors
//! `[channel / 32][32]` in f16, then the minima. They are widened chunk by chunk as they are used, which 256 rows
//! share: for half or a third of bf16's bytes.

use half::f16;

use super::Storage;
use crate::error::{Result, unsupported};
use crate::simd::LANES;

/// ggml's block types that can be packed as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Quant {
    /// 32 weights: a factor and 32 signed bytes.
    Q8_0,
    /// 32 weights: a factor and 32 four-bit codes about 8.
    Q4_0,
    /// 32 weights: a factor, a minimum and 32 four-bit codes.
    Q4_1,
    /// 256 weights: eight groups of 32 four-bit codes, whose factors and minima have six bits of a common one.
    Q4K,
}

impl Quant {
    /// Weights of a block.
    pub const fn block_len(self) -> usize {
        match self {
            Quant::Q4K => 256,
            _ => GROUP,
        }
    }

    /// Bytes of a block.
    pub const fn block_bytes(self) -> usize {
        match self {
            Quant::Q8_0 => 34,
            Quant::Q4_0 => 18,
            Quant::Q4_1 => 20,
            Quant::Q4K => 144,
        }
    }

    /// How a layer of such weights alone is stored.
    pub(crate) const fn storage(self) -> Storage {
        match self {
            Quant::Q8_0 => Storage::Q8,
            _ => Storage::Q4,
        }
    }
}

/// Weights that share a factor.
pub(crate) const GROUP: usize = 32;

/// A group of 32 weights.
#[derive(Clone, Copy)]
pub(super) struct Group {
    pub(super) codes: [i8; GROUP],
    pub(super) factor: f32,
    pub(super) minimum: f32,
}

impl Group {
    /// The weights.
    pub(super) fn values(&self) -> [f32; GROUP] {
        self.codes.map(|c| self.factor * f32::from(c) + self.minimum)
    }
}

/// Group `index` of the blocks `bytes`, which hold it.
pub(super) fn group(quant: Quant, bytes: &[u8], index: usize) -> Group {
    let groups = quant.block_len() / GROUP;
    let block = &bytes[index / groups * quant.block_bytes()..][..quant.block_bytes()];
    let half = |at: usize| f16::from_le_bytes([block[at], block[at + 1]]).to_f32();
    let mut codes = [0i8; GROUP];
    match quant {
        Quant::Q8_0 => {
            for (c, b) in codes.iter_mut().zip(&block[2..]) {
                *c = *b as i8;
            }
            Group { codes, factor: half(0), minimum: 0.0 }
        }
        Quant::Q4_0 | Quant::Q4_1 => {
            let nibbles = &block[quant.block_bytes() - 16..];
            for (i, b) in nibbles.iter().enumerate() {
                (codes[i], codes[i + 16]) = ((b & 15) as i8, (b >> 4) as i8);
            }
            let factor = half(0);
            let minimum = if quant == Quant::Q4_0 { -8.0 * factor } else { half(2) };
            Group { codes, factor, minimum }
        }
        Quant::Q4K => {
            let g = index % groups;
            let s = &block[4..16];
            let (scale, least) = if g < 4 {
                (s[g] & 63, s[g + 4] & 63)
            } else {
                ((s[g + 4] & 15) | (s[g - 4] >> 6) << 4, (s[g + 4] >> 4) | (s[g] >> 6) << 4)
            };
            let nibbles = &block[16 + g / 2 * 32..][..32];
            for (c, b) in codes.iter_mut().zip(nibbles) {
                *c = (if g.is_multiple_of(2) { b & 15 } else { b >> 4 }) as i8;
            }
            Group { codes, factor: half(0) * f32::from(scale), minimum: -half(2) * f32::from(least) }
        }
    }
}

/// Fills a panel: `row(lane)` gives the blocks of a lane's row and the index of its first group.
pub(super) fn fill<'a>(
    storage: Storage,
    k: usize,
    panel: &mut [u8],
    row: impl Fn(usize) -> Option<(Quant, &'a [u8], usize)>,
) {
    let groups = k / GROUP;
    let code_bytes = if storage == Storage::Q8 { k * LANES } else { k * LANES / 2 };
    let (codes, scales) = panel.split_at_mut(code_bytes);
    for lane in 0..LANES {
        let Some((quant, bytes, first)) = row(lane) else { continue };
        for g in 0..groups {
            let group = group(quant, bytes, first + g);
            for (i, &code) in group.codes.iter().enumerate() {
                let channel = g * GROUP + i;
                if storage == Storage::Q8 {
                    codes[channel * LANES + lane] = code as u8;
                } else {
                    codes[channel / 2 * LANES + lane] |= (code as u8 & 15) << (channel % 2 * 4);
                }
            }
            let mut put = |at: usize, v: f32| {
                scales[at * 2..at * 2 + 2].copy_from_slice(&f16::from_f32(v).to_ne_bytes());
            };
            put(g * LANES + lane, group.factor);
            if storage == Storage::Q4 {
                put((groups + g) * LANES + lane, group.minimum);
            }
        }
    }
}

/// Checks that blocks are whole and rows of `k` weights are whole blocks.
pub(super) fn check(op: &'static str, quant: Quant, bytes: usize, k: usize) -> Result<()> {
    if !bytes.is_multiple_of(quant.block_bytes()) {
        return unsupported(op, format!("{bytes} bytes are not whole {quant:?} blocks"));
    }
    if !k.is_multiple_of(quant.block_len()) {
        return unsupported(op, format!("rows of {k} weights are not whole {quant:?} blocks"));
    }
    Ok(())
}
