//! A file of patches on a model and its text encoders.

use std::sync::Arc;

use ebb_engine::node::{Context, NodeError};
use ebb_models::clip::Kind;
use ebb_models::lora::{Keys, Patched, Patches, Spelling};
use ebb_models::source::Source;
use ebb_weights::WeightSource;
use sha2::{Digest, Sha256};

use crate::environment::Environment;
use crate::loaders::open;
use crate::values::tensors::Tensors;
use crate::values::{Clip, Model};

/// An open file of patches. Its tensors are read when a patched weight is.
pub(super) struct LoraFile {
    name: String,
    fingerprint: String,
    tensors: Arc<dyn Source>,
}

/// How strongly the patches are applied; 0 is not at all.
#[derive(Clone, Copy)]
pub(super) struct Strengths {
    pub(super) model: f64,
    pub(super) clip: f64,
}

/// What a file changed; `None` for what it left as it was.
#[derive(Default)]
pub(super) struct Applied {
    pub(super) model: Option<Model>,
    pub(super) clip: Option<Clip>,
    /// Names in the file that fit neither; `None` where a strength of 0 left a part of it unread.
    unmatched: Option<Vec<String>>,
    /// Tensors that are changed.
    changed: usize,
}

/// How many names a warning lists.
const LISTED: usize = 5;

impl LoraFile {
    pub(super) fn open(environment: &Environment, name: &str) -> Result<Self, NodeError> {
        let file = open(environment, "loras", "lora_name", name)?;
        let tensors = Arc::new(WeightSource::of_file(&file));
        Ok(Self { name: name.to_owned(), fingerprint: file.fingerprint(), tensors })
    }

    /// Views on what is given, patched at the strengths.
    pub(super) fn apply(
        &self,
        model: Option<&Model>,
        clip: Option<&Clip>,
        strengths: Strengths,
    ) -> Result<Applied, NodeError> {
        let mut applied = Applied::default();
        let mut ignored: Vec<Vec<String>> = Vec::new();
        let mut changed = 0;
        let identity = |strength: f64| format!("lora {} {strength}", self.fingerprint);
        let mut patch = |tensors: &Tensors, spelling: Spelling, strength: f64| {
            let keys = Keys::new(&tensors.source, spelling);
            let patches = Patches::read(self.tensors.clone(), &keys, self.number());
            ignored.push(patches.ignored().to_vec());
            changed += patches.len();
            (!patches.is_empty()).then(|| -> Arc<dyn Source> {
                Arc::new(Patched::new(tensors.source.clone(), [(Arc::new(patches), strength as f32)]))
            })
        };
        if let Some(model) = model.filter(|_| strengths.model != 0.0) {
            let patched = patch(model.tensors(), Spelling::Denoiser, strengths.model);
            let identity = identity(strengths.model);
            applied.model = patched.map(|tensors| model.view(tensors, &self.name, &identity)).transpose()?;
        }
        if let Some(clip) = clip.filter(|_| strengths.clip != 0.0) {
            let several = clip.encoders().len() > 1;
            let mut any = false;
            let view = clip.view(&self.name, &identity(strengths.clip), |_, kind, tensors| {
                let patched = patch(tensors, spelling(kind, several), strengths.clip);
                any |= patched.is_some();
                Ok(patched)
            })?;
            applied.clip = any.then_some(view);
        }
        let read_all = strengths.model != 0.0 && (strengths.clip != 0.0 || clip.is_none());
        if let Some((first, rest)) = ignored.split_first().filter(|_| read_all) {
            let fits_none = |name: &&String| rest.iter().all(|names| names.binary_search(name).is_ok());
            let mut unmatched: Vec<String> = first.iter().filter(fits_none).cloned().collect();
            if clip.is_none() {
                // A file for both is used for one on purpose.
                unmatched.retain(|name| !is_of_encoder(name));
            }
            applied.unmatched = Some(unmatched);
        }
        applied.changed = changed;
        Ok(applied)
    }

    /// Warns by name about what fits nothing, in the log and under the node.
    pub(super) fn report(&self, context: &Context, applied: &Applied) {
        let Some(unmatched) = applied.unmatched.as_ref().filter(|names| !names.is_empty()) else { return };
        let mut listed = unmatched.iter().take(LISTED).cloned().collect::<Vec<_>>().join(", ");
        if unmatched.len() > LISTED {
            listed += &format!(" and {} more", unmatched.len() - LISTED);
        }
        let consequence = match applied.changed {
            0 => "the LoRA changes nothing; it is probably made for another family of models",
            _ => "they are left out",
        };
        let text = format!("{}: no module of this model has the name of {listed}; {consequence}", self.name);
        tracing::warn!(lora = self.name, unmatched = unmatched.len(), "{text}");
        context.text(text);
    }

    /// What tells this file's patches from those of others in a patched weight's revision.
    fn number(&self) -> u64 {
        let digest = Sha256::digest(&self.fingerprint);
        digest.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
    }
}

/// Whether a name is spelled as a text encoder's module.
fn is_of_encoder(name: &str) -> bool {
    name.starts_with("lora_te") || name.starts_with("text_encoder")
}

fn spelling(kind: Kind, several: bool) -> Spelling {
    match (kind, several) {
        (_, false) => Spelling::TextEncoder(0),
        (Kind::L, true) => Spelling::TextEncoder(1),
        (Kind::G | Kind::H, true) => Spelling::TextEncoder(2),
    }
}
