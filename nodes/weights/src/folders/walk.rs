//! Listing folders, and names that stay inside them.

use std::cell::LazyCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::ListedModel;

/// The file that makes a folder a model in several files.
pub(super) const DIFFUSERS_INDEX: &str = "model_index.json";

/// Folders inside folders beyond which nothing is listed.
const MAX_DEPTH: usize = 16;

/// The folders that links may lead into, looked up when the first link is met.
pub(super) type Allowed<'a> = LazyCell<Vec<PathBuf>, Box<dyn FnOnce() -> Vec<PathBuf> + 'a>>;

/// The path that a name spells, if it can only lead downwards: no `..`, nothing absolute, no
/// backslash, no drive, no control character.
pub(super) fn safe_relative(name: &str) -> Option<PathBuf> {
    let is_plain = |part: &str| {
        !part.is_empty() && part != "." && part != ".." && part.len() <= 255 && !part.ends_with(['.', ' '])
    };
    let forbidden = |c: char| c.is_control() || matches!(c, '\\' | ':');
    if name.len() > 4096 || name.contains(forbidden) || !name.split('/').all(is_plain) {
        return None;
    }
    Some(name.split('/').collect())
}

/// Whether a name has one of the endings, in whatever case; any name where there are none.
pub(super) fn has_ending(name: &str, endings: &[&str]) -> bool {
    let name = name.to_ascii_lowercase();
    endings.is_empty() || endings.iter().any(|ending| name.ends_with(ending))
}

/// Adds the files under `folder`.
pub(super) fn files(
    folder: &Path,
    root: usize,
    endings: &[&str],
    allowed: &Allowed<'_>,
    found: &mut Vec<ListedModel>,
) {
    visit(folder, allowed, &mut |name, path| {
        if has_ending(name, endings)
            && path.is_file()
            && let Some(entry) = entry(name, root, path)
        {
            found.push(entry);
        }
        true
    });
}

/// Adds the folders under `folder` that hold a model in several files.
pub(super) fn diffusers(folder: &Path, root: usize, allowed: &Allowed<'_>, found: &mut Vec<ListedModel>) {
    visit(folder, allowed, &mut |name, path| {
        if path.is_dir() && path.join(DIFFUSERS_INDEX).is_file() {
            found.extend(entry(name, root, path));
            return false;
        }
        true
    });
}

/// Calls `see` with each file and folder under `root` that is inside `allowed` once links were
/// followed. A folder is entered if `see` says so. Names that could not be resolved again are left out.
fn visit(root: &Path, allowed: &Allowed<'_>, see: &mut dyn FnMut(&str, &Path) -> bool) {
    // The real folders on the way down: a link to one of them would lead in circles.
    let mut open = vec![(root.to_owned(), String::new(), Vec::<PathBuf>::new())];
    while let Some((folder, prefix, above)) = open.pop() {
        let Ok(real) = folder.canonicalize() else { continue };
        if above.contains(&real) || above.len() > MAX_DEPTH {
            continue;
        }
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        let mut inner = above;
        inner.push(real);
        for entry in entries.flatten() {
            let Ok(name) = entry.file_name().into_string() else { continue };
            let name = format!("{prefix}{name}");
            if name.ends_with(".git") || safe_relative(&name).is_none() {
                continue;
            }
            let path = entry.path();
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_symlink()
                && !path.canonicalize().is_ok_and(|p| allowed.iter().any(|a| p.starts_with(a)))
            {
                tracing::debug!("{} leads out of the model folders and is not listed", path.display());
                continue;
            }
            if see(&name, &path) && path.is_dir() {
                open.push((path, format!("{name}/"), inner.clone()));
            }
        }
    }
}

fn entry(name: &str, root: usize, path: &Path) -> Option<ListedModel> {
    let metadata = path.metadata().ok()?;
    let seconds = |t: SystemTime| t.duration_since(UNIX_EPOCH).ok().map(|d| d.as_secs_f64());
    Some(ListedModel {
        name: name.to_owned(),
        root,
        bytes: metadata.len(),
        modified: metadata.modified().ok().and_then(seconds).unwrap_or(0.0),
        created: metadata.created().ok().and_then(seconds),
    })
}

/// How files of a part are called, the preferred ones first.
const PART_FILES: [&str; 8] = [
    "diffusion_pytorch_model.fp16.safetensors",
    "diffusion_pytorch_model.safetensors",
    "diffusion_pytorch_model.fp16.bin",
    "diffusion_pytorch_model.bin",
    "model.fp16.safetensors",
    "model.safetensors",
    "pytorch_model.fp16.bin",
    "pytorch_model.bin",
];

/// The files that make one part of a model: one, or its shards in order (`model-00001-of-00002.safetensors`).
pub(super) fn part_files(folder: &Path) -> Vec<PathBuf> {
    if let Some(one) = PART_FILES.iter().map(|name| folder.join(name)).find(|path| path.is_file()) {
        return vec![one];
    }
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let is_shard = |path: &PathBuf| {
        path.file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| name.ends_with(".safetensors") && name.contains("-of-") && path.is_file())
    };
    let mut shards: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(is_shard).collect();
    // Where both precisions are there, the smaller one is taken.
    let is_half = |path: &PathBuf| path.to_string_lossy().contains(".fp16");
    if shards.iter().any(is_half) {
        shards.retain(is_half);
    }
    shards.sort();
    shards
}
