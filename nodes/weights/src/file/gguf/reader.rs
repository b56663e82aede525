//! Reads a header from front to back, and never believes a length before it was held against the file.

use std::path::Path;

use sha2::{Digest, Sha256};

use super::super::Backing;
use crate::{Result, WeightError};

/// Bytes read at a time.
const BUFFER: usize = 1 << 16;

pub(super) struct Reader<'a> {
    path: &'a Path,
    backing: &'a Backing,
    /// What was read of the file already, and where that begins.
    buffer: Vec<u8>,
    buffer_at: u64,
    /// How much of the buffer was handed out.
    used: usize,
    /// Where reading must end.
    limit: u64,
    /// Whether lengths have 64 bits; in version 1 they have 32.
    wide: bool,
    hash: Sha256,
}

impl<'a> Reader<'a> {
    pub(super) fn new(path: &'a Path, backing: &'a Backing, limit: u64) -> Self {
        Self::at(path, backing, limit, 0)
    }

    pub(super) fn at(path: &'a Path, backing: &'a Backing, limit: u64, offset: u64) -> Self {
        let limit = offset.saturating_add(limit).min(backing.len());
        let buffer = Vec::new();
        Self { path, backing, buffer, buffer_at: offset, used: 0, limit, wide: true, hash: Sha256::new() }
    }

    pub(super) fn set_wide(&mut self, wide: bool) {
        self.wide = wide;
    }

    pub(super) fn wide(&self) -> bool {
        self.wide
    }

    pub(super) fn path(&self) -> &'a Path {
        self.path
    }

    pub(super) fn position(&self) -> u64 {
        self.buffer_at + self.used as u64
    }

    /// Over everything that was read; what was skipped counts by its length.
    pub(super) fn hash(&self) -> [u8; 32] {
        let mut hash = self.hash.clone();
        hash.update(self.position().to_le_bytes());
        hash.finalize().into()
    }

    pub(super) fn broken(&self, detail: impl Into<String>) -> WeightError {
        WeightError::broken(self.path, super::FORMAT, detail)
    }

    pub(super) fn over_limit(&self, what: String, found: u64, cap: u64) -> WeightError {
        WeightError::OverLimit { file: self.path.to_owned(), what, found, cap }
    }

    fn left(&self) -> u64 {
        self.limit.saturating_sub(self.position())
    }

    fn need(&self, bytes: u64, what: &str) -> Result<()> {
        if bytes <= self.left() {
            return Ok(());
        }
        Err(WeightError::CutShort {
            file: self.path.to_owned(),
            what: format!("the GGUF header ({what})"),
            expected: self.position().saturating_add(bytes),
            found: self.backing.len(),
        })
    }

    pub(super) fn skip(&mut self, bytes: u64, what: &str) -> Result<()> {
        self.need(bytes, what)?;
        let in_buffer = (self.buffer.len() - self.used) as u64;
        if bytes <= in_buffer {
            self.used += bytes as usize;
        } else {
            self.buffer_at = self.position() + bytes;
            self.buffer.clear();
            self.used = 0;
        }
        Ok(())
    }

    fn bytes(&mut self, bytes: usize, what: &str) -> Result<&[u8]> {
        self.need(bytes as u64, what)?;
        if self.buffer.len() - self.used < bytes {
            let at = self.position();
            let next = (bytes.max(BUFFER) as u64).min(self.limit - at);
            self.buffer.resize(next as usize, 0);
            self.buffer_at = at;
            self.used = 0;
            self.backing.read_at(self.path, at, &mut self.buffer, "the GGUF header")?;
        }
        let found = &self.buffer[self.used..self.used + bytes];
        self.used += bytes;
        self.hash.update(found);
        Ok(found)
    }

    pub(super) fn take<const N: usize>(&mut self, what: &str) -> Result<[u8; N]> {
        let mut out = [0; N];
        out.copy_from_slice(self.bytes(N, what)?);
        Ok(out)
    }

    pub(super) fn u32(&mut self, what: &str) -> Result<u32> {
        Ok(u32::from_le_bytes(self.take(what)?))
    }

    pub(super) fn u64(&mut self, what: &str) -> Result<u64> {
        Ok(u64::from_le_bytes(self.take(what)?))
    }

    /// A length, of 32 or 64 bits by the file's version.
    pub(super) fn length(&mut self, what: &str) -> Result<u64> {
        if self.wide { self.u64(what) } else { self.u32(what).map(u64::from) }
    }

    /// A number of things that take at least `least` bytes each of what is left.
    pub(super) fn count(&mut self, what: &str, least: u64) -> Result<u64> {
        let count = self.length(what)?;
        let cap = self.left() / least;
        if count > cap {
            let what = format!("{what} (with {} bytes of header left)", self.left());
            return Err(self.over_limit(what, count, cap));
        }
        Ok(count)
    }

    pub(super) fn string(&mut self, what: &str) -> Result<String> {
        /// Longer than any name or template; a bound on one allocation.
        const MAX: u64 = 16 << 20;
        let length = self.length(what)?;
        if length > MAX {
            return Err(self.over_limit(format!("the length of {what}"), length, MAX));
        }
        let at = self.position();
        let bytes = self.bytes(length as usize, what)?.to_vec();
        String::from_utf8(bytes).map_err(|_| self.broken(format!("{what} at byte {at} is not UTF-8")))
    }
}
