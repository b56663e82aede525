//! Views over model files: which tensors a component is made of, and under which names.

mod read;
mod view;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use indexmap::IndexMap;
use sha2::{Digest, Sha256};

pub use view::TensorView;

use crate::{ModelFile, Result, WeightError};

/// The tensors of a component under the names that its model asks for. A view: cheap to make, to
/// narrow and to rename; nothing is read until a [`TensorView`] is asked for its values.
#[derive(Clone)]
pub struct WeightSource {
    /// Stands in errors: the file, or the first of several.
    label: PathBuf,
    tensors: Arc<IndexMap<String, TensorView>>,
}

impl WeightSource {
    /// All tensors of a file under their own names. The scales that fp8 files store beside their
    /// weights become part of these and are not listed.
    pub fn of_file(file: &Arc<ModelFile>) -> Self {
        let mut tensors: IndexMap<String, TensorView> = file
            .tensors()
            .map(|(name, info)| (name.to_owned(), TensorView::of_file(file.clone(), name, info)))
            .collect();
        attach_scales(&mut tensors);
        Self { label: file.path().to_owned(), tensors: Arc::new(tensors) }
    }

    /// Tensors put together by hand. `label` stands in errors.
    pub fn of_tensors(label: impl AsRef<Path>, tensors: impl IntoIterator<Item = TensorView>) -> Self {
        let tensors = tensors.into_iter().map(|t| (t.name().to_owned(), t)).collect();
        Self { label: label.as_ref().to_owned(), tensors: Arc::new(tensors) }
    }

    /// The tensors whose names begin with `prefix`, which is cut off.
    pub fn under(&self, prefix: &str) -> Self {
        self.renamed(|name| name.strip_prefix(prefix).map(str::to_owned))
    }

    /// The tensors that `rename` gives a name, under that name. Where two get the same, the first stays.
    pub fn renamed(&self, mut rename: impl FnMut(&str) -> Option<String>) -> Self {
        let mut tensors = IndexMap::new();
        for (name, view) in self.tensors.iter() {
            if let Some(name) = rename(name) {
                tensors.entry(name).or_insert_with_key(|n| view.clone().named(n));
            }
        }
        Self { label: self.label.clone(), tensors: Arc::new(tensors) }
    }

    /// Both sources' tensors; where both have a name, this one's stays.
    pub fn joined(&self, other: &Self) -> Self {
        let mut tensors = (*self.tensors).clone();
        for (name, view) in other.tensors.iter() {
            tensors.entry(name.clone()).or_insert_with(|| view.clone());
        }
        Self { label: self.label.clone(), tensors: Arc::new(tensors) }
    }

    /// The file that errors name.
    pub fn label(&self) -> &Path {
        &self.label
    }

    /// The number of tensors.
    pub fn len(&self) -> usize {
        self.tensors.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }

    /// The names in the order of the files.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// The tensors in the order of the files.
    pub fn tensors(&self) -> impl ExactSizeIterator<Item = &TensorView> {
        self.tensors.values()
    }

    /// Whether there is a tensor of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// A tensor, if there is one of this name.
    pub fn get(&self, name: &str) -> Option<&TensorView> {
        self.tensors.get(name)
    }

    /// The shape of a tensor, if there is one of this name.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.get(name).map(TensorView::shape)
    }

    /// A tensor that a model cannot do without.
    ///
    /// # Errors
    /// [`WeightError::Missing`] with the most similar name that is there.
    pub fn tensor(&self, name: &str) -> Result<&TensorView> {
        self.get(name).ok_or_else(|| WeightError::Missing {
            file: self.label.clone(),
            tensor: name.to_owned(),
            nearest: nearest(name, self.names()),
        })
    }

    /// Bytes of all tensors as they are stored.
    pub fn bytes(&self) -> u64 {
        self.tensors().map(TensorView::stored_bytes).sum()
    }

    /// Bytes of the largest tensor as it is stored.
    pub fn largest(&self) -> u64 {
        self.tensors().map(TensorView::stored_bytes).max().unwrap_or(0)
    }

    /// What tells these weights from others: the fingerprints of the files, and which of their
    /// tensors have which names here. 32 hexadecimal digits; reads no tensor.
    pub fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        for file in self.files() {
            hash.update(file.fingerprint());
        }
        for (name, view) in self.tensors.iter() {
            hash.update(name);
            view.feed(&mut hash);
        }
        crate::file::hex(&hash.finalize()[..16])
    }

    /// The files that the tensors lie in, each once.
    pub fn files(&self) -> Vec<&Arc<ModelFile>> {
        let mut files: Vec<&Arc<ModelFile>> = Vec::new();
        for file in self.tensors().flat_map(TensorView::files) {
            if !files.iter().any(|f| Arc::ptr_eq(f, file)) {
                files.push(file);
            }
        }
        files
    }

    /// Fails if a file is no longer the one whose header was read: to be asked when a load begins.
    ///
    /// # Errors
    /// [`WeightError::Changed`].
    pub fn check_unchanged(&self) -> Result<()> {
        self.files().into_iter().try_for_each(|f| f.check_unchanged())
    }

    /// Asks the system to read all tensors ahead of their use; returns at once.
    pub fn read_ahead(&self) {
        self.tensors().for_each(TensorView::read_ahead);
    }

    /// Fails with the first tensors that are missing or have another shape than `family` prescribes.
    ///
    /// # Errors
    /// [`WeightError::Incomplete`].
    pub fn check<'a>(
        &self,
        family: &str,
        expected: impl IntoIterator<Item = (&'a str, &'a [usize])>,
    ) -> Result<()> {
        const SHOWN: usize = 5;
        let mut wrong = Vec::new();
        let mut count = 0;
        for (name, shape) in expected {
            let found = self.shape(name);
            if found == Some(shape) {
                continue;
            }
            count += 1;
            if wrong.len() < SHOWN {
                wrong.push(match found {
                    None => format!("'{name}' is missing"),
                    Some(found) => format!("'{name}' has shape {found:?} instead of {shape:?}"),
                });
            }
        }
        if count == 0 {
            return Ok(());
        }
        let more = if count > SHOWN { format!(" and {} more", count - SHOWN) } else { String::new() };
        Err(WeightError::Incomplete {
            file: self.label.clone(),
            family: family.to_owned(),
            detail: wrong.join(", ") + &more,
        })
    }
}

/// Gives fp8 weights the scale that stands beside them, in either of the two namings in use, and
/// takes what serves only quantised arithmetic (input scales, markers) off the list.
fn attach_scales(tensors: &mut IndexMap<String, TensorView>) {
    let scaled: Vec<(String, TensorView)> = tensors
        .iter()
        .filter(|(name, view)| view.dtype().is_fp8() && name.ends_with("weight"))
        .filter_map(|(name, _)| {
            let base = name.strip_suffix("weight")?;
            let scale = [format!("{base}scale_weight"), format!("{base}weight_scale")]
                .iter()
                .find_map(|n| tensors.get(n))?;
            Some((name.clone(), scale.clone()))
        })
        .collect();
    if scaled.is_empty() && !tensors.contains_key("scaled_fp8") {
        return;
    }
    for (name, scale) in scaled {
        if let Some(view) = tensors.get_mut(&name) {
            view.set_scale(scale);
        }
    }
    const BESIDE: [&str; 5] =
        [".scale_weight", ".weight_scale", ".scale_input", ".input_scale", "scaled_fp8"];
    tensors.retain(|name, _| !BESIDE.iter().any(|suffix| name.ends_with(suffix)));
}

/// The most similar of `names`, if one is similar at all.
pub(crate) fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<String> {
    names
        .map(|n| (strsim::jaro_winkler(name, n), n))
        .filter(|(likeness, _)| *likeness > 0.85)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, n)| n.to_owned())
}

#[cfg(test)]
mod tests;
