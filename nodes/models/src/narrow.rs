//! Weights held with fewer bits than their file has.
//!
//! A source whose matrices come in blocks, quantised as they are read: what `quantize` writes to a file, for a model that is
//! to fit without one. The file stays as it is. One tensor is in memory at a time, as it is stored and in blocks.

use std::sync::Arc;

use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use rayon::prelude::*;

use ebb_kernels::Quant;

use crate::quantize::SMALL;
use crate::source::{FileTensor, Info, Source, Values};
use crate::{Error, Result};

/// The block types that a model may be narrowed to, the most exact first, by the names that `ebb quantize` gives them.
/// Rows need only be multiples of 32 for them.
pub const KINDS: [(&str, Quant); 2] = [("q8_0", Quant::Q8_0), ("q4_1", Quant::Q4_1)];

/// The block type of a name.
pub fn named(name: &str) -> Option<Quant> {
    KINDS.iter().find(|(known, _)| *known == name).map(|(_, quant)| *quant)
}

/// Values that one worker quantises at a time: a multiple of every block's length.
const CHUNK: usize = 1 << 16;

/// The tensors of another source, large matrices in blocks.
pub struct Narrowed {
    inner: Arc<dyn Source>,
    quant: Quant,
}

impl Narrowed {
    /// The tensors of `inner`, matrices in blocks of a type unless they are stored in fewer bits already.
    pub fn new(inner: Arc<dyn Source>, quant: Quant) -> Self {
        Self { inner, quant }
    }

    /// Whether a tensor is one to narrow.
    fn narrows(&self, name: &str) -> bool {
        if let Some(stored) = self.inner.blocks(name)
            && bits(stored) <= bits(self.quant)
        {
            return false;
        }
        let Some(Info { shape, .. }) = self.inner.info(name) else { return false };
        let row: usize = shape.iter().skip(1).product();
        shape.len() >= 2
            && shape.iter().product::<usize>() >= SMALL
            && row.is_multiple_of(self.quant.block_len())
    }
}

/// Bits a weight.
fn bits(quant: Quant) -> usize {
    quant.block_bytes() * 8 / quant.block_len()
}

fn ggml(quant: Quant) -> GgmlDType {
    match quant {
        Quant::Q8_0 => GgmlDType::Q8_0,
        Quant::Q4_0 => GgmlDType::Q4_0,
        Quant::Q4_1 => GgmlDType::Q4_1,
        Quant::Q4K => GgmlDType::Q4K,
    }
}

/// Rows are whole blocks, so that blocks never reach over a row's end however the values are cut.
fn quantised(values: &Values, quant: Quant) -> Result<Vec<u8>> {
    let mut out = vec![0u8; values.len() / quant.block_len() * quant.block_bytes()];
    let chunk_bytes = CHUNK / quant.block_len() * quant.block_bytes();
    out.par_chunks_mut(chunk_bytes).enumerate().try_for_each(|(i, out)| {
        let from = i * CHUNK;
        let part = values.wide(from..(from + CHUNK).min(values.len()));
        let count = part.len();
        let part = Tensor::from_vec(part, count, &Device::Cpu)?;
        out.copy_from_slice(&QTensor::quantize(&part, ggml(quant))?.data()?);
        Ok::<_, Error>(())
    })?;
    Ok(out)
}

impl Source for Narrowed {
    fn names(&self) -> Vec<String> {
        self.inner.names()
    }

    fn info(&self, name: &str) -> Option<Info> {
        self.inner.info(name)
    }

    fn read(&self, name: &str) -> Result<Values> {
        self.inner.read(name)
    }

    fn stored(&self, name: &str) -> Option<Box<dyn FileTensor>> {
        self.inner.stored(name)
    }

    fn read_ahead(&self, name: &str) {
        self.inner.read_ahead(name);
    }

    fn blocks(&self, name: &str) -> Option<Quant> {
        if self.narrows(name) { Some(self.quant) } else { self.inner.blocks(name) }
    }

    fn read_blocks(&self, name: &str) -> Result<Vec<u8>> {
        if self.narrows(name) {
            quantised(&self.inner.read(name)?, self.quant)
        } else {
            self.inner.read_blocks(name)
        }
    }

    fn revision(&self, name: &str) -> u64 {
        self.inner.revision(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Stored;
    use half::f16;

    struct One(Vec<usize>);

    impl Source for One {
        fn names(&self) -> Vec<String> {
            vec!["w".into()]
        }

        fn info(&self, name: &str) -> Option<Info> {
            (name == "w").then(|| Info { shape: self.0.clone(), stored: Stored::F16 })
        }

        fn read(&self, _: &str) -> Result<Values> {
            let count: usize = self.0.iter().product();
            Ok(Values::F16((0..count).map(|i| f16::from_f32((i as f32 * 0.37).sin())).collect()))
        }
    }

    #[test]
    fn blocks_hold_nearly_the_same_values_whatever_the_chunk() {
        // More than one chunk, and a last one that is not whole.
        let source: Arc<dyn Source> = Arc::new(One(vec![400, 320]));
        let exact = source.read("w").unwrap().into_f32();
        for ((_, quant), bound) in KINDS.into_iter().zip([0.01, 0.08]) {
            let narrowed = Narrowed::new(source.clone(), quant);
            assert_eq!(narrowed.blocks("w"), Some(quant));
            let bytes = narrowed.read_blocks("w").unwrap();
            assert_eq!(bytes.len(), 400 * 320 / 32 * quant.block_bytes());
            let back = QTensor::new(
                candle_core::quantized::QStorage::from_data(bytes.into(), &Device::Cpu, ggml(quant)).unwrap(),
                (400, 320),
            );
            let back = back.unwrap().dequantize(&Device::Cpu).unwrap();
            let back: Vec<f32> = back.flatten_all().unwrap().to_vec1().unwrap();
            let worst = exact.iter().zip(&back).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst > 0.0 && worst < bound, "{quant:?}: {worst}");
        }
    }

    #[test]
    fn what_is_small_or_has_odd_rows_stays() {
        for shape in [vec![8, 32], vec![400, 33], vec![1 << 20]] {
            let narrowed = Narrowed::new(Arc::new(One(shape.clone())), Quant::Q8_0);
            assert_eq!(narrowed.blocks("w"), None, "{shape:?}");
        }
    }
}
