//! A model file: its header read and checked, its values still on disk.

mod backing;
mod beneath;
mod gguf;
mod pickle;
mod safetensors;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use indexmap::IndexMap;
use serde::Serialize;
use sha2::{Digest, Sha256};

pub(crate) use backing::Backing;
pub use backing::Identity;
pub use beneath::{is_escape, open_beneath};

use crate::error::TensorDefect;
use crate::{DType, Result, WeightError};

/// The formats of model files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// A JSON header and plain values.
    Safetensors,
    /// ggml's container of plain and quantised values.
    Gguf,
    /// What `torch.save` writes: a pickle that names tensors, and their values.
    Pytorch,
}

impl Format {
    /// The name for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Safetensors => "safetensors",
            Self::Gguf => "GGUF",
            Self::Pytorch => "PyTorch",
        }
    }
}

/// Where one tensor of a file lies and how its bytes are to be understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// How its values are stored.
    pub dtype: DType,
    /// Its dimensions, outermost first.
    pub shape: Vec<usize>,
    /// Its first byte in the file.
    pub offset: u64,
    /// Its bytes in the file.
    pub bytes: u64,
    /// Steps between values in each dimension, where they do not simply follow one another
    /// (a transposed view in a PyTorch file).
    pub(crate) strides: Option<Vec<usize>>,
}

impl TensorInfo {
    /// The number of its values.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it has no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A model file whose header was read and checked. Opening one reads no tensor.
pub struct ModelFile {
    path: PathBuf,
    format: Format,
    tensors: IndexMap<String, TensorInfo>,
    metadata: Metadata,
    arrays: BTreeMap<String, gguf::ArrayAt>,
    backing: Backing,
    header_hash: [u8; 32],
}

/// The text that a file carries beside its tensors.
pub type Metadata = BTreeMap<String, String>;

/// What a format's reader makes of a header.
pub(crate) struct Header {
    pub(crate) tensors: IndexMap<String, TensorInfo>,
    pub(crate) metadata: Metadata,
    /// Arrays of a GGUF file.
    pub(crate) arrays: BTreeMap<String, gguf::ArrayAt>,
    /// Over every byte that the description was read from.
    pub(crate) hash: [u8; 32],
}

impl ModelFile {
    /// Opens a file and reads its header.
    ///
    /// # Errors
    /// Where it cannot be read, is not a model file, or its header contradicts itself or the
    /// file's length.
    pub fn open(path: impl AsRef<Path>) -> Result<Arc<Self>> {
        let path = path.as_ref();
        let backing = Backing::open(path)?;
        Self::read_header(path, backing).map(Arc::new)
    }

    /// Opens a file below a folder, wherever links on the way may lead by now: never out of the folder.
    ///
    /// # Errors
    /// As [`open`](Self::open); [`WeightError::Changed`] where a link leads out.
    pub fn open_beneath(folder: &Path, inside: &Path) -> Result<Arc<Self>> {
        let path = folder.join(inside);
        let file = open_beneath(folder, inside).map_err(|e| {
            if is_escape(&e) {
                WeightError::Changed { file: path.clone() }
            } else {
                WeightError::io(&path, e)
            }
        })?;
        Self::read_header(&path, Backing::file(&path, file)?).map(Arc::new)
    }

    /// Reads a file's bytes that are in memory already. `name` stands in errors.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn from_bytes(name: impl AsRef<Path>, bytes: Vec<u8>) -> Result<Arc<Self>> {
        Self::read_header(name.as_ref(), Backing::memory(bytes)).map(Arc::new)
    }

    fn read_header(path: &Path, backing: Backing) -> Result<Self> {
        let format = sniff(path, &backing)?;
        let header = match format {
            Format::Safetensors => safetensors::read(path, &backing)?,
            Format::Gguf => gguf::read(path, &backing)?,
            Format::Pytorch => pickle::read(path, &backing)?,
        };
        let Header { tensors, metadata, arrays, hash } = header;
        Ok(Self { path: path.to_owned(), format, tensors, metadata, arrays, backing, header_hash: hash })
    }

    /// The path that it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its format.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Its length in bytes.
    pub fn bytes(&self) -> u64 {
        self.backing.len()
    }

    /// Its tensors in the order of the header.
    pub fn tensors(&self) -> impl ExactSizeIterator<Item = (&str, &TensorInfo)> {
        self.tensors.iter().map(|(name, info)| (name.as_str(), info))
    }

    /// A tensor's description.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.tensors.get(name)
    }

    /// The text beside the tensors: a safetensors `__metadata__`, a GGUF's plain values.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The strings of a GGUF file's array, such as a vocabulary's tokens; `None` where there is none.
    ///
    /// # Errors
    /// Where it holds no strings, or the file cannot be read.
    pub fn strings(&self, key: &str) -> Result<Option<Vec<String>>> {
        self.arrays.get(key).map(|a| a.strings(&self.path, &self.backing)).transpose()
    }

    /// The numbers of a GGUF file's array, such as a vocabulary's scores; `None` where there is none.
    ///
    /// # Errors
    /// Where it holds no numbers, or the file cannot be read.
    pub fn numbers(&self, key: &str) -> Result<Option<Vec<f64>>> {
        self.arrays.get(key).map(|a| a.numbers(&self.path, &self.backing)).transpose()
    }

    /// What tells this file from every other, cheaply: its canonical path, size, time of change,
    /// inode and header. 32 hexadecimal digits. Equal fingerprints are the same bytes, unless
    /// somebody rewrote values in place and set the clock back.
    pub fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        self.backing.identity().feed(&mut hash);
        hash.update(self.header_hash);
        hex(&hash.finalize()[..16])
    }

    /// SHA-256 over every byte of the file, as published beside downloads. Reads the whole file.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn content_hash(&self) -> Result<String> {
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 1 << 20];
        let mut at = 0;
        while at < self.bytes() {
            let n = buffer.len().min(usize::try_from(self.bytes() - at).unwrap_or(usize::MAX));
            self.read_at(at, &mut buffer[..n], "the file")?;
            hash.update(&buffer[..n]);
            at += n as u64;
        }
        Ok(hex(&hash.finalize()))
    }

    /// Fails if the file is no longer the one whose header was read.
    ///
    /// # Errors
    /// [`WeightError::Changed`], or the system's reason for not telling.
    pub fn check_unchanged(&self) -> Result<()> {
        self.backing.check_unchanged(&self.path)
    }

    /// Asks the system to read a range ahead of its use; returns at once.
    pub fn read_ahead(&self, offset: u64, bytes: u64) {
        self.backing.read_ahead(offset, bytes);
    }

    pub(crate) fn read_at(&self, offset: u64, out: &mut [u8], what: &str) -> Result<()> {
        self.backing.read_at(&self.path, offset, out, what)
    }
}

impl std::fmt::Debug for ModelFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({}, {} tensors)", self.path.display(), self.format.name(), self.tensors.len())
    }
}

/// Tells the format by the first bytes, never by the file's name.
fn sniff(path: &Path, backing: &Backing) -> Result<Format> {
    let mut head = [0u8; 16];
    let n = usize::try_from(backing.len().min(16)).unwrap_or(16);
    backing.read_at(path, 0, &mut head[..n], "the first bytes")?;
    let head = &head[..n];
    if head.starts_with(b"GGUF") {
        return Ok(Format::Gguf);
    }
    // A zip archive, or bare pickles of protocol 2 or later.
    if head.starts_with(b"PK\x03\x04") || (n > 2 && head[0] == 0x80 && (2..=5).contains(&head[1])) {
        return Ok(Format::Pytorch);
    }
    // Eight bytes of length, then the header, which is a JSON object. The length's upper bytes are
    // zero in every honest file, and the header's reader says what is wrong with a dishonest one.
    if n >= 9 && head[8] == b'{' || (n >= 8 && head[4..8] == [0; 4]) {
        return Ok(Format::Safetensors);
    }
    let found = match head {
        [] => "nothing: it is empty".to_owned(),
        _ if head.starts_with(b"version https://") => {
            "the text of a Git LFS pointer, which stands for a file that was not downloaded".to_owned()
        }
        _ if head.starts_with(b"<!") || head.starts_with(b"<html") => {
            "a web page, which is what a failed download often saves".to_owned()
        }
        _ => format!("'{}'", head.escape_ascii()),
    };
    Err(WeightError::UnknownFormat { file: path.to_owned(), found })
}

/// The product of dimensions; `None` beyond 64 bits. A zero anywhere makes it zero, but not before
/// the others were multiplied: `[2^40, 2^40, 0]` is no honest shape.
pub(crate) fn count(shape: &[u64]) -> Option<u64> {
    let product = shape.iter().filter(|d| **d != 0).try_fold(1u64, |n, d| n.checked_mul(*d))?;
    Some(if shape.contains(&0) { 0 } else { product })
}

/// Dimensions as this machine counts them.
pub(crate) fn to_usize(shape: &[u64]) -> Result<Vec<usize>, TensorDefect> {
    let fit = |d: &u64| usize::try_from(*d).map_err(|_| TensorDefect::SizeOverflow(shape.to_vec()));
    shape.iter().map(fit).collect()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
