//! Orthogonal finetuning (Qiu et al. 2023, "Controlling Text-to-Image Diffusion by Orthogonal Finetuning").

use candle_core::{Device, Tensor};

use crate::{Error, Result};

/// `(Rᵀ − 1) · W` for each group of outputs, where R is the Cayley transform of a skew-symmetric block,
/// `(1 + Q)(1 − Q)⁻¹`. `constraint` above zero bounds the norm of all of Q.
pub(super) fn change(blocks: &Tensor, constraint: f32, weight: &[f32]) -> Result<Tensor> {
    let (count, size, columns) = blocks.dims3()?;
    if size != columns || size == 0 || !weight.len().is_multiple_of(count * size) {
        return Err(Error::Shape {
            name: "oft_blocks".into(),
            found: blocks.dims().to_vec(),
            expected: "square blocks that divide the weight's outputs".into(),
        });
    }
    let skew = (blocks - blocks.transpose(1, 2)?)?.to_dtype(candle_core::DType::F64)?;
    let mut skew = skew.flatten_all()?.to_vec1::<f64>()?;
    let norm = skew.iter().map(|q| q * q).sum::<f64>().sqrt() + 1e-8;
    if constraint > 0.0 && norm > f64::from(constraint) {
        skew.iter_mut().for_each(|q| *q *= f64::from(constraint) / norm);
    }
    let row = weight.len() / (count * size);
    let mut change = vec![0f32; weight.len()];
    for (block, skew) in skew.chunks_exact(size * size).enumerate() {
        let rotation = cayley(skew, size);
        let (from, to) = (block * size * row, (block + 1) * size * row);
        let (weight, change) = (&weight[from..to], &mut change[from..to]);
        for m in 0..size {
            for n in 0..size {
                let factor = (rotation[n * size + m] - f64::from(u8::from(n == m))) as f32;
                let source = &weight[n * row..(n + 1) * row];
                let target = &mut change[m * row..(m + 1) * row];
                target.iter_mut().zip(source).for_each(|(t, s)| *t += factor * s);
            }
        }
    }
    Ok(Tensor::from_vec(change, weight.len(), &Device::Cpu)?)
}

/// `(1 + Q)(1 − Q)⁻¹`, by solving `R (1 − Q) = 1 + Q`. 1 − Q of a skew-symmetric Q is never singular.
fn cayley(skew: &[f64], size: usize) -> Vec<f64> {
    // With Qᵀ = −Q, transposing gives (1 + Q) Rᵀ = 1 − Q: eliminate the left side.
    let unit = |i: usize| f64::from(u8::from(i / size == i % size));
    let mut left: Vec<f64> = skew.iter().enumerate().map(|(i, q)| unit(i) + q).collect();
    let mut right: Vec<f64> = skew.iter().enumerate().map(|(i, q)| unit(i) - q).collect();
    for column in 0..size {
        let largest =
            |i: &usize, j: &usize| left[i * size + column].abs().total_cmp(&left[j * size + column].abs());
        let pivot = (column..size).max_by(largest).unwrap_or(column);
        if pivot != column {
            for k in 0..size {
                left.swap(pivot * size + k, column * size + k);
                right.swap(pivot * size + k, column * size + k);
            }
        }
        let scale = 1.0 / left[column * size + column];
        for k in 0..size {
            left[column * size + k] *= scale;
            right[column * size + k] *= scale;
        }
        for i in (0..size).filter(|i| *i != column) {
            let factor = left[i * size + column];
            if factor == 0.0 {
                continue;
            }
            for k in 0..size {
                left[i * size + k] -= factor * left[column * size + k];
                right[i * size + k] -= factor * right[column * size + k];
            }
        }
    }
    (0..size * size).map(|i| right[(i % size) * size + i / size]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rotation_keeps_lengths() -> Result<()> {
        let blocks = Tensor::new(&[[[0f32, 0.3], [-0.1, 0.0]]], &Device::Cpu)?;
        let weight = [3f32, 4.0];
        let change = change(&blocks, 0.0, &weight)?.to_vec1::<f32>()?;
        let rotated: Vec<f32> = weight.iter().zip(&change).map(|(w, c)| w + c).collect();
        assert!((rotated[0].hypot(rotated[1]) - 5.0).abs() < 1e-5, "{rotated:?}");
        // Q = [[0, q], [−q, 0]] with q = 0.4 rotates by 2·atan q; R = (1+Q)(1−Q)⁻¹ and Rᵀ W is what is applied.
        let (sin, cos) = (2.0 * 0.4f32.atan()).sin_cos();
        assert!((rotated[0] - (cos * 3.0 - sin * 4.0)).abs() < 1e-5, "{rotated:?}");
        Ok(())
    }
}
