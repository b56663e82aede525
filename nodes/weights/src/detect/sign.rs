//! What tells models apart: the presence, rank and dimensions of tensors.

use serde::Serialize;

use super::family::{Family, Naming, Part};
use crate::WeightSource;

/// A row of the table: if all its signs are there, it is this.
pub(super) struct Rule {
    pub(super) part: Part,
    pub(super) family: Family,
    pub(super) naming: Naming,
    /// The first sign is the one that most models lack, so that a row is passed over quickly.
    pub(super) signs: &'static [Sign],
}

/// A thing to look for. Names are as they are after the component's prefix.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sign {
    /// A tensor of this name.
    Has(&'static str),
    /// No tensor of this name.
    Lacks(&'static str),
    /// A tensor whose name ends like this.
    Ends(&'static str),
    /// A tensor whose name begins like this.
    Begins(&'static str),
    /// A dimension of a tensor.
    Dim(&'static str, usize, usize),
    /// The number of a tensor's dimensions.
    Rank(&'static str, usize),
}

/// A sign that was found: what was looked at, and what was there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Evidence {
    /// The tensor or metadata.
    pub looked_at: String,
    /// What was found: a shape, or that there is none.
    pub found: String,
}

impl Sign {
    /// The evidence, if the sign is there.
    pub(super) fn seen(&self, source: &WeightSource) -> Option<Evidence> {
        let shape_of = |name: &str| source.shape(name).map(|s| (name.to_owned(), s.to_vec()));
        let first = |test: &dyn Fn(&str) -> bool| source.names().find(|n| test(n)).and_then(shape_of);
        let shape = |found: Option<(String, Vec<usize>)>| {
            found.map(|(name, shape)| Evidence { looked_at: name, found: format!("{shape:?}") })
        };
        match *self {
            Self::Has(name) => shape(shape_of(name)),
            Self::Lacks(name) if source.contains(name) => None,
            Self::Lacks(name) => Some(Evidence { looked_at: name.to_owned(), found: "absent".to_owned() }),
            Self::Ends(end) => shape(first(&|n| n.ends_with(end))),
            Self::Begins(start) => shape(first(&|n| n.starts_with(start))),
            Self::Dim(name, axis, size) => {
                shape(shape_of(name).filter(|(_, shape)| shape.get(axis) == Some(&size)))
            }
            Self::Rank(name, rank) => shape(shape_of(name).filter(|(_, shape)| shape.len() == rank)),
        }
    }
}

impl Rule {
    /// All the evidence, if every sign is there.
    pub(super) fn matches(&self, source: &WeightSource) -> Option<Vec<Evidence>> {
        self.signs.iter().map(|sign| sign.seen(source)).collect()
    }
}
