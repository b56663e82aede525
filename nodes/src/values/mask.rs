//! `MASK`.

use candle_core::Tensor;
use ebb_engine::node::{NodeError, Sketch};
use ebb_engine::value::Payload;

use super::{OrNode, elements, f32_bytes, tensor, tensor_bytes};

/// A batch of masks, `[batch, height, width]`, f32 in 0..1; 1 is inside.
#[derive(Clone, Debug)]
pub struct Mask {
    values: Tensor,
    shape: MaskShape,
}

/// The dimensions of a [`Mask`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaskShape {
    /// Masks.
    pub batch: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl MaskShape {
    /// A sketch of a mask of this shape.
    ///
    /// # Errors
    /// Where its bytes overflow.
    pub fn sketch(self) -> Result<Sketch, NodeError> {
        let bytes = f32_bytes(&[self.batch, self.height, self.width]).ok_or_else(|| {
            NodeError::memory(format!(
                "{} masks of {}×{} are more bytes than can be counted; use a smaller size",
                self.batch, self.width, self.height
            ))
        })?;
        Ok(Sketch::known(bytes, self))
    }
}

impl Mask {
    /// Wraps a tensor of two dimensions (one mask) or three; a fourth of one channel is taken off.
    ///
    /// # Errors
    /// Where it has another number of dimensions.
    pub fn new(values: Tensor) -> Result<Self, NodeError> {
        let values = match values.rank() {
            2 => values.unsqueeze(0).or_node()?,
            4 if values.dims()[1] == 1 => values.squeeze(1).or_node()?,
            _ => values,
        };
        let (batch, height, width) = values.dims3().or_node()?;
        let values = values.contiguous().or_node()?;
        Ok(Self { values, shape: MaskShape { batch, height, width } })
    }

    /// A mask of elements in row-major order.
    ///
    /// # Errors
    /// Where their number does not fit the shape.
    pub fn from_vec(values: Vec<f32>, shape: MaskShape) -> Result<Self, NodeError> {
        Self::new(tensor(values, &[shape.batch, shape.height, shape.width])?)
    }

    /// The tensor.
    pub fn tensor(&self) -> &Tensor {
        &self.values
    }

    /// The dimensions.
    pub fn shape(&self) -> MaskShape {
        self.shape
    }

    /// The elements in row-major order.
    ///
    /// # Errors
    /// Where the tensor cannot be read.
    pub fn to_vec(&self) -> Result<Vec<f32>, NodeError> {
        elements(&self.values)
    }
}

impl Payload for Mask {
    fn type_name(&self) -> &'static str {
        "MASK"
    }

    fn bytes(&self) -> u64 {
        tensor_bytes(&self.values)
    }

    fn summary(&self) -> String {
        format!("{:?}", self.values.dims())
    }
}
