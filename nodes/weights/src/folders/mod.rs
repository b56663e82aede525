//! Model folders: where ComfyUI's users keep their models, and the files that workflows may name.
//!
//! A name from a workflow is resolved only if the folders list it. A link inside a folder may lead
//! to another model folder but nowhere else; a model folder itself may be a link.

mod config;
mod layout;
mod walk;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use indexmap::IndexMap;
use serde::Serialize;

use crate::{ModelFile, Result, WeightError};

/// The folders of each kind of model, in the order in which they are searched.
#[derive(Clone, Debug, Default)]
pub struct ModelFolders {
    kinds: IndexMap<String, Kind>,
}

#[derive(Clone, Debug, Default)]
struct Kind {
    roots: Vec<PathBuf>,
    /// Endings of its files, in lower case and with their dot; any file where there are none.
    endings: &'static [&'static str],
}

/// A file that a model folder lists.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ListedModel {
    /// Its path from the folder, with `/`.
    pub name: String,
    /// Which of its kind's folders it lies in.
    pub root: usize,
    /// Its length in bytes.
    pub bytes: u64,
    /// When it was changed, in seconds since 1970.
    pub modified: f64,
    /// When it was made, in seconds since 1970, where the system knows.
    pub created: Option<f64>,
}

impl ModelFolders {
    /// ComfyUI's folders under one: `checkpoints`, `vae`, `loras` … They need not exist.
    pub fn under(models: impl AsRef<Path>) -> Self {
        let models = models.as_ref();
        let mut folders = Self::default();
        for (name, names, endings) in layout::KINDS {
            let roots = names.iter().map(|f| models.join(f)).collect();
            folders.kinds.insert((*name).to_owned(), Kind { roots, endings });
        }
        folders
    }

    /// Adds a folder to a kind, before the ones that it has or after them. A kind that is new takes
    /// any file.
    pub fn add(&mut self, kind: &str, folder: impl Into<PathBuf>, first: bool) {
        let roots = &mut self.kinds.entry(layout::current_name(kind).to_owned()).or_default().roots;
        let folder = folder.into();
        let at = roots.iter().position(|r| *r == folder);
        match (at, first) {
            (Some(_), false) => {}
            (Some(at), true) => roots[..=at].rotate_right(1),
            (None, true) => roots.insert(0, folder),
            (None, false) => roots.push(folder),
        }
    }

    /// Adds the folders of an `extra_model_paths.yaml`, as ComfyUI reads it.
    ///
    /// # Errors
    /// Where the file cannot be read or is not of that form.
    pub fn add_config(&mut self, file: &Path) -> Result<()> {
        for entry in config::read(file)? {
            self.add(&entry.kind, entry.folder, entry.first);
        }
        Ok(())
    }

    /// The names of all kinds.
    pub fn kinds(&self) -> impl Iterator<Item = &str> {
        self.kinds.keys().map(String::as_str)
    }

    /// The folders of a kind, in the order in which they are searched. Names of former times
    /// (`clip`, `unet`) stand for today's.
    pub fn roots(&self, kind: &str) -> &[PathBuf] {
        self.kind(kind).map_or(&[], |k| &k.roots)
    }

    /// Whether there is such a kind.
    pub fn has_kind(&self, kind: &str) -> bool {
        self.kind(kind).is_some()
    }

    /// The same folders by absolute paths, for those who don't know where the program was started.
    #[must_use]
    pub fn absolute(mut self) -> Self {
        for root in self.kinds.values_mut().flat_map(|kind| &mut kind.roots) {
            if let Ok(absolute) = std::path::absolute(&*root) {
                *root = absolute;
            }
        }
        self
    }

    /// The names of a kind's files, sorted. A name that is in several folders stands once.
    pub fn list(&self, kind: &str) -> Vec<String> {
        self.entries(kind).into_iter().map(|e| e.name).collect()
    }

    /// The files of a kind with what the system says of them, by name; of each name the one that
    /// [`open`](Self::open) would open.
    pub fn entries(&self, kind: &str) -> Vec<ListedModel> {
        let Some(folders) = self.kind(kind) else { return Vec::new() };
        // Only a link has to be held against them, and most folders have none.
        let allowed = walk::Allowed::new(Box::new(|| self.real_roots()));
        let mut found = Vec::new();
        for (root, folder) in folders.roots.iter().enumerate() {
            if layout::current_name(kind) == layout::DIFFUSERS {
                walk::diffusers(folder, root, &allowed, &mut found);
            } else {
                walk::files(folder, root, folders.endings, &allowed, &mut found);
            }
        }
        found.sort_by(|a, b| a.name.cmp(&b.name).then(a.root.cmp(&b.root)));
        found.dedup_by(|later, first| later.name == first.name);
        found
    }

    /// The file that a name of a kind stands for: in the first folder that lists it.
    ///
    /// # Errors
    /// [`WeightError::NotListed`] for anything that [`list`](Self::list) does not show.
    pub fn resolve(&self, kind: &str, name: &str) -> Result<PathBuf> {
        self.locate(kind, name, &self.real_roots())
    }

    fn locate(&self, kind: &str, name: &str, allowed: &[PathBuf]) -> Result<PathBuf> {
        let refuse = |why: Option<&str>| self.not_listed(kind, name, why);
        let Some(folders) = self.kind(kind) else {
            return Err(refuse(Some("there is no such kind of folder")));
        };
        let relative = walk::safe_relative(name).ok_or_else(|| refuse(None))?;
        let is_diffusers = layout::current_name(kind) == layout::DIFFUSERS;
        if !is_diffusers && !walk::has_ending(name, folders.endings) {
            return Err(refuse(None));
        }
        let mut leads_out = false;
        for folder in &folders.roots {
            // Follows every link, then compares: the other way round, a link would be believed.
            let Ok(real) = folder.join(&relative).canonicalize() else { continue };
            let is_there =
                if is_diffusers { real.join(walk::DIFFUSERS_INDEX).is_file() } else { real.is_file() };
            if !is_there {
                continue;
            }
            if allowed.iter().any(|root| real.starts_with(root)) {
                return Ok(real);
            }
            leads_out = true;
        }
        Err(refuse(leads_out.then_some(
            "it is a link that leads out of the model folders; add the folder that it leads to \
             to extra_model_paths.yaml",
        )))
    }

    /// Resolves a name and opens the file; nothing that changes in between can lead out of the model folders.
    ///
    /// # Errors
    /// As [`resolve`](Self::resolve) and [`ModelFile::open_beneath`].
    pub fn open(&self, kind: &str, name: &str) -> Result<Arc<ModelFile>> {
        let allowed = self.real_roots();
        let path = self.locate(kind, name, &allowed)?;
        let refused = || WeightError::Changed { file: path.clone() };
        open_inside(&allowed, &path).ok_or_else(refused)?
    }

    /// Opens the files of one part of a model in several files (`unet`, `text_encoder_2` …): the half-precision file
    /// where there is one, or all of its shards. Empty where the model has no such part.
    ///
    /// # Errors
    /// As [`resolve`](Self::resolve) and [`ModelFile::open_beneath`]; [`WeightError::NotListed`] for a file that is a link
    /// out of the model folders.
    pub fn open_part(&self, model: &str, part: &str) -> Result<Vec<Arc<ModelFile>>> {
        let allowed = self.real_roots();
        let folder = self.locate(layout::DIFFUSERS, model, &allowed)?.join(part);
        let mut opened = Vec::new();
        for path in walk::part_files(&folder) {
            let real = path.canonicalize().map_err(|e| WeightError::io(&path, e))?;
            let why = || format!("its {part} is a link that leads out of the model folders");
            let refused = || self.not_listed(layout::DIFFUSERS, model, Some(&why()));
            opened.push(open_inside(&allowed, &real).ok_or_else(refused)??);
        }
        Ok(opened)
    }

    fn kind(&self, kind: &str) -> Option<&Kind> {
        self.kinds.get(layout::current_name(kind))
    }

    /// All folders of all kinds with their own links followed.
    fn real_roots(&self) -> Vec<PathBuf> {
        self.kinds.values().flat_map(|k| &k.roots).filter_map(|r| r.canonicalize().ok()).collect()
    }

    fn not_listed(&self, kind: &str, name: &str, why: Option<&str>) -> WeightError {
        let names = self.list(kind);
        WeightError::NotListed {
            kind: kind.to_owned(),
            name: name.chars().take(200).collect(),
            why: why.map(str::to_owned),
            nearest: crate::source::nearest(name, names.iter().map(String::as_str)),
        }
    }
}

/// Opens a file by its real path, from the folder that it is in; `None` where it is in none of them.
fn open_inside(roots: &[PathBuf], real: &Path) -> Option<Result<Arc<ModelFile>>> {
    roots.iter().find_map(|root| Some(ModelFile::open_beneath(root, real.strip_prefix(root).ok()?)))
}
