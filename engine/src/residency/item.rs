//! What may be given back when room is needed: weights, and outputs that a cache keeps.

use std::fmt;

use super::ComponentKey;
use crate::cache::Signature;

/// Something that holds memory and can be brought back: read again, or computed again.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Item {
    /// Weights of a component.
    Weights(ComponentKey),
    /// Outputs of a node that the cache keeps.
    Output(Signature),
}

/// Its id in reports and requests: the key of weights, `output/` and the signature of outputs.
impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Weights(key) => key.fmt(f),
            Self::Output(signature) => write!(f, "output/{signature}"),
        }
    }
}
