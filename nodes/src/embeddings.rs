//! Textual inversions: `embedding:name` looked up in the model folders.

use ebb_text::{Embedding, Embeddings, TextError};
use ebb_weights::{ModelFolders, TensorView};

/// Endings that are tried where the prompt gives none.
const ENDINGS: [&str; 4] = ["safetensors", "pt", "bin", "ckpt"];

/// The files of the embeddings folder, as one encoder reads them.
pub(crate) struct Files<'a> {
    pub(crate) models: &'a ModelFolders,
    /// The encoder's name in files that hold vectors for several: `clip_l`, `clip_g`.
    pub(crate) encoder: &'static str,
}

impl Embeddings for Files<'_> {
    fn find(&self, name: &str) -> ebb_text::Result<Option<Embedding>> {
        let candidates = ENDINGS.iter().map(|ending| format!("{name}.{ending}"));
        let Some(file) = std::iter::once(name.to_owned())
            .chain(candidates)
            .find(|file| self.models.resolve("embeddings", file).is_ok())
        else {
            return Ok(None);
        };
        let unreadable = |reason: String| TextError::Embedding { name: name.to_owned(), reason };
        let file = self.models.open("embeddings", &file).map_err(|e| unreadable(e.to_string()))?;
        // A file for one encoder holds one tensor under some name; others name the encoder.
        let names: Vec<&str> = file.tensors().map(|(name, _)| name).collect();
        let key = [self.encoder, "emb_params", "*"]
            .into_iter()
            .find(|key| names.contains(key))
            .or_else(|| names.iter().find(|n| n.ends_with(".*")).copied())
            .or_else(|| names.first().copied())
            .ok_or_else(|| unreadable("the file holds no tensor".into()))?;
        let view = TensorView::open(&file, key).map_err(|e| unreadable(e.to_string()))?;
        let width = match view.shape() {
            [width] | [_, width] => *width,
            other => {
                return Err(unreadable(format!("`{key}` has shape {other:?}, expected [vectors, channels]")));
            }
        };
        let values = view.to_vec::<f32>().map_err(|e| unreadable(e.to_string()))?;
        Ok(Some(Embedding { values, width }))
    }
}
