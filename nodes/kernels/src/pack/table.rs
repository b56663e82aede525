//! Rows that are looked up, as their file holds them.

use half::{bf16, f16};
use rayon::prelude::*;

use super::cast;
use crate::error::{KernelError, Result};
use crate::pool::Block;
use crate::view::{Rows, Source, Stored};

/// Values read at a time by a worker.
const PART: usize = 1 << 18;

/// Values in memory in the type and the order of their file, such as a table of token embeddings.
#[derive(Debug)]
pub struct PackedTable {
    block: Block,
    len: usize,
    like: Source<'static>,
}

/// Bytes of a value that is read as this.
fn size(like: &Source<'_>) -> usize {
    if matches!(like, Source::F32(_)) { 4 } else { 2 }
}

impl PackedTable {
    /// Reads all values of a stored tensor.
    ///
    /// # Errors
    /// Where there is no memory, or reading fails.
    pub fn new(stored: &dyn Stored) -> Result<Self> {
        let (len, like) = (stored.len(), stored.like());
        let bytes = len.saturating_mul(size(&like));
        let block = Block::for_weights(bytes.max(64));
        let block = block.ok_or(KernelError::OutOfMemory { requested: bytes, live: 0, limit: None })?;
        // SAFETY: the block holds as many bytes, and nothing else refers to it yet.
        let all = unsafe { std::slice::from_raw_parts_mut(block.ptr(), bytes) };
        let part = PART * size(&like);
        all.par_chunks_mut(part).enumerate().try_for_each(|(i, bytes)| {
            block.populate(i * part..i * part + bytes.len());
            // SAFETY: parts begin at multiples of 64 bytes of an aligned block, and any bits are a value.
            let done = unsafe {
                match like {
                    Source::F16(_) => stored.read(i * PART, Rows::F16(cast::<f16>(bytes))),
                    Source::Bf16(_) => stored.read(i * PART, Rows::Bf16(cast::<bf16>(bytes))),
                    _ => stored.read(i * PART, Rows::F32(cast::<f32>(bytes))),
                }
            };
            done.map_err(|reason| KernelError::Unsupported { op: "PackedTable", reason })
        })?;
        Ok(Self { block, len, like })
    }

    /// The values.
    pub fn values(&self) -> Source<'_> {
        // SAFETY: the block holds `len` values of this type, all of which were written, aligned to 64 bytes.
        unsafe {
            match self.like {
                Source::F16(_) => Source::F16(std::slice::from_raw_parts(self.block.ptr().cast(), self.len)),
                Source::Bf16(_) => {
                    Source::Bf16(std::slice::from_raw_parts(self.block.ptr().cast(), self.len))
                }
                _ => Source::F32(std::slice::from_raw_parts(self.block.ptr().cast(), self.len)),
            }
        }
    }

    /// Bytes that a table of so many bytes of values holds.
    pub fn bytes_for(bytes: usize) -> usize {
        Block::held_for(bytes.max(64))
    }
}
