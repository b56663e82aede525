//! Where a text encoder's vocabulary is looked for when the encoder's file has none.

use std::path::{Path, PathBuf};

use crate::{ModelFolders, Result, WeightError, WeightSource};

/// Larger than any vocabulary.
const MAX_BYTES: u64 = 64 << 20;

/// The folders of a vocabulary: beside the encoder's file, beside its folder where that is a part of a model, and those
/// of text encoders.
pub fn vocabulary_folders(source: &WeightSource, folders: &ModelFolders) -> Vec<PathBuf> {
    let files = source.files();
    let folder = files.first().and_then(|f| f.path().parent());
    let beside = folder.into_iter().chain(folder.and_then(Path::parent)).map(Path::to_owned);
    beside.chain(folders.roots("text_encoders").iter().cloned()).collect()
}

/// The vocabularies that stand under one of the names in one of the folders, each read when it is asked for.
///
/// # Errors
/// Of each one: [`WeightError::OverLimit`] for a file that is no vocabulary by its length; the system's.
pub fn vocabularies<'a>(
    folders: &'a [PathBuf],
    names: &'a [&str],
) -> impl Iterator<Item = Result<(PathBuf, Vec<u8>)>> + 'a {
    let paths = folders.iter().flat_map(|folder| names.iter().map(move |name| folder.join(name)));
    paths.filter(|path| path.is_file()).map(|path| {
        let found = path.metadata().map_err(|e| WeightError::io(&path, e))?.len();
        if found > MAX_BYTES {
            let what = "its length in bytes".to_owned();
            return Err(WeightError::OverLimit { file: path, what, found, cap: MAX_BYTES });
        }
        let bytes = std::fs::read(&path).map_err(|e| WeightError::io(&path, e))?;
        Ok((path, bytes))
    })
}
