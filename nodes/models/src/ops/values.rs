//! The values of candle's tensors, where they lie.

use candle_core::{DType, Storage, Tensor};

use crate::Result;

/// Reads a tensor's values, row-major: in place where they are dense f32 on the CPU, else from a copy.
pub(crate) fn with_values<R>(x: &Tensor, read: impl FnOnce(&[f32]) -> Result<R>) -> Result<R> {
    {
        let (storage, layout) = x.storage_and_layout();
        if let (Storage::Cpu(values), Some((start, end)), DType::F32) =
            (&*storage, layout.contiguous_offsets(), x.dtype())
        {
            return read(&values.as_slice::<f32>()?[start..end]);
        }
    }
    read(&x.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dense_values_are_read_in_place_and_others_in_order() -> Result<()> {
        let x = Tensor::arange(0f32, 12.0, &candle_core::Device::Cpu)?.reshape((3, 4))?;
        let all = |x: &Tensor| with_values(x, |values| Ok(values.to_vec()));
        assert_eq!(all(&x)?, (0..12).map(|v| v as f32).collect::<Vec<_>>());
        assert_eq!(all(&x.narrow(0, 1, 1)?)?, [4.0, 5.0, 6.0, 7.0]);
        assert_eq!(all(&x.narrow(1, 1, 2)?)?, [1.0, 2.0, 5.0, 6.0, 9.0, 10.0]);
        assert_eq!(all(&x.t()?)?[..3], [0.0, 4.0, 8.0]);
        assert_eq!(all(&x.to_dtype(DType::F64)?)?[..2], [0.0, 1.0]);
        Ok(())
    }
}
