//! Normalisations, reading f32 or bf16 and writing what the next operator reads.

mod group;
mod heads;
mod layer;

pub use group::GroupNorm;
pub(crate) use group::workspace as group_workspace;
pub use heads::{HeadNormRope, Pairs, Rope};
pub use layer::{LayerNorm, Modulation, RmsNorm};
