//! Models that are mixed.

use std::sync::Arc;

use ebb_engine::node::NodeError;

use super::mixed::{Mixed, Shares, digest};
use super::pair::Mixable;
use crate::values::Model;

/// The first model with weights mixed from the second's. `name` is for people, `how` tells the mixture from others.
pub(super) fn mixed(
    first: &Model,
    second: &Model,
    name: &str,
    how: &str,
    shares: impl Fn(&str) -> Shares + Send + Sync + 'static,
) -> Result<Model, NodeError> {
    if first.family.name != second.family.name {
        return Err(NodeError::input(
            "model2",
            format!(
                "is {}; model1 is {}: they have no weights in common",
                second.family.name, first.family.name
            ),
        ));
    }
    let identity = format!("merge {how} {}", second.tensors().identity());
    let (own, other) = (first.tensors().source.clone(), second.tensors().source.clone());
    let source = Arc::new(Mixed::new(own, other, digest(&identity), shares));
    first.view(source, &format!("{name} {}", second.tensors().name()), &identity)
}

impl Mixable for Model {
    const NAMES: [&'static str; 4] = ["Model", "MODEL", "model1", "model2"];

    fn mixed_with(&self, other: &Self, how: &str, shares: Shares) -> Result<Self, NodeError> {
        mixed(self, other, "merged with", how, move |_| shares)
    }
}
