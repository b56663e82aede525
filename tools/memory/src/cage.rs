//! A bound that the system itself holds this process to.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// A control group that this process moved into.
pub(crate) struct Cage {
    folder: PathBuf,
    home: PathBuf,
    second: bool,
}

impl Cage {
    /// Makes a group of the memory controller (of either version) below `parent`, bounds it, and moves this process into it.
    /// What the process took before stays booked where it was: the bound is on what comes now.
    pub(crate) fn enter(parent: &Path, bytes: u64) -> Result<Self> {
        let second = parent.join("cgroup.controllers").is_file();
        let folder = parent.join(format!("ebb-memory-{}", std::process::id()));
        fs::create_dir(&folder).with_context(|| folder.display().to_string())?;
        let cage = Self { folder, home: parent.to_owned(), second };
        let limit = if second { "memory.max" } else { "memory.limit_in_bytes" };
        cage.write(limit, &bytes.to_string())?;
        cage.write("cgroup.procs", &std::process::id().to_string())?;
        Ok(cage)
    }

    fn write(&self, file: &str, text: &str) -> Result<()> {
        let file = self.folder.join(file);
        fs::write(&file, text).with_context(|| file.display().to_string())
    }

    /// The most that was booked to the group, pages of files included: these go before anything is refused.
    pub(crate) fn most(&self) -> Option<u64> {
        let file = if self.second { "memory.peak" } else { "memory.max_usage_in_bytes" };
        fs::read_to_string(self.folder.join(file)).ok()?.trim().parse().ok()
    }
}

impl Drop for Cage {
    fn drop(&mut self) {
        // A group that processes are in cannot be removed; nothing else depends on its going.
        let _ = fs::write(self.home.join("cgroup.procs"), std::process::id().to_string());
        let _ = fs::remove_dir(&self.folder);
    }
}
