//! Where weights come from: names, shapes and one tensor at a time.
//!
//! Models never see a file. They ask a [`Source`] for the tensors they need, by the names of the single-file
//! layout of their family; a file, a renamed file, a LoRA over a file and a procedural model all look the same.

use half::{bf16, f16};

use ebb_kernels::Quant;

use crate::{Error, Result};

/// Values of one tensor in the type the file stores.
#[derive(Debug, Clone)]
pub enum Values {
    /// 32-bit floats.
    F32(Vec<f32>),
    /// IEEE half floats.
    F16(Vec<f16>),
    /// Brain floats.
    Bf16(Vec<bf16>),
}

impl Values {
    /// Number of values.
    pub fn len(&self) -> usize {
        match self {
            Self::F32(v) => v.len(),
            Self::F16(v) => v.len(),
            Self::Bf16(v) => v.len(),
        }
    }

    /// Whether there is no value at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Rows as columns and columns as rows, of a `[rows, columns]` matrix.
    #[must_use]
    pub fn transposed(self, rows: usize, columns: usize) -> Self {
        fn turn<T: Copy>(v: &[T], rows: usize, columns: usize) -> Vec<T> {
            (0..rows * columns).map(|i| v[(i % rows) * columns + i / rows]).collect()
        }
        match self {
            Self::F32(v) => Self::F32(turn(&v, rows, columns)),
            Self::F16(v) => Self::F16(turn(&v, rows, columns)),
            Self::Bf16(v) => Self::Bf16(turn(&v, rows, columns)),
        }
    }

    /// Some of the values.
    #[must_use]
    pub fn part(self, range: std::ops::Range<usize>) -> Self {
        match self {
            Self::F32(v) => Self::F32(v[range].to_vec()),
            Self::F16(v) => Self::F16(v[range].to_vec()),
            Self::Bf16(v) => Self::Bf16(v[range].to_vec()),
        }
    }

    /// Some of the values, widened to f32.
    pub(crate) fn wide(&self, range: std::ops::Range<usize>) -> Vec<f32> {
        match self {
            Self::F32(v) => v[range].to_vec(),
            Self::F16(v) => v[range].iter().copied().map(f16::to_f32).collect(),
            Self::Bf16(v) => v[range].iter().copied().map(bf16::to_f32).collect(),
        }
    }

    /// Widens to f32 (exact for every stored type).
    pub fn into_f32(self) -> Vec<f32> {
        match self {
            Self::F32(v) => v,
            Self::F16(v) => v.into_iter().map(f16::to_f32).collect(),
            Self::Bf16(v) => v.into_iter().map(bf16::to_f32).collect(),
        }
    }
}

/// How a tensor is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// 32-bit floats.
    F32,
    /// IEEE half floats.
    F16,
    /// Brain floats.
    Bf16,
}

impl Stored {
    /// Bytes a value.
    pub fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }
}

/// One tensor's header entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// Dimensions, outermost first.
    pub shape: Vec<usize>,
    /// The type its values come in.
    pub stored: Stored,
}

/// A tensor whose values are read as they are prepared, so that they are never in memory twice.
pub trait FileTensor: ebb_kernels::Stored + Send {
    /// What went wrong while it was read.
    fn error(&self) -> Option<Error>;
}

/// A set of named tensors, read one at a time.
pub trait Source: Send + Sync {
    /// Every name, in a stable order.
    fn names(&self) -> Vec<String>;

    /// Shape and type of a tensor; `None` where there is no such name.
    fn info(&self, name: &str) -> Option<Info>;

    /// Reads a tensor's values, row-major.
    fn read(&self, name: &str) -> Result<Values>;

    /// A tensor that can be read a few rows at a time, in the order of its rows; `None` where it is read whole.
    fn stored(&self, _name: &str) -> Option<Box<dyn FileTensor>> {
        None
    }

    /// Has the system read a tensor ahead of its use, where there is one to ask; returns at once.
    fn read_ahead(&self, _name: &str) {}

    /// The blocks that a tensor is stored in, where the kernels multiply such blocks as they are and
    /// [`Source::read_blocks`] gives them.
    fn blocks(&self, _name: &str) -> Option<Quant> {
        None
    }

    /// Reads the blocks of a tensor that [`Source::blocks`] knows.
    fn read_blocks(&self, name: &str) -> Result<Vec<u8>> {
        Err(Error::MissingTensor { what: "blocks", name: name.to_owned() })
    }

    /// A number that changes with a tensor's *content history*, where this source alters what another one
    /// stores (a LoRA, a merge). `0` says that the tensor is the base's own, so that whatever was built from it can be shared.
    fn revision(&self, _name: &str) -> u64 {
        0
    }
}

/// A part of a source: only names under a prefix, seen without it.
pub struct Prefixed<S> {
    inner: S,
    prefix: String,
}

impl<S: Source> Prefixed<S> {
    /// The tensors of `inner` whose names begin with `prefix`, which is cut off.
    pub fn new(inner: S, prefix: impl Into<String>) -> Self {
        Self { inner, prefix: prefix.into() }
    }
}

impl<S: Source> Source for Prefixed<S> {
    fn names(&self) -> Vec<String> {
        self.inner.names().iter().filter_map(|n| n.strip_prefix(&self.prefix).map(str::to_owned)).collect()
    }

    fn info(&self, name: &str) -> Option<Info> {
        self.inner.info(&format!("{}{name}", self.prefix))
    }

    fn read(&self, name: &str) -> Result<Values> {
        self.inner.read(&format!("{}{name}", self.prefix))
    }

    fn stored(&self, name: &str) -> Option<Box<dyn FileTensor>> {
        self.inner.stored(&format!("{}{name}", self.prefix))
    }

    fn read_ahead(&self, name: &str) {
        self.inner.read_ahead(&format!("{}{name}", self.prefix));
    }

    fn blocks(&self, name: &str) -> Option<Quant> {
        self.inner.blocks(&format!("{}{name}", self.prefix))
    }

    fn read_blocks(&self, name: &str) -> Result<Vec<u8>> {
        self.inner.read_blocks(&format!("{}{name}", self.prefix))
    }

    fn revision(&self, name: &str) -> u64 {
        self.inner.revision(&format!("{}{name}", self.prefix))
    }
}

impl<S: Source + ?Sized> Source for &S {
    fn names(&self) -> Vec<String> {
        (**self).names()
    }
    fn info(&self, name: &str) -> Option<Info> {
        (**self).info(name)
    }
    fn read(&self, name: &str) -> Result<Values> {
        (**self).read(name)
    }
    fn stored(&self, name: &str) -> Option<Box<dyn FileTensor>> {
        (**self).stored(name)
    }
    fn read_ahead(&self, name: &str) {
        (**self).read_ahead(name);
    }
    fn blocks(&self, name: &str) -> Option<Quant> {
        (**self).blocks(name)
    }
    fn read_blocks(&self, name: &str) -> Result<Vec<u8>> {
        (**self).read_blocks(name)
    }
    fn revision(&self, name: &str) -> u64 {
        (**self).revision(name)
    }
}

impl<S: Source + ?Sized> Source for std::sync::Arc<S> {
    fn names(&self) -> Vec<String> {
        (**self).names()
    }
    fn info(&self, name: &str) -> Option<Info> {
        (**self).info(name)
    }
    fn read(&self, name: &str) -> Result<Values> {
        (**self).read(name)
    }
    fn stored(&self, name: &str) -> Option<Box<dyn FileTensor>> {
        (**self).stored(name)
    }
    fn read_ahead(&self, name: &str) {
        (**self).read_ahead(name);
    }
    fn blocks(&self, name: &str) -> Option<Quant> {
        (**self).blocks(name)
    }
    fn read_blocks(&self, name: &str) -> Result<Vec<u8>> {
        (**self).read_blocks(name)
    }
    fn revision(&self, name: &str) -> u64 {
        (**self).revision(name)
    }
}

impl Source for ebb_weights::WeightSource {
    fn names(&self) -> Vec<String> {
        self.names().map(str::to_owned).collect()
    }

    fn info(&self, name: &str) -> Option<Info> {
        let view = self.get(name)?;
        Some(Info { shape: view.shape().to_vec(), stored: stored_as(view.dtype()) })
    }

    fn stored(&self, name: &str) -> Option<Box<dyn FileTensor>> {
        crate::stored::open(self.get(name)?)
    }

    fn read_ahead(&self, name: &str) {
        if let Some(view) = self.get(name) {
            view.read_ahead();
        }
    }

    fn read(&self, name: &str) -> Result<Values> {
        let view = self.tensor(name)?;
        Ok(match stored_as(view.dtype()) {
            Stored::F32 => Values::F32(view.to_vec()?),
            Stored::F16 => Values::F16(view.to_vec()?),
            Stored::Bf16 => Values::Bf16(view.to_vec()?),
        })
    }

    fn blocks(&self, name: &str) -> Option<Quant> {
        use ebb_weights::DType;
        Some(match self.get(name)?.dtype() {
            DType::Q8_0 => Quant::Q8_0,
            DType::Q4_0 => Quant::Q4_0,
            DType::Q4_1 => Quant::Q4_1,
            DType::Q4K => Quant::Q4K,
            _ => return None,
        })
    }

    fn read_blocks(&self, name: &str) -> Result<Vec<u8>> {
        let view = self.tensor(name)?;
        // The header's check bounds this by the file's length.
        let mut blocks = vec![0; usize::try_from(view.stored_bytes()).unwrap_or(0)];
        view.read_stored(&mut blocks)?;
        Ok(blocks)
    }
}

/// The type a stored type is widened to when it is read: eight bits and blocks become bf16, which has the range for
/// any scale and as many bits as they need.
fn stored_as(dtype: ebb_weights::DType) -> Stored {
    use ebb_weights::DType;
    match dtype {
        DType::F16 => Stored::F16,
        DType::F32 | DType::F64 => Stored::F32,
        _ => Stored::Bf16,
    }
}

/// Reads a header entry or says which tensor is missing from which block.
pub(crate) fn require(source: &dyn Source, what: &'static str, name: &str) -> Result<Info> {
    source.info(name).ok_or_else(|| Error::MissingTensor { what, name: name.to_owned() })
}
