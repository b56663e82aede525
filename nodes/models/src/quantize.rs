//! Rewriting a model file with fewer bits a weight.
//!
//! The result is a GGUF file with the tensors of the original under their own names. Matrices whose rows are whole
//! blocks are quantised (by candle, whose block types are ggml's); convolutions, whose rows are not, are stored as f16;
//! norms, biases and everything else that is small stay f32. One tensor is in memory at a time.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use ebb_weights::{DType, Metadata, ModelFile, TensorSpec, TensorView, WeightError, write_gguf};

use crate::{Error, Result};

/// Weights below this number are not worth their error.
pub(crate) const SMALL: usize = 4096;

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Written {
    /// Tensors in the file.
    pub tensors: usize,
    /// Those of them that were quantised.
    pub quantised: usize,
    /// Bytes of values.
    pub bytes: u64,
}

/// The types that weights can be quantised to.
pub const TYPES: [DType; 10] = [
    DType::Q8_0,
    DType::Q6K,
    DType::Q5K,
    DType::Q5_1,
    DType::Q5_0,
    DType::Q4K,
    DType::Q4_1,
    DType::Q4_0,
    DType::Q3K,
    DType::Q2K,
];

fn ggml(dtype: DType) -> Option<GgmlDType> {
    Some(match dtype {
        DType::Q4_0 => GgmlDType::Q4_0,
        DType::Q4_1 => GgmlDType::Q4_1,
        DType::Q5_0 => GgmlDType::Q5_0,
        DType::Q5_1 => GgmlDType::Q5_1,
        DType::Q8_0 => GgmlDType::Q8_0,
        DType::Q2K => GgmlDType::Q2K,
        DType::Q3K => GgmlDType::Q3K,
        DType::Q4K => GgmlDType::Q4K,
        DType::Q5K => GgmlDType::Q5K,
        DType::Q6K => GgmlDType::Q6K,
        _ => return None,
    })
}

/// The type of 32-value blocks that is next in size, for rows that are not whole blocks of 256.
fn of_32(dtype: DType) -> DType {
    match dtype {
        DType::Q2K | DType::Q3K => DType::Q4_0,
        DType::Q4K => DType::Q5_0,
        DType::Q5K => DType::Q5_1,
        DType::Q6K => DType::Q8_0,
        other => other,
    }
}

/// How a tensor is stored in the new file.
fn stored(view: &TensorView, wanted: DType) -> DType {
    let shape = view.shape();
    if !view.dtype().is_float() {
        return view.dtype();
    }
    if shape.len() < 2 || view.len() < SMALL {
        return DType::F32;
    }
    let row = shape.last().copied().unwrap_or(1);
    let fitting = [wanted, of_32(wanted)].into_iter().find(|dtype| row.is_multiple_of(dtype.block_len()));
    match fitting {
        Some(dtype) if shape.len() == 2 => dtype,
        _ => DType::F16,
    }
}

/// Writes the tensors of `file` to a GGUF file at `out`, matrices as `dtype`. `progress` is told the tensors written
/// and how many there are, and may stop; there is no file then.
///
/// # Errors
/// [`Error::Cancelled`]; a type that is not one of [`TYPES`]; a file that cannot be read or written.
pub fn quantize(
    file: &Arc<ModelFile>,
    out: &Path,
    dtype: DType,
    progress: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
) -> Result<Written> {
    if ggml(dtype).is_none() {
        let expected = TYPES.map(|t| t.name().to_lowercase()).join(", ");
        return Err(Error::Input { model: "quantize", input: "type", found: dtype.to_string(), expected });
    }
    let names: Vec<String> = file.tensors().map(|(name, _)| name.to_owned()).collect();
    let views = names.iter().map(|name| TensorView::open(file, name));
    let views = views.collect::<std::result::Result<Vec<_>, _>>()?;
    // GGUF holds at most four dimensions and no unsigned or boolean values: nothing of a network is such a tensor.
    let views: Vec<TensorView> =
        views.into_iter().filter(|v| v.shape().len() <= 4 && stored(v, dtype).to_ggml().is_some()).collect();
    let specs: Vec<TensorSpec> = views
        .iter()
        .map(|view| TensorSpec {
            name: view.name().to_owned(),
            dtype: stored(view, dtype),
            shape: view.shape().to_vec(),
        })
        .collect();
    let metadata: Metadata = [("general.quantized_to".to_owned(), dtype.to_string())].into_iter().collect();
    let mut stopped = false;
    let mut done = 0;
    let result = write_gguf(out, &metadata, &specs, |spec, to| {
        let view = &views[done];
        if progress(done, specs.len()).is_break() {
            stopped = true;
            return Err(WeightError::io(out, std::io::Error::other("stopped")));
        }
        done += 1;
        let bytes =
            bytes_of(view, spec).map_err(|e| WeightError::io(out, std::io::Error::other(e.to_string())))?;
        to.write_all(&bytes).map_err(|e| WeightError::io(out, e))
    });
    if stopped {
        return Err(Error::Cancelled);
    }
    result?;
    let quantised = specs.iter().filter(|spec| spec.dtype.is_quantised()).count();
    let bytes = specs.iter().filter_map(|s| s.dtype.bytes_of(s.shape.iter().product::<usize>() as u64)).sum();
    Ok(Written { tensors: specs.len(), quantised, bytes })
}

/// The bytes of a tensor in its new type.
fn bytes_of(view: &TensorView, spec: &TensorSpec) -> Result<Vec<u8>> {
    if let Some(kind) = ggml(spec.dtype) {
        let values = Tensor::from_vec(view.to_vec::<f32>()?, spec.shape.as_slice(), &Device::Cpu)?;
        return Ok(QTensor::quantize(&values, kind)?.data()?.into_owned());
    }
    Ok(match spec.dtype {
        DType::F32 => view.to_vec::<f32>()?.into_iter().flat_map(f32::to_le_bytes).collect(),
        DType::F16 => view.to_vec::<half::f16>()?.into_iter().flat_map(half::f16::to_le_bytes).collect(),
        _ => {
            let mut bytes = vec![0; usize::try_from(view.stored_bytes()).unwrap_or(usize::MAX)];
            view.read_stored(&mut bytes)?;
            bytes
        }
    })
}
