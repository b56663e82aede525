//! Text encoders that are mixed: encoder by encoder.

use std::sync::Arc;

use ebb_engine::node::NodeError;
use ebb_models::source::Source;

use super::mixed::{Mixed, Shares, digest};
use super::pair::Mixable;
use crate::values::Clip;

impl Mixable for Clip {
    const NAMES: [&'static str; 4] = ["CLIP", "CLIP", "clip1", "clip2"];

    /// Encoders that only one side has stay as they are.
    fn mixed_with(&self, other: &Self, how: &str, shares: Shares) -> Result<Self, NodeError> {
        let others: Vec<_> = other.encoders().map(|(kind, tensors)| (kind, tensors.clone())).collect();
        let mut names: Vec<String> = others.iter().map(|(_, tensors)| tensors.identity()).collect();
        names.sort();
        let identity = format!("merge {how} {}", names.join(" "));
        let name = others.first().map(|(_, tensors)| tensors.name().to_owned()).unwrap_or_default();
        self.view(&format!("merged with {name}"), &identity, |_, kind, tensors| {
            let Some((_, other)) = others.iter().find(|(other, _)| *other == kind) else { return Ok(None) };
            let of = move |name: &str| {
                // Positions are no weights, and the scale of similarities is not read.
                let left_out = name.ends_with("position_ids") || name.ends_with("logit_scale");
                if left_out { Shares { own: 1.0, other: 0.0 } } else { shares }
            };
            let mixed = Mixed::new(tensors.source.clone(), other.source.clone(), digest(&identity), of);
            Ok(Some(Arc::new(mixed) as Arc<dyn Source>))
        })
    }
}
