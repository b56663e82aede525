//! The zip archive that `torch.save` writes since 1.6: `NAME/data.pkl` and `NAME/data/KEY`, not compressed.

use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use sha2::{Digest, Sha256};
use zip::{CompressionMethod, ZipArchive};

use super::collect::{collect, refused};
use super::machine::Machine;
use super::{Backing, FORMAT, Header, MAX_PICKLE, Storages};
use crate::{Result, WeightError};

pub(super) fn read(path: &Path, backing: &Backing) -> Result<Header> {
    let broken = |detail: String| WeightError::broken(path, FORMAT, detail);
    let cursor = BufReader::with_capacity(512, Cursor { path, backing, at: 0 });
    let mut archive = ZipArchive::new(cursor).map_err(|e| broken(format!("no zip archive: {e}")))?;
    let mut pickle = None;
    let mut storages = Storages::new();
    for i in 0..archive.len() {
        let entry = archive.by_index_raw(i).map_err(|e| broken(format!("zip entry {i}: {e}")))?;
        let name = String::from_utf8_lossy(entry.name_raw()).into_owned();
        let Some((folder, inside)) = name.split_once('/') else { continue };
        let is_pickle = inside == "data.pkl";
        let Some(key) = inside.strip_prefix("data/").or(is_pickle.then_some("")) else { continue };
        if entry.compression() != CompressionMethod::Stored || entry.encrypted() {
            return Err(broken(format!("'{name}' is compressed or encrypted, which torch.save never does")));
        }
        let start = entry.data_start().ok_or_else(|| broken(format!("'{name}' has no data")))?;
        let size = entry.size();
        let end = start.saturating_add(size);
        if end > backing.len() {
            let what = format!("'{name}'");
            return Err(WeightError::CutShort {
                file: path.to_owned(),
                what,
                expected: end,
                found: backing.len(),
            });
        }
        if is_pickle {
            pickle = Some((start, size, folder.to_owned()));
        } else {
            storages.insert(key.to_owned(), (start, size));
        }
    }
    let (start, size, folder) = pickle.ok_or_else(|| broken("the archive has no data.pkl".to_owned()))?;
    if size > MAX_PICKLE {
        let what = format!("the length of {folder}/data.pkl");
        return Err(WeightError::OverLimit { file: path.to_owned(), what, found: size, cap: MAX_PICKLE });
    }
    let mut code = vec![0; size as usize];
    backing.read_at(path, start, &mut code, "the pickle")?;
    let mut machine = Machine::default();
    let (root, _) = machine.run(&code).map_err(|r| refused(path, r))?;
    let (tensors, metadata) = collect(path, &machine, &root, &storages)?;
    Ok(Header { tensors, metadata, arrays: Default::default(), hash: Sha256::digest(&code).into() })
}

/// A backing as the zip library reads it.
struct Cursor<'a> {
    path: &'a Path,
    backing: &'a Backing,
    at: u64,
}

impl Read for Cursor<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let n = self.backing.len().saturating_sub(self.at).min(out.len() as u64) as usize;
        let read = self.backing.read_at(self.path, self.at, &mut out[..n], "the zip archive");
        read.map_err(std::io::Error::other)?;
        self.at += n as u64;
        Ok(n)
    }
}

impl Seek for Cursor<'_> {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.backing.len().checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or_else(|| std::io::Error::from(std::io::ErrorKind::InvalidInput))?;
        Ok(self.at)
    }
}
