//! How a node could do its work in less memory.
//!
//! A node's forecast may offer [`Way`]s beside the plain one, the least costly first. Where a budget is too small for the plain one,
//! the plan takes the first that fits and tells the node, which asks its context for it.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use crate::residency::ComponentSpec;

/// Something done differently to need less memory.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Saving {
    /// The picture is worked on in tiles whose seams are blended: nearly the same picture.
    Tiles {
        /// Pixels of a side of a tile.
        side: u64,
    },
    /// One sample after the other instead of a whole batch: the same numbers but for rounding.
    Slices,
    /// Weights beyond a part that stays are read from their file each time they are used: the same numbers.
    Stream {
        /// Hundredths of the weights that stay in memory.
        resident: u8,
    },
    /// Weights are held with fewer bits than their file has: another, close picture.
    Narrow {
        /// How they are held: `q8_0` …
        dtype: Arc<str>,
    },
}

impl fmt::Display for Saving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tiles { side } => write!(f, "tiles of {side}×{side} pixels, seams blended"),
            Self::Slices => f.write_str("one sample after the other"),
            Self::Stream { resident: 0 } => f.write_str("weights read from the file as they are used"),
            Self::Stream { resident } => {
                write!(f, "{resident}% of the weights in memory, the rest read from the file as it is used")
            }
            Self::Narrow { dtype } => write!(f, "weights held as {dtype}"),
        }
    }
}

/// A way to do a node's work in less memory than its forecast says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Way {
    /// What is done differently.
    pub savings: Vec<Saving>,
    /// Weights that it holds while it runs.
    pub uses: Vec<ComponentSpec>,
    /// Bytes of scratch at their peak, outputs not counted.
    pub scratch: u64,
}

/// Which savings a plan may choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Savings {
    /// [`Saving::Tiles`].
    pub tiles: bool,
    /// [`Saving::Slices`].
    pub slices: bool,
    /// [`Saving::Stream`].
    pub stream: bool,
    /// [`Saving::Narrow`]: only if the user says so, as it changes the picture.
    pub narrow: bool,
}

impl Savings {
    /// None at all: what does not fit as it is, is refused.
    pub const NONE: Self = Self { tiles: false, slices: false, stream: false, narrow: false };

    /// Whether a way uses only what is allowed.
    pub fn allow(self, way: &Way) -> bool {
        way.savings.iter().all(|saving| match saving {
            Saving::Tiles { .. } => self.tiles,
            Saving::Slices => self.slices,
            Saving::Stream { .. } => self.stream,
            Saving::Narrow { .. } => self.narrow,
        })
    }
}

impl Default for Savings {
    fn default() -> Self {
        Self { tiles: true, slices: true, stream: true, narrow: false }
    }
}
