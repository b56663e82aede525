//! From what a pickle has built to named tensors.

use std::path::Path;

use indexmap::IndexMap;

use super::machine::{Machine, Refusal, Value};
use super::{FORMAT, Storages};
use crate::error::TensorDefect;
use crate::file::{Metadata, TensorInfo, count, to_usize};
use crate::{Result, WeightError};

/// Containers in containers, in any file that people use.
const MAX_DEPTH: usize = 8;

/// Values to look at: a container that holds another one many times over is looked into as often.
const MAX_VALUES: usize = 4 << 20;

pub(super) fn refused(path: &Path, refusal: Refusal) -> WeightError {
    match refusal {
        Refusal::Unsafe(detail) => WeightError::UnsafePickle { file: path.to_owned(), detail },
        Refusal::Broken(detail) => WeightError::broken(path, FORMAT, detail),
    }
}

/// Every tensor under its name, and the plain values of the outermost dictionary.
pub(super) fn collect(
    path: &Path,
    machine: &Machine,
    root: &Value,
    storages: &Storages,
) -> Result<(IndexMap<String, TensorInfo>, Metadata)> {
    let mut metadata = Metadata::new();
    let mut start = root;
    if let Value::Dictionary(at) = root {
        let items = &machine.dictionaries[*at];
        for (key, value) in items {
            if let (Some(key), Some(text)) = (key_text(key), plain_text(value)) {
                metadata.insert(key, text);
            }
        }
        // What training programs save has the weights in one of its entries.
        let state = items.iter().find(|(key, _)| key_text(key).as_deref() == Some("state_dict"));
        match (state, &items[..]) {
            (Some((_, inner @ Value::Dictionary(_))), _) => start = inner,
            (None, [(_, inner @ Value::Dictionary(_))]) => start = inner,
            _ => {}
        }
    }
    let mut found = IndexMap::new();
    let mut left = MAX_VALUES;
    let mut open = vec![(String::new(), start.clone(), 0)];
    while let Some((name, value, depth)) = open.pop() {
        left = left.checked_sub(1).ok_or_else(|| {
            let what = "the number of values in its pickle".to_owned();
            let (found, cap) = (MAX_VALUES as u64 + 1, MAX_VALUES as u64);
            WeightError::OverLimit { file: path.to_owned(), what, found, cap }
        })?;
        let inner = |key: String| if name.is_empty() { key } else { format!("{name}.{key}") };
        match value {
            Value::Tensor(at) => {
                let info =
                    describe(machine, at, storages).map_err(|d| WeightError::tensor(path, &name, d))?;
                found.entry(name).or_insert(info);
            }
            Value::Dictionary(at) if depth < MAX_DEPTH => {
                for (key, value) in machine.dictionaries[at].iter().rev() {
                    if let Some(key) = key_text(key) {
                        open.push((inner(key), value.clone(), depth + 1));
                    }
                }
            }
            Value::Sequence(at) if depth < MAX_DEPTH => {
                for (i, value) in machine.sequences[at].iter().enumerate().rev() {
                    open.push((inner(i.to_string()), value.clone(), depth + 1));
                }
            }
            _ => {}
        }
    }
    Ok((found, metadata))
}

fn key_text(key: &Value) -> Option<String> {
    match key {
        Value::Text(text) => Some(text.to_string()),
        Value::Int(n) => Some(n.to_string()),
        _ => None,
    }
}

fn plain_text(value: &Value) -> Option<String> {
    match value {
        Value::Text(text) => Some(text.to_string()),
        Value::Int(n) => Some(n.to_string()),
        Value::Float(n) => Some(n.to_string()),
        Value::Bool(b) => Some(b.to_string()),
        _ => None,
    }
}

/// Where a tensor lies in the file: its storage is there and holds all that its shape asks for.
fn describe(machine: &Machine, tensor: usize, storages: &Storages) -> Result<TensorInfo, TensorDefect> {
    let tensor = &machine.tensors[tensor];
    let storage = &machine.storages[tensor.storage];
    let other = |said: String| TensorDefect::Other(said);
    if tensor.shape.len() != tensor.strides.len() {
        return Err(other(format!(
            "it has {} dimensions and {} strides",
            tensor.shape.len(),
            tensor.strides.len()
        )));
    }
    let overflow = || TensorDefect::SizeOverflow(tensor.shape.clone());
    let len = count(&tensor.shape).ok_or_else(overflow)?;
    let bytes = tensor.dtype.bytes_of(len).ok_or_else(overflow)?;
    let (start, available) = *storages
        .get(&*storage.key)
        .ok_or_else(|| other(format!("its storage '{}' is not in the file", storage.key)))?;
    let size = tensor.dtype.block_bytes() as u64;

    let contiguous = is_contiguous(&tensor.shape, &tensor.strides);
    // The values from the first to the last, which may be more than there are values, or fewer.
    let span = if len == 0 {
        0
    } else {
        let last = tensor
            .shape
            .iter()
            .zip(&tensor.strides)
            .try_fold(0u64, |sum, (d, s)| sum.checked_add((d - 1).checked_mul(*s)?));
        last.and_then(|last| last.checked_add(1)).ok_or_else(overflow)?
    };
    let end = tensor.offset.checked_add(span).and_then(|n| n.checked_mul(size)).ok_or_else(overflow)?;
    if end > available {
        return Err(TensorDefect::OutOfRange { end, available });
    }
    // A view that repeats values could ask for any number of them.
    if !contiguous && len > span {
        return Err(other(format!("its strides {:?} repeat values", tensor.strides)));
    }
    let strides = if contiguous { None } else { Some(to_usize(&tensor.strides)?) };
    let offset = start + tensor.offset * size;
    Ok(TensorInfo { dtype: tensor.dtype, shape: to_usize(&tensor.shape)?, offset, bytes, strides })
}

fn is_contiguous(shape: &[u64], strides: &[u64]) -> bool {
    let mut expected = 1u64;
    for (d, s) in shape.iter().zip(strides).rev() {
        if *d != 1 && *s != expected {
            return shape.contains(&0);
        }
        expected = expected.saturating_mul(*d);
    }
    true
}
