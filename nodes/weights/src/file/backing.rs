//! Where a model file's bytes come from: an open file, or memory.
//!
//! Values are read by position (`pread`) and not through a mapping: a file that is cut short while
//! it is open then gives an error, where a mapping would end the process; and what was read belongs
//! to the page cache and not to this process's memory. Reading in pieces that fit the processor's
//! cache makes the extra copy cost little.

use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use sha2::{Digest, Sha256};

use crate::{Result, WeightError};

pub(crate) enum Backing {
    File { file: File, identity: Identity },
    Memory { bytes: Vec<u8>, identity: Identity },
}

/// What the system says of a file, to tell it from others and from its later self.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    path: PathBuf,
    size: u64,
    modified_ns: u128,
    device: u64,
    inode: u64,
}

impl Identity {
    fn of(path: &Path, metadata: &Metadata) -> Self {
        #[cfg(unix)]
        let (device, inode) = {
            use std::os::unix::fs::MetadataExt;
            (metadata.dev(), metadata.ino())
        };
        #[cfg(not(unix))]
        let (device, inode) = (0, 0);
        let modified_ns = metadata
            .modified()
            .ok()
            .and_then(|t| t.duration_since(UNIX_EPOCH).ok())
            .map_or(0, |d| d.as_nanos());
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        Self { path, size: metadata.len(), modified_ns, device, inode }
    }

    pub(crate) fn feed(&self, hash: &mut Sha256) {
        hash.update(self.path.as_os_str().as_encoded_bytes());
        hash.update(self.size.to_le_bytes());
        hash.update(self.modified_ns.to_le_bytes());
        hash.update(self.device.to_le_bytes());
        hash.update(self.inode.to_le_bytes());
    }

    /// Whether both are one file in one state, by whatever path it was reached.
    pub(crate) fn same_file(&self, other: &Self) -> bool {
        (self.device, self.inode, self.size, self.modified_ns)
            == (other.device, other.inode, other.size, other.modified_ns)
    }
}

impl Backing {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        Self::file(path, File::open(path).map_err(|e| WeightError::io(path, e))?)
    }

    pub(crate) fn file(path: &Path, file: File) -> Result<Self> {
        let fail = |e| WeightError::io(path, e);
        let metadata = file.metadata().map_err(fail)?;
        if !metadata.is_file() {
            let kind = if metadata.is_dir() { "this is a folder" } else { "this is not a regular file" };
            return Err(fail(io::Error::new(io::ErrorKind::InvalidInput, kind)));
        }
        let identity = Identity::of(path, &metadata);
        Ok(Self::File { file, identity })
    }

    pub(crate) fn memory(bytes: Vec<u8>) -> Self {
        // No inode tells one buffer from another, so its content does.
        let digest = Sha256::digest(&bytes);
        let identity = Identity {
            path: PathBuf::from(super::hex(&digest)),
            size: bytes.len() as u64,
            modified_ns: 0,
            device: 0,
            inode: 0,
        };
        Self::Memory { bytes, identity }
    }

    pub(crate) fn len(&self) -> u64 {
        self.identity().size
    }

    pub(crate) fn identity(&self) -> &Identity {
        match self {
            Self::File { identity, .. } | Self::Memory { identity, .. } => identity,
        }
    }

    pub(crate) fn read_at(&self, path: &Path, offset: u64, out: &mut [u8], what: &str) -> Result<()> {
        let end = offset.saturating_add(out.len() as u64);
        let cut = |found| WeightError::CutShort {
            file: path.to_owned(),
            what: what.to_owned(),
            expected: end,
            found,
        };
        if end > self.len() {
            return Err(cut(self.len()));
        }
        match self {
            Self::File { file, .. } => read_exact_at(file, offset, out).map_err(|e| {
                if e.kind() == io::ErrorKind::UnexpectedEof {
                    cut(file.metadata().map_or(0, |m| m.len()))
                } else {
                    WeightError::io(path, e)
                }
            }),
            Self::Memory { bytes, .. } => {
                // `end` is at most the buffer's length, so both fit a usize.
                let start = usize::try_from(offset).unwrap_or(usize::MAX);
                match bytes.get(start..start.saturating_add(out.len())) {
                    Some(found) => {
                        out.copy_from_slice(found);
                        Ok(())
                    }
                    None => Err(cut(self.len())),
                }
            }
        }
    }

    pub(crate) fn check_unchanged(&self, path: &Path) -> Result<()> {
        let Self::File { file, identity } = self else { return Ok(()) };
        let now = file.metadata().map_err(|e| WeightError::io(path, e))?;
        let now = Identity { path: identity.path.clone(), ..Identity::of(Path::new(""), &now) };
        if now.same_file(identity) { Ok(()) } else { Err(WeightError::Changed { file: path.to_owned() }) }
    }

    pub(crate) fn read_ahead(&self, offset: u64, bytes: u64) {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if let Self::File { file, .. } = self {
            use rustix::fs::{Advice, fadvise};
            // Advice that the system may ignore: so may its failure be.
            let _ = fadvise(file, offset, std::num::NonZeroU64::new(bytes), Advice::WillNeed);
        }
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        let _ = (offset, bytes);
    }
}

#[cfg(unix)]
fn read_exact_at(file: &File, offset: u64, out: &mut [u8]) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, out, offset)
}

#[cfg(windows)]
fn read_exact_at(file: &File, mut offset: u64, mut out: &mut [u8]) -> io::Result<()> {
    use std::os::windows::fs::FileExt;
    while !out.is_empty() {
        let n = file.seek_read(out, offset)?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        out = &mut out[n..];
        offset += n as u64;
    }
    Ok(())
}
