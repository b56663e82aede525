//! `CLIP_VISION_OUTPUT`, and what entries of a conditioning carry of it and of boxes.

use candle_core::Tensor;
use ebb_engine::value::Payload;
use ebb_models::gligen::{Gligen, Placed};

use super::handle::Handle;
use super::tensor_bytes;

/// What a picture encoder saw in pictures.
#[derive(Clone, Debug)]
pub struct VisionOutput {
    /// The last layer, `[n, tokens, channels]`.
    pub last: Tensor,
    /// The layer before the last, `[n, tokens, channels]`.
    pub penultimate: Tensor,
    /// One vector a picture, `[n, channels]`, of encoders that have one.
    pub embeds: Tensor,
}

impl Payload for VisionOutput {
    fn type_name(&self) -> &'static str {
        "CLIP_VISION_OUTPUT"
    }

    fn bytes(&self) -> u64 {
        [&self.last, &self.penultimate, &self.embeds].into_iter().map(tensor_bytes).sum()
    }

    fn summary(&self) -> String {
        format!("{:?}", self.penultimate.dims())
    }
}

/// A picture among those that a prompt shows (`unCLIPConditioning`).
#[derive(Clone, Debug)]
pub struct Shown {
    /// One vector a picture, `[n, channels]`.
    pub embeds: Tensor,
    /// How strongly it is followed.
    pub strength: f64,
    /// How much noise is put on it, 0 to 1.
    pub noise: f64,
}

/// A phrase and where it is to be, in cells of the latent.
#[derive(Clone, Debug)]
pub struct PhraseBox {
    /// The pooled phrase.
    pub phrase: Vec<f32>,
    /// Rows.
    pub height: u64,
    /// Columns.
    pub width: u64,
    /// First row.
    pub y: u64,
    /// First column.
    pub x: u64,
}

impl PhraseBox {
    /// The box in shares of a latent of a size.
    pub(crate) fn placed(&self, height: usize, width: usize) -> Placed {
        let (rows, columns) = (height as f32, width as f32);
        Placed {
            sides: [
                self.x as f32 / columns,
                self.y as f32 / rows,
                (self.x + self.width) as f32 / columns,
                (self.y + self.height) as f32 / rows,
            ],
            phrase: self.phrase.clone(),
        }
    }
}

/// Boxes on an entry of a conditioning.
pub struct Boxes {
    /// What fuses them.
    pub gligen: Handle<Gligen>,
    /// The boxes, in the order in which they were added.
    pub boxes: Vec<PhraseBox>,
}
