//! Images and masks of one value, and arithmetic on images.

use ebb_engine::node::NodeError;
use ebb_nodes::values::{Image, ImageShape, Mask, MaskShape};

/// More pixels than any test needs.
const MOST: usize = 1 << 28;

fn count(dims: &[usize]) -> Result<usize, NodeError> {
    let count = dims.iter().try_fold(1usize, |n, d| n.checked_mul(*d)).filter(|n| *n <= MOST);
    count.ok_or_else(|| NodeError::memory(format!("{dims:?} is larger than a test picture may be")))
}

/// An RGB image of one value.
pub(crate) fn constant(value: f32, batch: usize, height: usize, width: usize) -> Result<Image, NodeError> {
    let elements = vec![value; count(&[batch, height, width, 3])?];
    Image::from_vec(elements, ImageShape { batch, height, width, channels: 3 })
}

/// An RGB image of noise in 0..1 that is the same for the same seed.
pub(crate) fn noise(seed: u64, batch: usize, height: usize, width: usize) -> Result<Image, NodeError> {
    // xorshift64* (Vigna 2016): good enough for pixels that nobody compares.
    let mut state = seed | 1;
    let next = || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        (state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 40) as f32 / (1u64 << 24) as f32
    };
    let elements = std::iter::repeat_with(next).take(count(&[batch, height, width, 3])?).collect();
    Image::from_vec(elements, ImageShape { batch, height, width, channels: 3 })
}

/// A mask of one value.
pub(crate) fn mask(value: f32, batch: usize, height: usize, width: usize) -> Result<Mask, NodeError> {
    let elements = vec![value; count(&[batch, height, width])?];
    Mask::from_vec(elements, MaskShape { batch, height, width })
}

/// Each element of an image through a function.
pub(crate) fn map(image: &Image, f: impl Fn(f32) -> f32) -> Result<Image, NodeError> {
    Image::from_vec(image.to_vec()?.into_iter().map(f).collect(), image.shape())
}

/// Refuses images of different shapes.
pub(crate) fn same_shape(a: &Image, b: &Image) -> Result<(), NodeError> {
    if a.shape() == b.shape() {
        return Ok(());
    }
    Err(NodeError::failed(format!("the images differ in shape: {:?} and {:?}", a.shape(), b.shape())))
}
