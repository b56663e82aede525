//! `sweep.json`: what a sweep is, which of its cells are done, and their files. Written after every
//! cell, so that a sweep that stopped goes on where it was.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ebb_engine::workflow::sweep::Sweep;
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};

use super::super::failure::{Done, Failure};
use super::super::report::write_whole;

/// What became of the cells.
pub(super) struct Manifest {
    path: PathBuf,
    about: Json,
    output: PathBuf,
    names: Vec<Vec<String>>,
    index: Vec<Vec<usize>>,
    done: BTreeMap<usize, Vec<PathBuf>>,
    failed: BTreeMap<usize, String>,
}

/// A name for a sweep's folder: the same for the same workflow and axes.
pub(super) fn name_of(file: &Path, sweep: &Sweep) -> String {
    let stem = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let stem: String = stem.chars().filter(|c| c.is_alphanumeric() || "-_ .".contains(*c)).take(60).collect();
    let digest = Sha256::digest(sweep.to_json().to_string());
    let short: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    let stem = stem.trim_matches(['.', ' ', '-']);
    if stem.is_empty() { short } else { format!("{stem}-{short}") }
}

impl Manifest {
    /// The manifest of a sweep's folder below `output`, with what is done already if there is one.
    pub(super) fn open(output: &Path, name: &str, sweep: &Sweep) -> Done<Self> {
        let plain = Path::new(name).components().all(|part| matches!(part, std::path::Component::Normal(_)));
        if name.is_empty() || !plain {
            return Err(Failure::other(format!(
                "--name {name}: a folder below OUTPUT/sweeps has no .. or / first"
            )));
        }
        let folder = output.join("sweeps").join(name);
        let owned = |cell| sweep.names(cell).into_iter().map(str::to_owned).collect();
        let mut manifest = Self {
            path: folder.join("sweep.json"),
            about: sweep.to_json(),
            output: output.to_owned(),
            names: (0..sweep.len()).map(owned).collect(),
            index: (0..sweep.len()).map(|cell| sweep.index(cell)).collect(),
            done: BTreeMap::new(),
            failed: BTreeMap::new(),
        };
        let text = match std::fs::read_to_string(&manifest.path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(manifest),
            Err(error) => return Err(Failure::file("read", &manifest.path, &error)),
        };
        let there: Json = serde_json::from_str(&text).unwrap_or_default();
        if there["sweep"] != manifest.about {
            return Err(Failure::other(format!(
                "{} is of another sweep: give this one another --name, or remove the folder",
                manifest.path.display()
            )));
        }
        for (cell, entry) in there["cells"].as_array().into_iter().flatten().enumerate() {
            let files = entry["files"].as_array().into_iter().flatten().filter_map(Json::as_str);
            let files: Vec<PathBuf> = files.map(PathBuf::from).collect();
            // Files that someone removed are made again.
            let whole = files.iter().all(|file| manifest.output.join(file).is_file());
            if entry["status"] == "done" && whole && cell < manifest.names.len() {
                manifest.done.insert(cell, files);
            }
        }
        Ok(manifest)
    }

    /// The cells that are to be made.
    pub(super) fn missing(&self) -> Vec<usize> {
        let open = |cell: &usize| !self.done.contains_key(cell) && !self.failed.contains_key(cell);
        (0..self.names.len()).filter(open).collect()
    }

    /// A cell is done.
    pub(super) fn finish(&mut self, cell: usize, files: Vec<PathBuf>) -> Done {
        let below = |file: PathBuf| file.strip_prefix(&self.output).map(Path::to_owned).unwrap_or(file);
        let files = files.into_iter().map(below).collect();
        self.done.insert(cell, files);
        self.write()
    }

    /// A cell cannot be made.
    pub(super) fn fail(&mut self, cell: usize, message: String) -> Done {
        self.failed.insert(cell, message);
        self.write()
    }

    /// What went wrong, by cell.
    pub(super) fn failures(&self) -> &BTreeMap<usize, String> {
        &self.failed
    }

    /// The values of a cell, for people.
    pub(super) fn title(&self, cell: usize) -> String {
        self.names.get(cell).map(|names| names.join(", ")).unwrap_or_default()
    }

    /// The files of a cell, below the output folder.
    pub(super) fn files_of(&self, cell: usize) -> &[PathBuf] {
        self.done.get(&cell).map(Vec::as_slice).unwrap_or_default()
    }

    /// All files, in the order of the cells.
    pub(super) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.done.values().flatten()
    }

    fn write(&self) -> Done {
        let cells = self.names.iter().zip(&self.index).enumerate().map(|(cell, (names, index))| {
            let status = match (self.done.contains_key(&cell), self.failed.contains_key(&cell)) {
                (true, _) => "done",
                (_, true) => "failed",
                _ => "missing",
            };
            json!({"index": index, "values": names, "status": status, "files": self.files_of(cell),
                   "error": self.failed.get(&cell)})
        });
        let cells: Vec<Json> = cells.collect();
        if let Some(folder) = self.path.parent() {
            std::fs::create_dir_all(folder).map_err(|error| Failure::file("make", folder, &error))?;
        }
        let all = json!({"ebb": env!("CARGO_PKG_VERSION"), "sweep": self.about, "cells": cells});
        write_whole(&self.path, &(serde_json::to_string_pretty(&all)? + "\n"))
    }
}

#[cfg(test)]
mod tests {
    use ebb_engine::workflow::Workflow;
    use ebb_engine::workflow::sweep::Axis;

    use super::*;

    fn sweep(seeds: &[u64]) -> Sweep {
        let base = Workflow::from_json(json!({"1": {"class_type": "A", "inputs": {"seed": 0}}})).unwrap();
        let values = seeds.iter().map(|seed| json!(seed).into()).collect();
        Sweep::new(base, vec![Axis::input("seed", "1".into(), "seed", values)]).unwrap()
    }

    #[test]
    fn a_sweep_goes_on_with_what_is_missing() {
        let place = tempfile::tempdir().unwrap();
        let sweep = sweep(&[1, 2, 3]);
        let mut manifest = Manifest::open(place.path(), "s", &sweep).unwrap();
        assert_eq!(manifest.missing(), [0, 1, 2]);
        let kept = place.path().join("sweeps/s/0.png");
        manifest.finish(0, vec![kept.clone()]).unwrap();
        std::fs::write(&kept, "x").unwrap();
        manifest.finish(1, vec![place.path().join("sweeps/s/gone.png")]).unwrap();
        manifest.fail(2, "no".into()).unwrap();
        // A file that is gone and a cell that failed are tried again.
        let again = Manifest::open(place.path(), "s", &sweep).unwrap();
        assert_eq!(again.missing(), [1, 2]);
        assert_eq!(again.files_of(0), [PathBuf::from("sweeps/s/0.png")]);
    }

    #[test]
    fn another_sweep_is_not_mixed_in() {
        let place = tempfile::tempdir().unwrap();
        let (one, other) = (sweep(&[1]), sweep(&[2]));
        Manifest::open(place.path(), "s", &one).unwrap().finish(0, Vec::new()).unwrap();
        let error = Manifest::open(place.path(), "s", &other).err().unwrap().to_string();
        assert!(error.contains("another sweep"), "{error}");
        assert!(Manifest::open(place.path(), "../s", &one).is_err());
        let file = Path::new("a b/te:st.json");
        assert_ne!(name_of(file, &one), name_of(file, &other));
        assert!(name_of(file, &one).starts_with("test-"));
    }
}
