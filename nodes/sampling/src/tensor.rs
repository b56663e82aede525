//! The few tensor operations that samplers are written in.

use candle_core::Tensor;

use crate::{Error, Result};

/// The weighted sum Σ wᵢ·tᵢ. Every step of a linear solver is one.
pub(crate) fn mix(terms: &[(f64, &Tensor)]) -> Result<Tensor> {
    let mut sum: Option<Tensor> = None;
    for (weight, tensor) in terms {
        let term = if *weight == 1.0 { (*tensor).clone() } else { (*tensor * *weight)? };
        sum = Some(match sum {
            None => term,
            Some(sum) => (sum + term)?,
        });
    }
    sum.ok_or_else(|| Error::Tensor(candle_core::Error::Msg("a sum of no tensors".into())))
}

/// A sigma as the reference stores it: rounded to f32.
pub(crate) fn round_to_f32(value: f64) -> f64 {
    f64::from(value as f32)
}

/// The first `batch` items of a tensor that is repeated until it has as many.
pub(crate) fn repeat_to_batch(tensor: &Tensor, batch: usize) -> Result<Tensor> {
    let items = tensor.dims().first().copied().unwrap_or(0);
    match items {
        0 => Err(Error::Shape {
            what: "a model input",
            found: tensor.dims().to_vec(),
            expected: format!("a first axis of 1 or {batch} items"),
        }),
        items if items == batch => Ok(tensor.clone()),
        items if items > batch => Ok(tensor.narrow(0, 0, batch)?),
        items => {
            let copies = vec![tensor; batch.div_ceil(items)];
            Ok(Tensor::cat(&copies, 0)?.narrow(0, 0, batch)?)
        }
    }
}
