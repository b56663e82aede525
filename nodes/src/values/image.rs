//! `IMAGE`.

use candle_core::Tensor;
use ebb_engine::node::{NodeError, Sketch};
use ebb_engine::value::Payload;

use super::{OrNode, elements, f32_bytes, tensor, tensor_bytes};

/// A batch of pictures, `[batch, height, width, channels]`, f32 in 0..1, RGB or RGBA.
#[derive(Clone, Debug)]
pub struct Image {
    pixels: Tensor,
    shape: ImageShape,
}

/// The dimensions of an [`Image`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageShape {
    /// Pictures.
    pub batch: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// 3 for RGB, 4 for RGBA, 1 for grey.
    pub channels: usize,
}

impl ImageShape {
    /// A sketch of an image of this shape.
    ///
    /// # Errors
    /// Where its bytes overflow.
    pub fn sketch(self) -> Result<Sketch, NodeError> {
        let bytes = f32_bytes(&[self.batch, self.height, self.width, self.channels]).ok_or_else(|| {
            NodeError::memory(format!(
                "{} images of {}×{} are more bytes than can be counted; use a smaller size or batch",
                self.batch, self.width, self.height
            ))
        })?;
        Ok(Sketch::known(bytes, self))
    }
}

impl Image {
    /// Wraps a tensor.
    ///
    /// # Errors
    /// Where it has not four dimensions.
    pub fn new(pixels: Tensor) -> Result<Self, NodeError> {
        let (batch, height, width, channels) = pixels.dims4().or_node()?;
        let pixels = pixels.contiguous().or_node()?;
        Ok(Self { pixels, shape: ImageShape { batch, height, width, channels } })
    }

    /// An image of elements in row-major order.
    ///
    /// # Errors
    /// Where their number does not fit the shape.
    pub fn from_vec(pixels: Vec<f32>, shape: ImageShape) -> Result<Self, NodeError> {
        let ImageShape { batch, height, width, channels } = shape;
        Self::new(tensor(pixels, &[batch, height, width, channels])?)
    }

    /// The tensor.
    pub fn tensor(&self) -> &Tensor {
        &self.pixels
    }

    /// The dimensions.
    pub fn shape(&self) -> ImageShape {
        self.shape
    }

    /// The elements in row-major order.
    ///
    /// # Errors
    /// Where the tensor cannot be read.
    pub fn to_vec(&self) -> Result<Vec<f32>, NodeError> {
        elements(&self.pixels)
    }
}

impl Payload for Image {
    fn type_name(&self) -> &'static str {
        "IMAGE"
    }

    fn bytes(&self) -> u64 {
        tensor_bytes(&self.pixels)
    }

    fn summary(&self) -> String {
        format!("{:?}", self.pixels.dims())
    }
}
