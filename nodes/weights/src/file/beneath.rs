//! A file below a folder, opened.
//!
//! A check of a path and the opening of it are two moments, and between them a link can be put in the file's place, or
//! in that of a folder on the way. So nothing is checked before: links are followed while the file is opened (by the
//! kernel where it can, else step by step with each folder held open) and one that leads out of the folder is refused.

use std::fs::File;
use std::io;
use std::path::Path;

use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions};

/// Opens a regular file below `folder` to read.
///
/// # Errors
/// [`is_escape`] tells a path that leads out, by `..` or by a link. Otherwise the system's, and
/// [`io::ErrorKind::InvalidInput`] for what is no regular file.
pub fn open_beneath(folder: &Path, inside: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    // A pipe put in a file's place must not hold the thread.
    #[cfg(unix)]
    {
        use cap_std::fs::OpenOptionsExt;
        options.custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed());
    }
    let file = Dir::open_ambient_dir(folder, ambient_authority())?.open_with(inside, &options)?.into_std();
    let metadata = file.metadata()?;
    if metadata.is_file() {
        return Ok(file);
    }
    let kind = if metadata.is_dir() { "this is a folder" } else { "this is not a regular file" };
    Err(io::Error::new(io::ErrorKind::InvalidInput, kind))
}

/// Whether a file was not opened because its path leads out of the folder.
pub fn is_escape(error: &io::Error) -> bool {
    // The system's own refusals have its number.
    error.kind() == io::ErrorKind::PermissionDenied && error.raw_os_error().is_none()
}
