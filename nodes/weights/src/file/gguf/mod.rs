//! The GGUF header: key-value pairs, tensor descriptions, then values at aligned offsets.
//!
//! Format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>. Every count is held against
//! the bytes that are left in the file before anything is allocated for it.

mod reader;

use std::collections::BTreeMap;
use std::path::Path;

use indexmap::IndexMap;

use self::reader::Reader;
use super::{Backing, Header, Metadata, TensorInfo};
use crate::error::TensorDefect;
use crate::{DType, Result, WeightError};

pub(super) const FORMAT: &str = "GGUF";

/// Larger than any vocabulary; a bound on what a hostile header can make us walk through.
const MAX_HEADER: u64 = 512 << 20;

/// ggml's own limit.
const MAX_DIMS: u32 = 4;

/// Where an array of the header lies. Vocabularies are read only when somebody asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ArrayAt {
    kind: u32,
    len: u64,
    offset: u64,
    /// Whether lengths of strings have 64 bits.
    wide: bool,
}

/// The kinds of values, by GGUF's numbers.
mod kind {
    pub(super) const U8: u32 = 0;
    pub(super) const I8: u32 = 1;
    pub(super) const U16: u32 = 2;
    pub(super) const I16: u32 = 3;
    pub(super) const U32: u32 = 4;
    pub(super) const I32: u32 = 5;
    pub(super) const F32: u32 = 6;
    pub(super) const BOOL: u32 = 7;
    pub(super) const STRING: u32 = 8;
    pub(super) const ARRAY: u32 = 9;
    pub(super) const U64: u32 = 10;
    pub(super) const I64: u32 = 11;
    pub(super) const F64: u32 = 12;
}

/// Bytes of one value of a kind; of a string, at least.
fn least_bytes(kind: u32) -> Option<u64> {
    Some(match kind {
        kind::U8 | kind::I8 | kind::BOOL => 1,
        kind::U16 | kind::I16 => 2,
        kind::U32 | kind::I32 | kind::F32 => 4,
        kind::U64 | kind::I64 | kind::F64 | kind::STRING => 8,
        _ => return None,
    })
}

pub(super) fn read(path: &Path, backing: &Backing) -> Result<Header> {
    let mut r = Reader::new(path, backing, MAX_HEADER);
    r.skip(4, "the magic number")?;
    let version = r.u32("the version")?;
    match version {
        1..=3 => r.set_wide(version > 1),
        v if v.swap_bytes() <= 3 => return Err(r.broken("a file for big-endian machines is not read")),
        v => return Err(r.broken(format!("version {v} is not known; 1 to 3 are"))),
    }
    let tensor_count = r.count("the number of tensors", 24)?;
    let pair_count = r.count("the number of metadata entries", 12)?;
    let (metadata, arrays) = pairs(&mut r, pair_count)?;
    let alignment = alignment(&r, &metadata)?;

    let mut described = Vec::new();
    for _ in 0..tensor_count {
        described.push(tensor(&mut r)?);
    }
    let data_start = r.position().next_multiple_of(alignment);
    let hash = r.hash();

    let available = backing.len().saturating_sub(data_start);
    let mut tensors = IndexMap::with_capacity(described.len());
    for (name, mut info) in described {
        let fail = |defect| WeightError::tensor(path, &name, defect);
        if !info.offset.is_multiple_of(alignment) {
            return Err(fail(TensorDefect::Misaligned { begin: info.offset, alignment }));
        }
        let end = info.offset.saturating_add(info.bytes);
        if end > available {
            return Err(fail(TensorDefect::OutOfRange { end, available }));
        }
        info.offset += data_start;
        if let Some(shape) = original_shape(path, backing, &arrays, &name)? {
            if shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d)) != Some(info.len()) {
                let said = format!(
                    "its shape {:?} does not have the values of its original shape {shape:?}",
                    info.shape
                );
                return Err(fail(TensorDefect::Other(said)));
            }
            info.shape = shape;
        }
        if tensors.contains_key(&name) {
            return Err(fail(TensorDefect::Duplicate));
        }
        tensors.insert(name, info);
    }
    check_layout(path, &tensors, data_start)?;
    Ok(Header { tensors, metadata, arrays, hash })
}

/// The metadata: plain values as text, and where arrays lie.
fn pairs(r: &mut Reader<'_>, count: u64) -> Result<(Metadata, BTreeMap<String, ArrayAt>)> {
    let mut metadata = Metadata::new();
    let mut arrays = BTreeMap::new();
    for _ in 0..count {
        let key = r.string("a metadata key")?;
        let kind = r.u32("the kind of a metadata value")?;
        if metadata.contains_key(&key) || arrays.contains_key(&key) {
            return Err(r.broken(format!("the metadata key '{key}' stands twice")));
        }
        if kind == kind::ARRAY {
            let array = skip_array(r, &key)?;
            arrays.insert(key, array);
        } else {
            let value = plain(r, kind, &key)?;
            metadata.insert(key, value);
        }
    }
    Ok((metadata, arrays))
}

fn plain(r: &mut Reader<'_>, kind: u32, key: &str) -> Result<String> {
    let what = "a metadata value";
    Ok(match kind {
        kind::U8 => r.take::<1>(what)?[0].to_string(),
        kind::I8 => i8::from_le_bytes(r.take(what)?).to_string(),
        kind::U16 => u16::from_le_bytes(r.take(what)?).to_string(),
        kind::I16 => i16::from_le_bytes(r.take(what)?).to_string(),
        kind::U32 => r.u32(what)?.to_string(),
        kind::I32 => i32::from_le_bytes(r.take(what)?).to_string(),
        kind::F32 => f32::from_le_bytes(r.take(what)?).to_string(),
        kind::BOOL => (r.take::<1>(what)?[0] != 0).to_string(),
        kind::STRING => r.string(what)?,
        kind::U64 => r.u64(what)?.to_string(),
        kind::I64 => i64::from_le_bytes(r.take(what)?).to_string(),
        kind::F64 => f64::from_le_bytes(r.take(what)?).to_string(),
        other => return Err(r.broken(format!("the metadata value '{key}' is of unknown kind {other}"))),
    })
}

fn skip_array(r: &mut Reader<'_>, key: &str) -> Result<ArrayAt> {
    let kind = r.u32("the kind of an array")?;
    let Some(least) = least_bytes(kind) else {
        return Err(r.broken(format!("the array '{key}' is of kind {kind}, which is not read")));
    };
    let len = r.count(&format!("the length of the array '{key}'"), least)?;
    let array = ArrayAt { kind, len, offset: r.position(), wide: r.wide() };
    if kind == kind::STRING {
        for _ in 0..len {
            let bytes = r.length("a string of an array")?;
            r.skip(bytes, "a string of an array")?;
        }
    } else {
        // `count` has checked that this does not overflow.
        r.skip(len * least, "an array")?;
    }
    Ok(array)
}

fn alignment(r: &Reader<'_>, metadata: &Metadata) -> Result<u64> {
    const DEFAULT: u64 = 32;
    const MAX: u64 = 1 << 16;
    let Some(text) = metadata.get("general.alignment") else { return Ok(DEFAULT) };
    match text.parse::<u64>() {
        Ok(n) if n.is_power_of_two() && n <= MAX => Ok(n),
        _ => Err(r.broken(format!("general.alignment is {text}; a power of two up to {MAX} was expected"))),
    }
}

/// One tensor's description; its offset still counts from the start of the data.
fn tensor(r: &mut Reader<'_>) -> Result<(String, TensorInfo)> {
    let name = r.string("a tensor's name")?;
    let dims = r.u32("a tensor's number of dimensions")?;
    if dims > MAX_DIMS {
        return Err(r.over_limit(
            format!("the number of dimensions of tensor '{name}'"),
            dims.into(),
            MAX_DIMS.into(),
        ));
    }
    let mut shape = Vec::new();
    for _ in 0..dims {
        shape.push(r.u64("a tensor's dimension")?);
    }
    // ggml counts from the innermost dimension.
    shape.reverse();
    let number = r.u32("a tensor's type")?;
    let offset = r.u64("a tensor's offset")?;
    let fail = |defect| WeightError::tensor(r.path(), &name, defect);
    let dtype = DType::from_ggml(number).ok_or_else(|| {
        fail(TensorDefect::UnknownDtype(format!("number {number}{}", known_elsewhere(number))))
    })?;
    let count = super::count(&shape).ok_or_else(|| fail(TensorDefect::SizeOverflow(shape.clone())))?;
    let (row, block) = (shape.last().copied().unwrap_or(1), dtype.block_len() as u64);
    if !row.is_multiple_of(block) {
        return Err(fail(TensorDefect::PartialBlock { dtype, row, block }));
    }
    let bytes = dtype.bytes_of(count).ok_or_else(|| fail(TensorDefect::SizeOverflow(shape.clone())))?;
    let shape = super::to_usize(&shape).map_err(fail)?;
    Ok((name, TensorInfo { dtype, shape, offset, bytes, strides: None }))
}

/// The names of ggml types that are not read here, for the error.
fn known_elsewhere(number: u32) -> &'static str {
    match number {
        16..=23 | 29 => " (one of the IQ types, which are not computed here; use a Q or K type)",
        34 | 35 => " (a ternary type, which is not computed here)",
        39 => " (MXFP4, which is not computed here)",
        _ => "",
    }
}

/// Tensors may leave room for alignment between them, and nothing else may overlap.
fn check_layout(path: &Path, tensors: &IndexMap<String, TensorInfo>, start: u64) -> Result<()> {
    let mut order: Vec<(&String, &TensorInfo)> = tensors.iter().filter(|(_, t)| t.bytes > 0).collect();
    order.sort_by_key(|(_, t)| t.offset);
    for pair in order.windows(2) {
        let ((other, before), (name, tensor)) = (pair[0], pair[1]);
        let end = before.offset + before.bytes;
        if tensor.offset < end {
            let begin = tensor.offset - start;
            let defect = TensorDefect::Overlap { begin, other: other.clone(), end: end - start };
            return Err(WeightError::tensor(path, name, defect));
        }
    }
    Ok(())
}

/// Converters of image models note the shape of tensors that ggml could not describe.
fn original_shape(
    path: &Path,
    backing: &Backing,
    arrays: &BTreeMap<String, ArrayAt>,
    name: &str,
) -> Result<Option<Vec<usize>>> {
    const MOST: u64 = 8;
    let Some(array) = arrays.get(&format!("comfy.gguf.orig_shape.{name}")) else { return Ok(None) };
    if array.len > MOST {
        return Ok(None);
    }
    let numbers = array.numbers(path, backing)?;
    Ok(Some(numbers.into_iter().map(|n| n as usize).collect()))
}

impl ArrayAt {
    /// The strings of an array of strings.
    pub(crate) fn strings(&self, path: &Path, backing: &Backing) -> Result<Vec<String>> {
        let mut r = Reader::at(path, backing, MAX_HEADER, self.offset);
        r.set_wide(self.wide);
        if self.kind != kind::STRING {
            return Err(r.broken("an array of strings was expected"));
        }
        (0..self.len).map(|_| r.string("a string of an array")).collect()
    }

    /// The numbers of an array of numbers.
    pub(crate) fn numbers(&self, path: &Path, backing: &Backing) -> Result<Vec<f64>> {
        let mut r = Reader::at(path, backing, MAX_HEADER, self.offset);
        let what = "a number of an array";
        let mut one = || -> Result<f64> {
            Ok(match self.kind {
                kind::U8 | kind::BOOL => f64::from(r.take::<1>(what)?[0]),
                kind::I8 => f64::from(i8::from_le_bytes(r.take(what)?)),
                kind::U16 => f64::from(u16::from_le_bytes(r.take(what)?)),
                kind::I16 => f64::from(i16::from_le_bytes(r.take(what)?)),
                kind::U32 => f64::from(r.u32(what)?),
                kind::I32 => f64::from(i32::from_le_bytes(r.take(what)?)),
                kind::F32 => f64::from(f32::from_le_bytes(r.take(what)?)),
                kind::U64 => r.u64(what)? as f64,
                kind::I64 => i64::from_le_bytes(r.take(what)?) as f64,
                kind::F64 => f64::from_le_bytes(r.take(what)?),
                _ => return Err(r.broken("an array of numbers was expected")),
            })
        };
        (0..self.len).map(|_| one()).collect()
    }
}
