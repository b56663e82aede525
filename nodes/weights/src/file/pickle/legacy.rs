//! What `torch.save` wrote before 1.6: four pickles (a magic number, a version, the machine, the
//! weights), a pickle of storage keys, then each storage as a count of values and the values.

use std::path::Path;

use sha2::{Digest, Sha256};

use super::collect::{collect, refused};
use super::machine::{Machine, Value};
use super::{Backing, FORMAT, Header, MAX_PICKLE, Storages};
use crate::{Result, WeightError};

pub(super) fn read(path: &Path, backing: &Backing) -> Result<Header> {
    let broken = |detail: &str| WeightError::broken(path, FORMAT, detail);
    let mut code = vec![0; backing.len().min(MAX_PICKLE) as usize];
    backing.read_at(path, 0, &mut code, "the pickles")?;
    let mut machine = Machine::default();
    let mut at = 0;
    let mut next = |machine: &mut Machine| -> Result<Value> {
        let (value, used) = machine.run(&code[at..]).map_err(|r| refused(path, r))?;
        at += used;
        Ok(value)
    };
    // The magic number has eighty bits, which the machine does not keep; the version tells enough.
    let magic = next(&mut machine)?;
    let version = next(&mut machine)?;
    if magic != Value::Opaque || version != Value::Int(1001) {
        return Err(broken("a pickle that torch.save did not write; only files of tensors are read"));
    }
    next(&mut machine)?;
    let root = next(&mut machine)?;
    let keys = next(&mut machine)?;
    let hash = Sha256::digest(&code[..at]).into();

    let mut storages = Storages::new();
    let mut offset = at as u64;
    for key in machine.items(&keys).ok_or_else(|| broken("the list of storages is no list"))? {
        let Value::Text(key) = key else { return Err(broken("a storage's key is no text")) };
        let described = machine.storages.iter().find(|s| s.key == *key);
        let described = described.ok_or_else(|| broken(&format!("storage '{key}' is not described")))?;
        let mut len = [0; 8];
        backing.read_at(path, offset, &mut len, &format!("storage '{key}'"))?;
        let len = u64::from_le_bytes(len);
        let size = described.dtype.map_or(1, |d| d.block_bytes() as u64);
        if len != described.len {
            return Err(broken(&format!(
                "storage '{key}' has {len} values and is described with {}",
                described.len
            )));
        }
        let bytes =
            len.checked_mul(size).filter(|b| offset.checked_add(8 + b).is_some_and(|e| e <= backing.len()));
        let Some(bytes) = bytes else {
            return Err(WeightError::CutShort {
                file: path.to_owned(),
                what: format!("storage '{key}'"),
                expected: offset.saturating_add(8).saturating_add(len.saturating_mul(size)),
                found: backing.len(),
            });
        };
        storages.insert(key.to_string(), (offset + 8, bytes));
        offset += 8 + bytes;
    }
    let (tensors, metadata) = collect(path, &machine, &root, &storages)?;
    Ok(Header { tensors, metadata, arrays: Default::default(), hash })
}
