//! Safetensors files.

use std::io::Write;
use std::path::Path;

use serde_json::{Map, json};

use super::{TensorSpec, whole};
use crate::error::TensorDefect;
use crate::{Metadata, Result, WeightError};

/// Writes a safetensors file. `fill` writes the bytes of each tensor, in the order of `tensors`.
///
/// # Errors
/// Where a tensor is quantised (the format has no such types) or described twice, `fill` fails or
/// writes another number of bytes, or the disk is full. There is no file then.
pub fn write_safetensors(
    path: &Path,
    metadata: &Metadata,
    tensors: &[TensorSpec],
    mut fill: impl FnMut(&TensorSpec, &mut dyn Write) -> Result<()>,
) -> Result<()> {
    let mut header = Map::new();
    if !metadata.is_empty() {
        header.insert("__metadata__".to_owned(), json!(metadata));
    }
    let mut begin = 0;
    for spec in tensors {
        let fail = |defect| WeightError::tensor(path, &spec.name, defect);
        if spec.dtype.is_quantised() {
            let said = format!("safetensors files cannot hold {}; write a GGUF file", spec.dtype);
            return Err(fail(TensorDefect::Other(said)));
        }
        let end = begin + spec.bytes(path)?;
        let entry = json!({"dtype": spec.dtype.name(), "shape": spec.shape, "data_offsets": [begin, end]});
        if header.insert(spec.name.clone(), entry).is_some() {
            return Err(fail(TensorDefect::Duplicate));
        }
        begin = end;
    }
    let mut text = serde_json::Value::Object(header).to_string().into_bytes();
    // Values begin on a multiple of eight, as the reference writer puts them.
    text.resize(text.len().next_multiple_of(8), b' ');
    whole(path, |out| {
        out.put(path, &(text.len() as u64).to_le_bytes())?;
        out.put(path, &text)?;
        tensors.iter().try_for_each(|spec| out.tensor(path, spec, &mut fill))
    })
}
