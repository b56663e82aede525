//! New files: written beside their place and renamed into it, so that nobody ever sees half of one.

use std::io::{self, Write};
use std::path::Path;

use tempfile::NamedTempFile;

/// Writes `bytes` to `path`, over whatever is there. Parents are made.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    beside(path, bytes)?.persist(path).map(drop).map_err(|e| e.error)
}

/// Writes `bytes` to `path` if nothing is there; `false` when something is. Two callers never both get `true`.
pub(crate) fn create(path: &Path, bytes: &[u8]) -> io::Result<bool> {
    match beside(path, bytes)?.persist_noclobber(path) {
        Ok(_) => Ok(true),
        Err(e) if e.error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(e) => Err(e.error),
    }
}

fn beside(path: &Path, bytes: &[u8]) -> io::Result<NamedTempFile> {
    let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    std::fs::create_dir_all(folder)?;
    let mut builder = tempfile::Builder::new();
    // The default is for secrets: readable by this user only.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644));
    let mut file = builder.prefix(".ebb-").suffix(".part").tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_data()?;
    Ok(file)
}

/// Whether a file is one that `beside` is still writing, or was when the process died.
pub(crate) fn is_partial(name: &str) -> bool {
    name.starts_with(".ebb-") && name.ends_with(".part")
}
