//! Masks: where a latent may change.

use candle_core::{DType, Tensor};

use crate::tensor::repeat_to_batch;
use crate::{Error, Result};

/// A mask for a latent: batch × 1 × rows × columns, in the latent's size and batch.
///
/// `mask` may have any size, and leading axes that are a batch.
pub fn denoise_mask_for(mask: &Tensor, latent: &Tensor) -> Result<Tensor> {
    let ([.., rows, columns], [batch, _, .., height, width]) = (mask.dims(), latent.dims()) else {
        return Err(Error::Shape {
            what: "a denoise mask",
            found: mask.dims().to_vec(),
            expected: "rows and columns, for a latent of batch × channels × rows × columns".into(),
        });
    };
    let mask = mask.reshape(((), 1, *rows, *columns))?;
    let mask = resize_bilinear(&mask, *height, *width)?.to_device(latent.device())?;
    repeat_to_batch(&mask, *batch)
}

/// Bilinear interpolation of batch × channels × rows × columns between cell centres, without smoothing where
/// it shrinks: `torch.nn.functional.interpolate(mode="bilinear")`.
pub(crate) fn resize_bilinear(image: &Tensor, height: usize, width: usize) -> Result<Tensor> {
    let (batch, channels, rows, columns) = image.dims4()?;
    if (rows, columns) == (height, width) {
        return Ok(image.clone());
    }
    if rows == 0 || columns == 0 {
        let found = image.dims().to_vec();
        return Err(Error::Shape { what: "a mask", found, expected: "at least one row and column".into() });
    }
    let source = image.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
    let (ys, xs) = (taps(rows, height), taps(columns, width));
    let mut resized = Vec::with_capacity(batch * channels * height * width);
    for plane in source.chunks_exact(rows * columns) {
        for y in &ys {
            let (above, below) = (&plane[y.low * columns..], &plane[y.high * columns..]);
            resized.extend(xs.iter().map(|x| {
                let along = |row: &[f32]| row[x.low] * (1.0 - x.share) + row[x.high] * x.share;
                along(above) * (1.0 - y.share) + along(below) * y.share
            }));
        }
    }
    Ok(Tensor::from_vec(resized, (batch, channels, height, width), image.device())?
        .to_dtype(image.dtype())?)
}

/// The two cells that a new cell lies between.
struct Tap {
    low: usize,
    high: usize,
    share: f32,
}

fn taps(from: usize, to: usize) -> Vec<Tap> {
    let scale = from as f32 / to as f32;
    let tap = |i: usize| {
        let place = ((i as f32 + 0.5) * scale - 0.5).max(0.0);
        let low = (place as usize).min(from - 1);
        Tap { low, high: (low + 1).min(from - 1), share: place - low as f32 }
    };
    (0..to).map(tap).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn masks_are_fitted_to_size_and_batch() -> Result<()> {
        let mask = Tensor::new(&[[0f32, 1.0], [0.0, 1.0]], &Device::Cpu)?;
        let latent = Tensor::zeros((3, 4, 1, 4), DType::F32, &Device::Cpu)?;
        let fitted = denoise_mask_for(&mask, &latent)?;
        assert_eq!(fitted.dims(), [3, 1, 1, 4]);
        assert_eq!(fitted.flatten_all()?.to_vec1::<f32>()?[..4], [0.0, 0.25, 0.75, 1.0]);
        Ok(())
    }
}
