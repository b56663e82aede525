//! What nodes change of a denoiser's layers while it runs. The weights stay as they are.
//!
//! A [`Changes`] travels with each call ([`Input::changes`](crate::denoiser::Input)). A network looks at those that
//! its blocks know and ignores the others, as the reference does.

mod attention;
mod free_u;

use std::fmt;
use std::sync::{Arc, Mutex};

use candle_core::Tensor;

use crate::Result;
use crate::gligen::Fuser;
use crate::hypernetwork::Hypernetwork;

pub use free_u::{FreeU, Version};

/// Changes of a network's layers.
#[derive(Clone, Default)]
pub struct Changes {
    /// What is done to the stream and the skip connection before an output block reads them.
    pub free_u: Vec<FreeU>,
    /// What is done around every self-attention, in this order.
    pub attention: Vec<AttentionChange>,
    /// Extra networks on the keys and values of every attention, with their strengths.
    pub hypernetworks: Vec<(Arc<Hypernetwork>, f32)>,
    /// The middle block's self-attention lets every position see itself alone (Ahn et al. 2024).
    pub perturbed: bool,
    /// Blocks of a transformer that are left out.
    pub skipped: Skipped,
    /// Where the middle block's attention is written down.
    pub recorder: Option<Recording>,
    /// What is fused into the stream between self- and cross-attention.
    pub fuser: Option<Arc<Fuser>>,
    /// Input blocks whose result is made smaller, to grow again beside the skip connection.
    pub shrink: Vec<Shrink>,
}

impl Changes {
    /// These, then others.
    #[must_use]
    pub fn with(&self, other: &Self) -> Self {
        let mut all = self.clone();
        all.free_u.extend_from_slice(&other.free_u);
        all.attention.extend_from_slice(&other.attention);
        all.hypernetworks.extend_from_slice(&other.hypernetworks);
        all.perturbed |= other.perturbed;
        all.skipped.double.extend_from_slice(&other.skipped.double);
        all.skipped.single.extend_from_slice(&other.skipped.single);
        all.recorder = other.recorder.clone().or(all.recorder);
        all.fuser = other.fuser.clone().or(all.fuser);
        all.shrink.extend_from_slice(&other.shrink);
        all
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        let Self { free_u, attention, hypernetworks, perturbed, skipped, recorder, fuser, shrink } = self;
        free_u.is_empty()
            && attention.is_empty()
            && hypernetworks.is_empty()
            && !perturbed
            && skipped.double.is_empty()
            && skipped.single.is_empty()
            && recorder.is_none()
            && fuser.is_none()
            && shrink.is_empty()
    }
}

impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changes")
            .field("free_u", &self.free_u.len())
            .field("attention", &self.attention.len())
            .field("hypernetworks", &self.hypernetworks.len())
            .field("perturbed", &self.perturbed)
            .field("skipped", &self.skipped)
            .finish_non_exhaustive()
    }
}

/// Blocks of a transformer that are left out, by their place in their list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    /// Of the blocks that treat text and picture apart (SD 3 has no others).
    pub double: Vec<usize>,
    /// Of the blocks that treat both as one sequence.
    pub single: Vec<usize>,
}

/// A source of whole numbers that a change draws from: the job's seed decides them.
pub type Draw = Arc<Mutex<dyn FnMut() -> u32 + Send>>;

/// A change around self-attention.
#[derive(Clone)]
pub enum AttentionChange {
    /// Queries are cut into tiles, each of which sees its share of the keys (HyperTile).
    Tiles(Tiling),
    /// Queries that are alike are computed once (Bolya and Hoffman 2023, "Token Merging for Fast Stable Diffusion").
    Merge {
        /// The share of queries that is merged into others.
        ratio: f64,
        /// Which position of each square others are merged into.
        draw: Draw,
    },
}

/// See [`AttentionChange::Tiles`].
#[derive(Clone)]
pub struct Tiling {
    /// Cells along a side of a tile, at least.
    pub size: usize,
    /// How many divisions a tile's side is drawn from.
    pub swap: usize,
    /// Down to which resolution layers are cut: 0 is the latent's own.
    pub depth: u32,
    /// Whether tiles of lower resolutions have more cells.
    pub scales: bool,
    /// Chooses between divisions.
    pub draw: Draw,
}

/// Where an attention is written down.
#[derive(Clone)]
pub struct Recording {
    /// For each recorded sample, how much every key was looked at: the mean over heads of the sums over queries.
    pub sums: Arc<Mutex<Vec<Vec<f32>>>>,
    /// The samples of the call that are recorded: first, and how many.
    pub samples: (usize, usize),
}

/// Resizes an NCHW tensor to rows and columns.
pub type Resize = Arc<dyn Fn(&Tensor, usize, usize) -> Result<Tensor> + Send + Sync>;

/// An input block whose result is made smaller ("deep shrink").
#[derive(Clone)]
pub struct Shrink {
    /// The block's number.
    pub block: usize,
    /// How many times smaller.
    pub factor: f64,
    /// Whether the skip connection keeps the size.
    pub after_skip: bool,
    /// Makes it smaller.
    pub down: Resize,
    /// Makes it fit the skip connection again.
    pub up: Resize,
    /// The noise levels from which on and until which; a caller leaves it out at others.
    pub sigmas: (f64, f64),
}
