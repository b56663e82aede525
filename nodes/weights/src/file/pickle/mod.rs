//! PyTorch files (`.ckpt`, `.pt`, `.pth`, `.bin`): read, never executed.
//!
//! A pickle is a program for a machine that can call any function of Python. Here that machine
//! knows a short list of names (`names`), and building a tensor's description is all that it can
//! do (`machine`). A pickle that names anything else is refused by that name.
//!
//! Since PyTorch 1.6 the file is a zip archive of a pickle and one entry for each storage
//! (`archive`); before, five pickles and the storages followed one another (`legacy`).

mod archive;
mod collect;
mod legacy;
mod machine;
mod names;

use std::collections::HashMap;
use std::path::Path;

use super::{Backing, Header};
use crate::Result;

const FORMAT: &str = "PyTorch";

/// The names and shapes of the largest checkpoints take half a megabyte.
const MAX_PICKLE: u64 = 64 << 20;

/// Where the bytes of each storage lie in the file: offset and length, by the storage's key.
type Storages = HashMap<String, (u64, u64)>;

pub(super) fn read(path: &Path, backing: &Backing) -> Result<Header> {
    let mut magic = [0u8; 2];
    backing.read_at(path, 0, &mut magic, "the first bytes")?;
    if magic == *b"PK" { archive::read(path, backing) } else { legacy::read(path, backing) }
}
