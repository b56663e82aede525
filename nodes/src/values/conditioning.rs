//! `CONDITIONING`.

use candle_core::Tensor;
use ebb_engine::node::NodeError;
use ebb_engine::value::Payload;
use ebb_sampling::guidance::{CondValue, Conditioning as Entry};

use super::tensor_bytes;

/// Encoded prompts, each with where and when it speaks.
#[derive(Clone, Debug, Default)]
pub struct Conditioning {
    /// The entries; together they make one side of guidance.
    pub entries: Vec<Entry>,
}

impl Conditioning {
    /// One entry.
    pub fn single(entry: Entry) -> Self {
        Self { entries: vec![entry] }
    }

    /// Tokens of the longest prompt.
    pub fn longest(&self) -> usize {
        let prompts = self.entries.iter().filter_map(|e| e.cross_attn.as_ref());
        prompts.filter_map(|t| t.dim(1).ok()).max().unwrap_or(0)
    }

    /// The same entries, each changed.
    pub fn map(&self, change: impl FnMut(&mut Entry)) -> Self {
        let mut entries = self.entries.clone();
        entries.iter_mut().for_each(change);
        Self { entries }
    }

    /// The same entries, each changed by something that may fail.
    ///
    /// # Errors
    /// The first failure.
    pub fn try_map(
        &self,
        change: impl FnMut(&mut Entry) -> Result<(), NodeError>,
    ) -> Result<Self, NodeError> {
        let mut entries = self.entries.clone();
        entries.iter_mut().try_for_each(change)?;
        Ok(Self { entries })
    }
}

/// The tensors that an entry keeps alive.
fn tensors(entry: &Entry) -> impl Iterator<Item = &Tensor> {
    let extra = entry.extra.values().flat_map(|value| match value {
        CondValue::Tensor(tensor) => std::slice::from_ref(tensor),
        CondValue::Tensors(tensors) => tensors.as_slice(),
        _ => &[],
    });
    let mask = entry.mask.as_ref().map(|mask| &mask.weights);
    entry.cross_attn.iter().chain(entry.pooled.iter()).chain(mask).chain(extra)
}

impl Payload for Conditioning {
    fn type_name(&self) -> &'static str {
        "CONDITIONING"
    }

    fn bytes(&self) -> u64 {
        // Entries share tensors; each is counted once.
        let mut seen = Vec::new();
        let mut bytes = 0;
        for tensor in self.entries.iter().flat_map(tensors) {
            if !seen.contains(&tensor.id()) {
                seen.push(tensor.id());
                bytes += tensor_bytes(tensor);
            }
        }
        bytes
    }

    fn summary(&self) -> String {
        let shapes = self.entries.iter().map(|e| e.cross_attn.as_ref().map(|t| t.dims().to_vec()));
        format!("{:?}", shapes.collect::<Vec<_>>())
    }
}
