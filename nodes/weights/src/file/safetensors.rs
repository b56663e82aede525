//! The safetensors header: eight bytes of length, a JSON object, then values without gaps.
//!
//! Format: <https://huggingface.co/docs/safetensors/index#format>. Everything that the format
//! forbids is refused here, before any allocation that follows the file's own numbers.

use std::fmt;
use std::path::Path;

use indexmap::IndexMap;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use sha2::{Digest, Sha256};

use super::{Backing, Header, Metadata, TensorInfo};
use crate::error::TensorDefect;
use crate::{DType, Result, WeightError};

/// The reference implementation's own limit; the largest checkpoints stay below 2 MB.
const MAX_HEADER: u64 = 100_000_000;

const FORMAT: &str = "safetensors";

/// A header as it stands, before any of it is believed.
struct Raw {
    metadata: Metadata,
    tensors: Vec<(String, RawTensor)>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTensor {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Raw;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensors")
            }

            // By hand and not into a map, so that a name that stands twice is seen.
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
                let mut raw = Raw { metadata: Metadata::new(), tensors: Vec::new() };
                while let Some(key) = map.next_key::<String>()? {
                    if key == "__metadata__" {
                        // Some writers put null there.
                        raw.metadata = map.next_value::<Option<Metadata>>()?.unwrap_or_default();
                    } else {
                        raw.tensors.push((key, map.next_value()?));
                    }
                }
                Ok(raw)
            }
        }
        d.deserialize_map(Entries)
    }
}

pub(super) fn read(path: &Path, backing: &Backing) -> Result<Header> {
    let mut length = [0u8; 8];
    backing.read_at(path, 0, &mut length, "the header's length")?;
    let length = u64::from_le_bytes(length);
    if length > MAX_HEADER {
        return Err(WeightError::OverLimit {
            file: path.to_owned(),
            what: "the length of its safetensors header".to_owned(),
            found: length,
            cap: MAX_HEADER,
        });
    }
    let data_start = 8 + length;
    if data_start > backing.len() {
        return Err(WeightError::CutShort {
            file: path.to_owned(),
            what: "the safetensors header".to_owned(),
            expected: data_start,
            found: backing.len(),
        });
    }
    // At most MAX_HEADER, and the file is that long.
    let mut text = vec![0u8; usize::try_from(length).unwrap_or(0)];
    backing.read_at(path, 8, &mut text, "the safetensors header")?;
    let text = std::str::from_utf8(&text).map_err(|e| {
        WeightError::broken(path, FORMAT, format!("not UTF-8 at byte {} of the header", e.valid_up_to()))
    })?;
    let raw: Raw =
        serde_json::from_str(text).map_err(|e| WeightError::broken(path, FORMAT, e.to_string()))?;

    let available = backing.len() - data_start;
    let mut tensors = IndexMap::with_capacity(raw.tensors.len());
    for (name, tensor) in raw.tensors {
        let info = check(&tensor, available, data_start).map_err(|d| WeightError::tensor(path, &name, d))?;
        if tensors.contains_key(&name) {
            return Err(WeightError::tensor(path, &name, TensorDefect::Duplicate));
        }
        tensors.insert(name, info);
    }
    check_layout(path, &tensors, data_start, backing.len())?;
    let hash = Sha256::digest(text.as_bytes()).into();
    Ok(Header { tensors, metadata: raw.metadata, arrays: Default::default(), hash })
}

/// One tensor for itself: type, shape and bytes agree and lie in the file.
fn check(tensor: &RawTensor, available: u64, data_start: u64) -> Result<TensorInfo, TensorDefect> {
    let dtype = DType::from_safetensors(&tensor.dtype)
        .ok_or_else(|| TensorDefect::UnknownDtype(tensor.dtype.clone()))?;
    let (begin, end) = tensor.data_offsets;
    if begin > end {
        return Err(TensorDefect::Backwards { begin, end });
    }
    if end > available {
        return Err(TensorDefect::OutOfRange { end, available });
    }
    let expected = super::count(&tensor.shape)
        .and_then(|n| dtype.bytes_of(n))
        .ok_or_else(|| TensorDefect::SizeOverflow(tensor.shape.clone()))?;
    if expected != end - begin {
        let shape = tensor.shape.clone();
        return Err(TensorDefect::SizeMismatch { dtype, shape, expected, found: end - begin });
    }
    let shape = super::to_usize(&tensor.shape)?;
    Ok(TensorInfo { dtype, shape, offset: data_start + begin, bytes: expected, strides: None })
}

/// All tensors together: they fill the data from its first byte to its last, each byte once.
fn check_layout(path: &Path, tensors: &IndexMap<String, TensorInfo>, start: u64, end: u64) -> Result<()> {
    let mut order: Vec<(&String, &TensorInfo)> = tensors.iter().collect();
    order.sort_by_key(|(_, t)| (t.offset, t.bytes));
    let mut at = start;
    let mut previous = "";
    for (name, tensor) in order {
        if tensor.offset < at {
            let defect = TensorDefect::Overlap {
                begin: tensor.offset - start,
                other: previous.to_owned(),
                end: at - start,
            };
            return Err(WeightError::tensor(path, name, defect));
        }
        if tensor.offset > at {
            return Err(WeightError::tensor(path, name, TensorDefect::Gap { bytes: tensor.offset - at }));
        }
        at = tensor.offset + tensor.bytes;
        previous = name;
    }
    if at < end {
        return Err(WeightError::TrailingBytes { file: path.to_owned(), end: at, extra: end - at });
    }
    Ok(())
}
