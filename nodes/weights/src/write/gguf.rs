//! GGUF files, version 3.

use std::collections::HashSet;
use std::io::Write;
use std::path::Path;

use super::{TensorSpec, whole};
use crate::error::TensorDefect;
use crate::{Metadata, Result, WeightError};

const ALIGNMENT: u64 = 32;

/// GGUF's number for text.
const STRING: u32 = 8;

/// Writes a GGUF file, its metadata as text. `fill` writes the bytes of each tensor, in the order
/// of `tensors`.
///
/// # Errors
/// Where a tensor is of a type that ggml does not have, has more than four dimensions or is
/// described twice, `fill` fails or writes another number of bytes, or the disk is full. There is
/// no file then.
pub fn write_gguf(
    path: &Path,
    metadata: &Metadata,
    tensors: &[TensorSpec],
    mut fill: impl FnMut(&TensorSpec, &mut dyn Write) -> Result<()>,
) -> Result<()> {
    let mut header = b"GGUF\x03\0\0\0".to_vec();
    header.extend((tensors.len() as u64).to_le_bytes());
    header.extend((metadata.len() as u64).to_le_bytes());
    for (key, value) in metadata {
        string(&mut header, key);
        header.extend(STRING.to_le_bytes());
        string(&mut header, value);
    }
    let mut offset = 0u64;
    let mut names = HashSet::new();
    for spec in tensors {
        let fail = |said: String| WeightError::tensor(path, &spec.name, TensorDefect::Other(said));
        let number =
            spec.dtype.to_ggml().ok_or_else(|| fail(format!("GGUF files cannot hold {}", spec.dtype)))?;
        if spec.shape.len() > 4 {
            return Err(fail(format!("GGUF files cannot hold {} dimensions; at most 4", spec.shape.len())));
        }
        let (row, block) = (spec.shape.last().copied().unwrap_or(1) as u64, spec.dtype.block_len() as u64);
        if !row.is_multiple_of(block) {
            let defect = TensorDefect::PartialBlock { dtype: spec.dtype, row, block };
            return Err(WeightError::tensor(path, &spec.name, defect));
        }
        if !names.insert(&spec.name) {
            return Err(WeightError::tensor(path, &spec.name, TensorDefect::Duplicate));
        }
        string(&mut header, &spec.name);
        header.extend((spec.shape.len() as u32).to_le_bytes());
        for d in spec.shape.iter().rev() {
            header.extend((*d as u64).to_le_bytes());
        }
        header.extend(number.to_le_bytes());
        header.extend(offset.to_le_bytes());
        offset += spec.bytes(path)?.next_multiple_of(ALIGNMENT);
    }
    whole(path, |out| {
        out.put(path, &header)?;
        out.align(path, ALIGNMENT)?;
        for spec in tensors {
            out.tensor(path, spec, &mut fill)?;
            out.align(path, ALIGNMENT)?;
        }
        Ok(())
    })
}

fn string(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}
