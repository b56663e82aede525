//! How loud an entry speaks in each cell of the latent.

use candle_core::{D, Tensor};

use crate::tensor::repeat_to_batch;
use crate::{Error, Result};

/// A rectangle of the latent, in cells, inside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CellArea {
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) y: usize,
    pub(super) x: usize,
}

impl CellArea {
    /// The rectangle of a tensor whose last two axes are rows and columns.
    pub(super) fn crop(&self, tensor: &Tensor) -> Result<Tensor> {
        let [.., height, width] = *tensor.dims() else { return Err(self.outside(tensor)) };
        if self.y + self.height > height || self.x + self.width > width {
            return Err(self.outside(tensor));
        }
        Ok(tensor.narrow(D::Minus2, self.y, self.height)?.narrow(D::Minus1, self.x, self.width)?)
    }

    /// The rectangle put back into a latent of `height` × `width` zeros.
    pub(super) fn pad(&self, tensor: &Tensor, height: usize, width: usize) -> Result<Tensor> {
        let below = height - self.y - self.height;
        let right = width - self.x - self.width;
        Ok(tensor.pad_with_zeros(D::Minus2, self.y, below)?.pad_with_zeros(D::Minus1, self.x, right)?)
    }

    /// The part of the rectangle that lies within a latent of `height` × `width`.
    pub(super) fn within(self, height: usize, width: usize) -> Option<Self> {
        let inside = self.y < height && self.x < width;
        inside.then(|| Self {
            height: self.height.min(height - self.y),
            width: self.width.min(width - self.x),
            ..self
        })
    }

    fn contains(&self, other: &Self) -> bool {
        self.y <= other.y
            && self.x <= other.x
            && other.y + other.height <= self.y + self.height
            && other.x + other.width <= self.x + self.width
    }

    pub(super) fn cells(&self) -> usize {
        self.height * self.width
    }

    fn outside(&self, tensor: &Tensor) -> Error {
        Error::Shape {
            what: "a tensor over the latent",
            found: tensor.dims().to_vec(),
            expected: format!("at least {} rows and {} columns", self.y + self.height, self.x + self.width),
        }
    }
}

/// Whether `outer` (everything, if none) holds `inner`.
pub(super) fn holds(outer: Option<&CellArea>, inner: &CellArea) -> bool {
    outer.is_none_or(|outer| outer.contains(inner))
}

/// Over how many cells an area fades in from the edges that it does not share with the latent.
const FADE: usize = 8;

/// The weights of an entry with an area and no mask, area rows × columns: `strength`, faded at inner edges
/// so that areas that meet show no seam. Small areas fade over a quarter of their size.
pub(super) fn area_weights(
    area: &CellArea,
    latent: (usize, usize),
    strength: f64,
    like: &Tensor,
) -> Result<Tensor> {
    let rows = faded(area.height, area.y, latent.0);
    let columns = faded(area.width, area.x, latent.1);
    let weights: Vec<f32> = rows
        .iter()
        .flat_map(|row| columns.iter().map(move |column| row * column * strength as f32))
        .collect();
    Ok(Tensor::from_vec(weights, (1, 1, area.height, area.width), like.device())?.to_dtype(like.dtype())?)
}

/// The fade along one axis.
fn faded(length: usize, start: usize, total: usize) -> Vec<f32> {
    let mut weights = vec![1.0; length];
    let fade = FADE.min(length / 4);
    let factor = |i: usize| (1.0 / fade as f64 * (i + 1) as f64) as f32;
    if start != 0 {
        (0..fade).for_each(|i| weights[i] *= factor(i));
    }
    if start + length < total {
        (0..fade).for_each(|i| weights[length - 1 - i] *= factor(i));
    }
    weights
}

/// The weights of an entry with a mask, batch × 1 × rows × columns. `mask` is in the latent's size.
pub(super) fn mask_weights(
    mask: &Tensor,
    area: Option<&CellArea>,
    strength: f64,
    like: &Tensor,
) -> Result<Tensor> {
    let mask = area.map_or_else(|| Ok(mask.clone()), |area| area.crop(mask))?;
    let mask = repeat_to_batch(&mask, like.dim(0)?)?.unsqueeze(1)?;
    Ok((mask.to_dtype(like.dtype())?.to_device(like.device())? * strength)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fades_only_at_inner_edges() {
        assert_eq!(faded(8, 0, 8), vec![1.0; 8]);
        assert_eq!(faded(8, 0, 9), vec![1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.5]);
        assert_eq!(faded(3, 2, 9), vec![1.0; 3]); // too small to fade
        assert_eq!(faded(64, 3, 67)[..9], [0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0, 1.0]);
    }
}
