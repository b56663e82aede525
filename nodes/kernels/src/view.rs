//! What operators read and write: borrowed slices of f32 or bf16, and how rows lie in them.

use half::{bf16, f16};

use crate::pack::Quant;

/// Element type of an activation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DType {
    /// 32-bit floats: the residual stream.
    F32,
    /// bfloat16: inputs of matrix products under [`Precision::Bf16`].
    Bf16,
}

impl DType {
    /// Bytes of one element.
    pub const fn size(self) -> usize {
        match self {
            DType::F32 => 4,
            DType::Bf16 => 2,
        }
    }
}

/// What matrix products multiply in. Sums are f32 either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Precision {
    /// f32 products.
    #[default]
    F32,
    /// bf16 products where the machine has them (elsewhere bf16 values multiplied in f32).
    Bf16,
}

impl Precision {
    /// The element type that feeds a product of this precision without a conversion.
    pub const fn dtype(self) -> DType {
        match self {
            Precision::F32 => DType::F32,
            Precision::Bf16 => DType::Bf16,
        }
    }
}

/// A borrowed activation.
#[derive(Debug, Clone, Copy)]
pub enum View<'a> {
    /// f32 elements.
    F32(&'a [f32]),
    /// bf16 elements.
    Bf16(&'a [bf16]),
}

impl<'a> View<'a> {
    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            View::F32(s) => s.len(),
            View::Bf16(s) => s.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        match self {
            View::F32(_) => DType::F32,
            View::Bf16(_) => DType::Bf16,
        }
    }

    /// The elements of `range`, or nothing when it leaves the slice.
    pub fn get(&self, range: std::ops::Range<usize>) -> Option<View<'a>> {
        match self {
            View::F32(s) => s.get(range).map(View::F32),
            View::Bf16(s) => s.get(range).map(View::Bf16),
        }
    }

    /// The elements as f32 values, in a new vector (for tests and the edges of a model).
    pub fn to_vec(&self) -> Vec<f32> {
        match self {
            View::F32(s) => s.to_vec(),
            View::Bf16(s) => s.iter().map(|x| x.to_f32()).collect(),
        }
    }

    pub(crate) fn as_ptr(&self) -> *const u8 {
        match self {
            View::F32(s) => s.as_ptr().cast(),
            View::Bf16(s) => s.as_ptr().cast(),
        }
    }
}

/// A borrowed activation to write to.
#[derive(Debug)]
pub enum ViewMut<'a> {
    /// f32 elements.
    F32(&'a mut [f32]),
    /// bf16 elements.
    Bf16(&'a mut [bf16]),
}

impl ViewMut<'_> {
    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            ViewMut::F32(s) => s.len(),
            ViewMut::Bf16(s) => s.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        match self {
            ViewMut::F32(_) => DType::F32,
            ViewMut::Bf16(_) => DType::Bf16,
        }
    }

    /// A shorter-lived borrow of the same elements.
    pub fn reborrow(&mut self) -> ViewMut<'_> {
        match self {
            ViewMut::F32(s) => ViewMut::F32(s),
            ViewMut::Bf16(s) => ViewMut::Bf16(s),
        }
    }

    pub(crate) fn as_mut_ptr(&mut self) -> *mut u8 {
        match self {
            ViewMut::F32(s) => s.as_mut_ptr().cast(),
            ViewMut::Bf16(s) => s.as_mut_ptr().cast(),
        }
    }
}

impl<'a> From<&'a [f32]> for View<'a> {
    fn from(s: &'a [f32]) -> Self {
        View::F32(s)
    }
}

impl<'a> From<&'a [bf16]> for View<'a> {
    fn from(s: &'a [bf16]) -> Self {
        View::Bf16(s)
    }
}

impl<'a> From<&'a mut [f32]> for ViewMut<'a> {
    fn from(s: &'a mut [f32]) -> Self {
        ViewMut::F32(s)
    }
}

impl<'a> From<&'a mut [bf16]> for ViewMut<'a> {
    fn from(s: &'a mut [bf16]) -> Self {
        ViewMut::Bf16(s)
    }
}

/// Where the rows of a matrix lie in a slice. Strides are in elements.
///
/// Row `r` starts at `offset + (r / rows_per_sample) * sample + (r % rows_per_sample) * row`: that is how a linear
/// layer writes the text half of a joint text-and-image sequence, or reads one third of a fused qkv buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// First element of row 0.
    pub offset: usize,
    /// From a row to the next one of the same sample.
    pub row: usize,
    /// Rows of one sample.
    pub rows_per_sample: usize,
    /// From a sample to the next.
    pub sample: usize,
}

impl Layout {
    /// Rows one after the other, `cols` elements each.
    pub const fn dense(cols: usize) -> Self {
        Layout { offset: 0, row: cols, rows_per_sample: usize::MAX, sample: 0 }
    }

    /// Columns `offset..` of a dense matrix whose rows hold `row` elements.
    pub const fn columns(row: usize, offset: usize) -> Self {
        Layout { offset, row, rows_per_sample: usize::MAX, sample: 0 }
    }

    /// First element of row `r`.
    #[inline(always)]
    pub fn start(&self, r: usize) -> usize {
        if r < self.rows_per_sample {
            self.offset + r * self.row
        } else {
            self.offset + (r / self.rows_per_sample) * self.sample + (r % self.rows_per_sample) * self.row
        }
    }

    /// Elements a slice must hold for `rows` rows of `cols` elements; `None` on overflow or on an empty sample.
    pub(crate) fn extent(&self, rows: usize, cols: usize) -> Option<usize> {
        if rows == 0 {
            return Some(0);
        }
        if self.rows_per_sample == 0 {
            return None;
        }
        let last_sample = (rows - 1) / self.rows_per_sample;
        let last_row = if last_sample > 0 { self.rows_per_sample - 1 } else { rows - 1 };
        last_sample
            .checked_mul(self.sample)?
            .checked_add(last_row.checked_mul(self.row)?)?
            .checked_add(self.offset)?
            .checked_add(cols)
    }
}

/// Weights as a file holds them, row-major in the order PyTorch writes.
#[derive(Debug, Clone, Copy)]
pub enum Source<'a> {
    /// f32 values.
    F32(&'a [f32]),
    /// f16 values.
    F16(&'a [f16]),
    /// bf16 values.
    Bf16(&'a [bf16]),
    /// Whole blocks of small integers, as a GGUF file holds them. Linear layers only.
    Quant(Quant, &'a [u8]),
    /// Values that are somewhere else and are read a few rows at a time, as they are packed.
    Stored(&'a dyn Stored),
}

/// Values that are read as they are packed, by several workers at once.
pub trait Stored: std::fmt::Debug + Sync {
    /// Number of elements.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// An empty source of the type that its elements are read as: one of the three plain ones.
    fn like(&self) -> Source<'static>;

    /// Reads the elements from number `from` on. `to` is of the type that [`like`](Self::like) says.
    ///
    /// # Errors
    /// What went wrong, in words.
    fn read(&self, from: usize, to: Rows<'_>) -> std::result::Result<(), String>;
}

/// Where stored values are read to.
#[derive(Debug)]
pub enum Rows<'a> {
    /// f32 values.
    F32(&'a mut [f32]),
    /// f16 values.
    F16(&'a mut [f16]),
    /// bf16 values.
    Bf16(&'a mut [bf16]),
}

impl Source<'_> {
    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            Source::F32(s) => s.len(),
            Source::F16(s) => s.len(),
            Source::Bf16(s) => s.len(),
            Source::Quant(q, s) => s.len() / q.block_bytes() * q.block_len(),
            Source::Stored(s) => s.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<'a> From<&'a [f32]> for Source<'a> {
    fn from(s: &'a [f32]) -> Self {
        Source::F32(s)
    }
}

impl<'a> From<&'a [f16]> for Source<'a> {
    fn from(s: &'a [f16]) -> Self {
        Source::F16(s)
    }
}

impl<'a> From<&'a [bf16]> for Source<'a> {
    fn from(s: &'a [bf16]) -> Self {
        Source::Bf16(s)
    }
}
