//! Prepared weights: what a backend made of a file's tensors.

use ebb_kernels::{Quant, Source};

use super::{Activation, candle};
use crate::source::{FileTensor, Stored, Values};
use crate::stream::Streamed;

/// A matrix, its bias, and whether its product is gated.
pub struct Linear {
    /// Channels in.
    pub input: usize,
    /// Channels of the product, before a gate halves them.
    pub output: usize,
    /// The function of the gate, where the product's halves are (value, gate).
    pub glu: Option<Activation>,
    pub(crate) bytes: usize,
    pub(crate) data: LinearData,
}

pub(crate) enum LinearData {
    Cpu(ebb_kernels::PackedLinear),
    Candle(candle::Weight),
    /// Read and prepared for each use.
    Streamed(Streamed),
    /// How it would be stored.
    Meta(ebb_kernels::Storage),
}

impl Linear {
    /// Channels of the result.
    pub fn result(&self) -> usize {
        if self.glu.is_some() { self.output / 2 } else { self.output }
    }

    /// Bytes it holds.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// A convolution kernel and its bias.
pub struct Conv {
    /// Channels in.
    pub input: usize,
    /// Channels out.
    pub output: usize,
    /// Height and width of the kernel.
    pub kernel: [usize; 2],
    pub(crate) bytes: usize,
    pub(crate) data: ConvData,
}

pub(crate) enum ConvData {
    Cpu(ebb_kernels::PackedConv),
    Candle(candle::Weight),
    /// Read and prepared for each use.
    Streamed(Streamed),
    /// How it would be stored.
    Meta(ebb_kernels::Storage),
}

impl Conv {
    /// Bytes it holds.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Gain and bias of a normalisation, in f32.
#[derive(Debug, Clone)]
pub struct Norm {
    /// One factor a channel.
    pub weight: Vec<f32>,
    /// One offset a channel.
    pub bias: Option<Vec<f32>>,
}

impl Norm {
    /// Bytes it holds.
    pub fn bytes(&self) -> usize {
        4 * (self.weight.len() + self.bias.as_ref().map_or(0, Vec::len))
    }
}

/// Rows that are looked up, such as token embeddings, kept in the type of the file.
pub struct Table {
    /// Number of rows.
    pub rows: usize,
    /// Values a row.
    pub width: usize,
    pub(crate) values: TableValues,
    pub(crate) bytes: usize,
}

/// Where a table's values are.
pub(crate) enum TableValues {
    /// Nowhere: the backend only counts.
    None,
    /// Read whole.
    Read(Values),
    /// Read into memory that is handed on from weights to weights.
    Packed(ebb_kernels::PackedTable),
}

impl Table {
    /// Bytes it holds.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Appends row `index` to `out`; `false` where there is no such row.
    pub fn append(&self, index: usize, out: &mut Vec<f32>) -> bool {
        if index >= self.rows {
            return false;
        }
        let range = index * self.width..(index + 1) * self.width;
        match &self.values {
            TableValues::Read(Values::F32(v)) => out.extend_from_slice(&v[range]),
            TableValues::Read(Values::F16(v)) => out.extend(v[range].iter().map(|x| x.to_f32())),
            TableValues::Read(Values::Bf16(v)) => out.extend(v[range].iter().map(|x| x.to_f32())),
            TableValues::Packed(table) => match table.values() {
                Source::F32(v) => out.extend_from_slice(&v[range]),
                Source::F16(v) => out.extend(v[range].iter().map(|x| x.to_f32())),
                Source::Bf16(v) => out.extend(v[range].iter().map(|x| x.to_f32())),
                // A table is read as plain values.
                Source::Quant(..) | Source::Stored(_) => out.resize(out.len() + self.width, 0.0),
            },
            TableValues::None => out.resize(out.len() + self.width, 0.0),
        }
        true
    }
}

/// A weight on its way into packed form: one or several tensors, stacked in their first dimension.
pub(crate) struct Parts {
    /// The type the first tensor is stored in, which decides the type of the whole.
    pub(crate) stored: Stored,
    /// The tensors' values; none where the backend only counts, or where they are blocks or in files.
    pub(crate) values: Vec<Values>,
    /// The tensors' blocks, in place of values; none of them where the backend only counts.
    pub(crate) blocks: Option<Blocks>,
    /// The tensors in their files, in place of values, to be read as they are packed.
    pub(crate) files: Vec<Box<dyn FileTensor>>,
}

/// Tensors in blocks of small integers, as a file stores them.
pub(crate) struct Blocks {
    /// The type of each tensor's blocks.
    pub(crate) kinds: Vec<Quant>,
    pub(crate) bytes: Vec<Vec<u8>>,
}

impl Parts {
    /// What went wrong while tensors were read.
    pub(crate) fn error(&self) -> Option<crate::Error> {
        self.files.iter().find_map(|file| file.error())
    }

    /// All values, widened.
    pub(crate) fn into_f32(self) -> Vec<f32> {
        let mut parts = self.values.into_iter();
        let mut all = parts.next().map(Values::into_f32).unwrap_or_default();
        for part in parts {
            all.extend(part.into_f32());
        }
        all
    }
}
