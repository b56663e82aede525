//! `LATENT`.

use candle_core::Tensor;
use ebb_engine::node::{NodeError, Sketch};
use ebb_engine::value::Payload;

use super::{Mask, OrNode, f32_bytes, tensor_bytes};

/// A batch of latents, `[batch, channels, height, width]` in latent cells, with what ComfyUI
/// carries beside them.
#[derive(Clone, Debug)]
pub struct Latent {
    /// The samples, f32.
    pub samples: Tensor,
    /// Where to paint (1) and what to keep (0), in pixels or cells: it is scaled when used.
    pub noise_mask: Option<Mask>,
    /// Which draw of the seed's noise each item gets, where that is not its place in the batch.
    pub batch_index: Option<Vec<u64>>,
}

/// The dimensions of a [`Latent`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LatentShape {
    /// Items.
    pub batch: usize,
    /// Channels: 4, or 16 for newer families.
    pub channels: usize,
    /// Rows of cells.
    pub height: usize,
    /// Columns of cells.
    pub width: usize,
}

impl LatentShape {
    /// A sketch of a latent of this shape.
    ///
    /// # Errors
    /// Where its bytes overflow.
    pub fn sketch(self) -> Result<Sketch, NodeError> {
        let bytes = f32_bytes(&[self.batch, self.channels, self.height, self.width]).ok_or_else(|| {
            NodeError::memory(format!(
                "{} latents of {}×{} cells are more bytes than can be counted; use a smaller size or batch",
                self.batch, self.width, self.height
            ))
        })?;
        Ok(Sketch::known(bytes, self))
    }
}

impl Latent {
    /// Samples alone.
    pub fn new(samples: Tensor) -> Self {
        Self { samples, noise_mask: None, batch_index: None }
    }

    /// Other samples with the same mask and indices.
    pub fn with_samples(&self, samples: Tensor) -> Self {
        Self { samples, ..self.clone() }
    }

    /// The dimensions.
    ///
    /// # Errors
    /// Where the samples have not four.
    pub fn shape(&self) -> Result<LatentShape, NodeError> {
        let (batch, channels, height, width) = self.samples.dims4().or_node()?;
        Ok(LatentShape { batch, channels, height, width })
    }
}

impl Payload for Latent {
    fn type_name(&self) -> &'static str {
        "LATENT"
    }

    fn bytes(&self) -> u64 {
        tensor_bytes(&self.samples) + self.noise_mask.as_ref().map_or(0, Payload::bytes)
    }

    fn summary(&self) -> String {
        format!("{:?}", self.samples.dims())
    }
}
