//! Model files written tensor by tensor: whole under their name, or not at all.
//!
//! The header is made from the tensors' descriptions, then each tensor's bytes are asked for in
//! turn, so that no more than one is in memory. The file has another name until its last byte is
//! on the disk.

mod gguf;
mod safetensors;

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

pub use gguf::write_gguf;
pub use safetensors::write_safetensors;

use crate::error::TensorDefect;
use crate::{DType, Result, WeightError};

/// A tensor that is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    /// Its name in the file.
    pub name: String,
    /// How its values are stored.
    pub dtype: DType,
    /// Its dimensions, outermost first.
    pub shape: Vec<usize>,
}

impl TensorSpec {
    /// Its bytes in the file.
    fn bytes(&self, file: &Path) -> Result<u64> {
        let shape: Vec<u64> = self.shape.iter().map(|d| *d as u64).collect();
        crate::file::count(&shape)
            .and_then(|n| self.dtype.bytes_of(n))
            .ok_or_else(|| WeightError::tensor(file, &self.name, TensorDefect::SizeOverflow(shape)))
    }
}

/// Writes a file beside `path`, and gives it that name when all is written.
fn whole(path: &Path, write: impl FnOnce(&mut Counted) -> Result<()>) -> Result<()> {
    let temporary = Temporary::beside(path)?;
    let io = |e| WeightError::io(path, e);
    let file = File::create_new(&temporary.0).map_err(io)?;
    let mut out = Counted { out: BufWriter::with_capacity(1 << 20, file), written: 0 };
    write(&mut out)?;
    let file = out.out.into_inner().map_err(|e| io(e.into_error()))?;
    file.sync_all().map_err(io)?;
    drop(file);
    fs::rename(&temporary.0, path).map_err(io)
}

/// A file that is removed unless it was renamed.
struct Temporary(PathBuf);

impl Temporary {
    fn beside(path: &Path) -> Result<Self> {
        let Some(name) = path.file_name() else {
            let source = io::Error::new(io::ErrorKind::InvalidInput, "this is no file name");
            return Err(WeightError::io(path, source));
        };
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}.part", std::process::id()));
        Ok(Self(path.with_file_name(hidden)))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // Gone already where all went well.
        let _ = fs::remove_file(&self.0);
    }
}

/// Counts what is written, to know where a tensor begins and whether it was whole.
struct Counted {
    out: BufWriter<File>,
    written: u64,
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.out.write(bytes)?;
        self.written += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl Counted {
    fn put(&mut self, path: &Path, bytes: &[u8]) -> Result<()> {
        self.write_all(bytes).map_err(|e| WeightError::io(path, e))
    }

    /// Zeros up to the next multiple.
    fn align(&mut self, path: &Path, alignment: u64) -> Result<()> {
        let missing = self.written.next_multiple_of(alignment) - self.written;
        self.put(path, &vec![0; missing as usize])
    }

    /// One tensor's bytes, as many as its description says.
    fn tensor(
        &mut self,
        path: &Path,
        spec: &TensorSpec,
        fill: &mut dyn FnMut(&TensorSpec, &mut dyn Write) -> Result<()>,
    ) -> Result<()> {
        let before = self.written;
        fill(spec, self)?;
        let (expected, found) = (spec.bytes(path)?, self.written - before);
        if found == expected {
            return Ok(());
        }
        let shape = spec.shape.iter().map(|d| *d as u64).collect();
        let defect = TensorDefect::SizeMismatch { dtype: spec.dtype, shape, expected, found };
        Err(WeightError::tensor(path, &spec.name, defect))
    }
}

#[cfg(test)]
mod tests;
