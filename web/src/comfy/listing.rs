//! Lists of files below a folder, as several routes show them.

use std::fs::Metadata;
use std::io;
use std::path::Path;

use super::userdata::seconds;
use crate::files::store::is_partial;

/// A file or a folder.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    /// Relative to where the walk began, with `/`.
    pub(crate) path: String,
    pub(crate) is_folder: bool,
    pub(crate) size: u64,
    /// Seconds since 1970.
    pub(crate) modified: f64,
    pub(crate) created: f64,
}

impl Entry {
    /// A file by its place; its path is left empty.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        Ok(Self::new(String::new(), &std::fs::metadata(path)?))
    }

    fn new(path: String, meta: &Metadata) -> Self {
        let modified = seconds(meta.modified());
        // Not every file system keeps a time of creation.
        let created = meta.created().map_or(modified, |c| seconds(Ok(c)));
        Self { path, is_folder: meta.is_dir(), size: meta.len(), modified, created }
    }
}

/// Everything below a folder in the order of names, `most` entries at most. Links are not followed: they may lead out,
/// or round in a circle. Names that are no text and files that are still being written are left out.
pub(crate) fn walk(folder: &Path, recurse: bool, most: usize) -> io::Result<Vec<Entry>> {
    let mut found = Vec::new();
    let mut open = vec![(folder.to_owned(), String::new())];
    while let Some((folder, prefix)) = open.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let kind = entry.file_type()?;
            if kind.is_symlink() || is_partial(&name) || found.len() >= most {
                continue;
            }
            // Gone between listing and looking: it is not there.
            let Ok(meta) = entry.metadata() else { continue };
            let path = format!("{prefix}{name}");
            if kind.is_dir() && recurse {
                open.push((entry.path(), format!("{path}/")));
            }
            if kind.is_dir() || kind.is_file() {
                found.push(Entry::new(path, &meta));
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}
