//! Tensors of a file, read as they are packed.

use std::sync::{Mutex, PoisonError};

use ebb_kernels::{Rows, Source, Stored};
use ebb_weights::{DType, TensorView, WeightError};
use half::{bf16, f16};

use crate::Error;
use crate::source::FileTensor;

#[derive(Debug)]
struct Tensor {
    view: TensorView,
    /// The first error, for whoever asked for the packing.
    error: Mutex<Option<WeightError>>,
}

/// A tensor of plain values that lie one after the other; others are read whole.
pub(crate) fn open(view: &TensorView) -> Option<Box<dyn FileTensor>> {
    let plain = matches!(view.dtype(), DType::F32 | DType::F16 | DType::BF16);
    (plain && view.is_in_order())
        .then(|| Box::new(Tensor { view: view.clone(), error: Mutex::default() }) as _)
}

impl Stored for Tensor {
    fn len(&self) -> usize {
        self.view.len()
    }

    fn like(&self) -> Source<'static> {
        match self.view.dtype() {
            DType::F16 => Source::F16(&[]),
            DType::BF16 => Source::Bf16(&[]),
            _ => Source::F32(&[]),
        }
    }

    fn read(&self, from: usize, to: Rows<'_>) -> Result<(), String> {
        let read = match to {
            Rows::F32(to) => self.view.read_range::<f32>(from, to),
            Rows::F16(to) => self.view.read_range::<f16>(from, to),
            Rows::Bf16(to) => self.view.read_range::<bf16>(from, to),
        };
        read.map_err(|error| {
            let said = error.to_string();
            self.error.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            said
        })
    }
}

impl FileTensor for Tensor {
    fn error(&self) -> Option<Error> {
        self.error.lock().unwrap_or_else(PoisonError::into_inner).take().map(Error::Read)
    }
}
