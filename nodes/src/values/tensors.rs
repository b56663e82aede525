//! The tensors of a component: those of a file, or what patches and merges make of them.

use std::sync::Arc;

use ebb_engine::residency::{ComponentKey, ComponentSpec};
use ebb_models::source::Source;
use ebb_weights::WeightSource;
use sha2::{Digest, Sha256};

use crate::compute::Compute;

/// Named tensors with an identity. Cheap to clone; nothing is read before a network asks.
#[derive(Clone)]
pub(crate) struct Tensors {
    pub(crate) source: Arc<dyn Source>,
    /// The file, and what changed it, for people.
    name: Arc<str>,
    /// What was done to the file's tensors: empty, or a digest for each change.
    changes: Arc<str>,
    fingerprint: Arc<str>,
    /// Bytes on top of the component's own while it is loaded.
    overhead: u64,
}

impl Tensors {
    /// The tensors of a file as they are.
    pub(crate) fn of_file(source: WeightSource) -> Self {
        let name = source.label().file_name().map(|n| n.to_string_lossy().into_owned());
        Self {
            name: name.unwrap_or_default().into(),
            changes: "".into(),
            fingerprint: source.fingerprint().into(),
            // The largest tensor is read before it is packed.
            overhead: source.largest().saturating_mul(2),
            source: Arc::new(source),
        }
    }

    /// What a change makes of them. `change` tells it from every other change of any tensors.
    pub(crate) fn changed(&self, source: Arc<dyn Source>, name: &str, change: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(&*self.changes);
        hash.update([0]);
        hash.update(change);
        let changes: String = hash.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        Self {
            source,
            name: format!("{} + {name}", self.name).into(),
            changes: changes.into(),
            fingerprint: self.fingerprint.clone(),
            overhead: self.overhead,
        }
    }

    /// `file part`, for people.
    pub(crate) fn label(&self, part: &str) -> Arc<str> {
        format!("{} {part}", self.name).into()
    }

    /// The file, and what changed it, for people.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What tells them from all others.
    pub(crate) fn identity(&self) -> String {
        format!("{}+{}", self.fingerprint, self.changes)
    }

    /// The component that is `part` of them, `bytes` in memory. A changed component carries the fingerprint of
    /// the file that it is a view on, and the change in its part.
    pub(crate) fn spec(&self, part: &str, compute: &Compute, bytes: u64) -> ComponentSpec {
        let changes = &self.changes;
        let key = ComponentKey {
            fingerprint: self.fingerprint.clone(),
            part: if changes.is_empty() { part.into() } else { format!("{part}+{changes}").into() },
            dtype: compute.dtype().into(),
        };
        ComponentSpec { key, label: self.label(part), bytes, load_overhead: self.overhead }
    }
}
