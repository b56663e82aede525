//! The folders that nodes read pictures from and leave them in.

use std::fs::File;
use std::path::{Path, PathBuf};

use ebb_engine::node::{Changed, Inputs, NodeError, Verdict};
use sha2::{Digest, Sha256};

use crate::files::{self, NameError};

/// The folders of a process. Shared by every node that reads or writes files.
#[derive(Clone, Debug)]
pub struct Folders {
    /// Pictures to load.
    pub input: PathBuf,
    /// Pictures that were saved.
    pub output: PathBuf,
    /// Previews; emptied when the process starts.
    pub temp: PathBuf,
}

impl Folders {
    /// `input`, `output` and `temp` under one folder.
    pub fn under(base: impl Into<PathBuf>) -> Self {
        let base = base.into();
        Self { input: base.join("input"), output: base.join("output"), temp: base.join("temp") }
    }

    /// Opens the file that a name means: in the input folder, or where a suffix ` [output]`, ` [temp]`
    /// or ` [input]` says.
    ///
    /// # Errors
    /// As [`files::open`].
    pub fn open(&self, name: &str) -> Result<File, NameError> {
        let folders = [(" [output]", &self.output), (" [input]", &self.input), (" [temp]", &self.temp)];
        for (suffix, folder) in folders {
            if let Some(name) = name.strip_suffix(suffix) {
                return files::open(folder, name);
            }
        }
        files::open(&self.input, name)
    }

    /// The files in the input folder with one of these endings, by name; those of subfolders are
    /// found by their path but not listed, as in ComfyUI.
    pub(crate) fn input_files(&self, endings: &[&str]) -> Vec<String> {
        let entries = std::fs::read_dir(&self.input).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries
            .filter(|entry| entry.path().is_file())
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| {
                let ending = Path::new(name).extension().and_then(|e| e.to_str()).unwrap_or_default();
                endings.contains(&ending.to_ascii_lowercase().as_str())
            })
            .collect();
        names.sort();
        names
    }

    /// Opens the file that an input names.
    pub(crate) fn open_input(&self, inputs: &Inputs, input: &str) -> Result<File, NodeError> {
        self.open(inputs.str(input)?).map_err(|e| NodeError::input(input, e.to_string()))
    }

    /// The content's hash: a file that was replaced under its name is another value.
    pub(crate) fn fingerprint(&self, inputs: &Inputs, input: &str) -> Result<Option<Changed>, NodeError> {
        let failed = |e: std::io::Error| NodeError::input(input, e.to_string());
        let mut file = self.open_input(inputs, input)?;
        let mut hash = Sha256::new();
        std::io::copy(&mut file, &mut hash).map_err(failed)?;
        Ok(Some(Changed::Fingerprint(format!("{:x}", hash.finalize()))))
    }

    /// Whether the file that an input names is there.
    pub(crate) fn check_file(&self, inputs: &Inputs, input: &str, complaint: &str) -> Verdict {
        match inputs.str(input).map(|name| self.open(name)) {
            Ok(Ok(_)) => Verdict::Accept,
            Ok(Err(error)) => Verdict::Refuse(Some(format!("{complaint}: {error}"))),
            Err(error) => Verdict::Refuse(Some(error.message)),
        }
    }
}
