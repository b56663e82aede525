//! One tensor as a model sees it: a name, a shape, and pieces of files that hold its values.

use std::ops::Range;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::error::TensorDefect;
use crate::{DType, ModelFile, Result, TensorInfo, WeightError};

/// A tensor that is still on disk. Its values may be rows of one stored tensor, or several stored
/// tensors one after the other: fused and split projections are views and not copies.
#[derive(Clone, Debug)]
pub struct TensorView {
    name: Arc<str>,
    dtype: DType,
    shape: Vec<usize>,
    pub(super) pieces: Vec<Piece>,
    pub(super) scale: Option<Arc<TensorView>>,
}

/// A run of stored values.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub(super) file: Arc<ModelFile>,
    /// The stored tensor, for errors.
    pub(super) stored: Arc<str>,
    pub(super) offset: u64,
    /// Values in the run.
    pub(super) len: usize,
    /// The stored shape and steps, where values do not follow one another. Such a piece is always
    /// a whole tensor.
    pub(super) strided: Option<(Vec<usize>, Vec<usize>)>,
}

impl TensorView {
    pub(super) fn of_file(file: Arc<ModelFile>, name: &str, info: &TensorInfo) -> Self {
        let name: Arc<str> = name.into();
        let piece = Piece {
            file,
            stored: name.clone(),
            offset: info.offset,
            len: info.len(),
            strided: info.strides.as_ref().map(|s| (info.shape.clone(), s.clone())),
        };
        Self { name, dtype: info.dtype, shape: info.shape.clone(), pieces: vec![piece], scale: None }
    }

    /// The tensor of a file, as it is stored.
    ///
    /// # Errors
    /// [`WeightError::Missing`].
    pub fn open(file: &Arc<ModelFile>, name: &str) -> Result<Self> {
        match file.tensor(name) {
            Some(info) => Ok(Self::of_file(file.clone(), name, info)),
            None => Err(WeightError::Missing {
                file: file.path().to_owned(),
                tensor: name.to_owned(),
                nearest: super::nearest(name, file.tensors().map(|(n, _)| n)),
            }),
        }
    }

    /// The name that its model asks for it by.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How its values are stored.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Its dimensions, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The number of its values.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it has no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether its values are read one after the other as they lie in their files, without a scale.
    pub fn is_in_order(&self) -> bool {
        self.scale.is_none() && self.pieces.iter().all(|piece| piece.strided.is_none())
    }

    /// Its bytes as they are stored.
    pub fn stored_bytes(&self) -> u64 {
        self.dtype.bytes_of(self.len() as u64).unwrap_or(0)
    }

    /// The files that it lies in.
    pub fn files(&self) -> impl Iterator<Item = &Arc<ModelFile>> {
        self.pieces.iter().map(|p| &p.file)
    }

    /// The same values under another name.
    pub fn named(mut self, name: &str) -> Self {
        self.name = name.into();
        self
    }

    /// The same values in another shape.
    ///
    /// # Errors
    /// [`WeightError::WrongShape`] where the number of values differs.
    pub fn reshaped(mut self, shape: &[usize]) -> Result<Self> {
        if shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d)) != Some(self.len()) {
            return Err(self.wrong_shape(format!("{shape:?}, or as many values")));
        }
        self.shape = shape.to_vec();
        Ok(self)
    }

    /// Some of its rows (indices of the outermost dimension).
    ///
    /// # Errors
    /// [`WeightError::WrongShape`] where there are fewer, or where they are not stored one after the other.
    pub fn rows(&self, rows: Range<usize>) -> Result<Self> {
        let fail = || self.wrong_shape(format!("rows {rows:?} that follow one another"));
        let row: usize = self.shape.get(1..).ok_or_else(fail)?.iter().product();
        let one_run = self.pieces.len() == 1 && self.pieces[0].strided.is_none();
        let whole_blocks = row.is_multiple_of(self.dtype.block_len());
        // A scale for every row would have to be cut too.
        let one_scale = self.scale.as_ref().is_none_or(|s| s.len() == 1);
        if rows.start > rows.end || rows.end > self.shape[0] || !one_run || !whole_blocks || !one_scale {
            return Err(fail());
        }
        let mut part = self.clone();
        part.shape[0] = rows.len();
        part.pieces[0].offset += self.dtype.bytes_of((rows.start * row) as u64).ok_or_else(fail)?;
        part.pieces[0].len = rows.len() * row;
        Ok(part)
    }

    /// Several tensors, one after the other along the outermost dimension.
    ///
    /// # Errors
    /// [`WeightError::WrongShape`] where their other dimensions or their types differ.
    pub fn concat(name: &str, parts: &[Self]) -> Result<Option<Self>> {
        let Some((first, rest)) = parts.split_first() else { return Ok(None) };
        let mut whole = first.clone().named(name);
        for part in rest {
            let fits = part.shape.len() == whole.shape.len()
                && part.shape.get(1..) == whole.shape.get(1..)
                && !part.shape.is_empty()
                && part.dtype == whole.dtype
                && part.scale.is_none()
                && whole.scale.is_none();
            if !fits {
                let expected = format!("{} rows of {:?}, to stand after others", whole.dtype, whole.shape);
                return Err(part.wrong_shape(expected));
            }
            whole.shape[0] += part.shape[0];
            whole.pieces.extend(part.pieces.iter().cloned());
        }
        Ok(Some(whole))
    }

    /// Fails unless it has exactly this shape.
    ///
    /// # Errors
    /// [`WeightError::WrongShape`].
    pub fn expect_shape(&self, shape: &[usize]) -> Result<&Self> {
        if self.shape == shape { Ok(self) } else { Err(self.wrong_shape(format!("{shape:?}"))) }
    }

    pub(super) fn set_scale(&mut self, scale: Self) {
        self.scale = Some(Arc::new(scale));
    }

    pub(super) fn feed(&self, hash: &mut Sha256) {
        hash.update(self.dtype.name());
        for d in &self.shape {
            hash.update(d.to_le_bytes());
        }
        for piece in &self.pieces {
            hash.update(piece.offset.to_le_bytes());
        }
    }

    /// Asks the system to read it ahead of its use; returns at once.
    pub fn read_ahead(&self) {
        for piece in &self.pieces {
            let bytes = self.dtype.bytes_of(piece.len as u64).unwrap_or(0);
            piece.file.read_ahead(piece.offset, bytes);
        }
    }

    pub(super) fn wrong_shape(&self, expected: String) -> WeightError {
        let file = self.first_file();
        WeightError::WrongShape { file, tensor: self.name.to_string(), expected, found: self.shape.clone() }
    }

    pub(super) fn wrong_dtype(&self, wanted: &'static str) -> WeightError {
        let file = self.first_file();
        WeightError::WrongDtype { file, tensor: self.name.to_string(), found: self.dtype, wanted }
    }

    pub(super) fn defect(&self, defect: TensorDefect) -> WeightError {
        WeightError::BadTensor { file: self.first_file(), tensor: self.name.to_string(), defect }
    }

    pub(super) fn first_file(&self) -> std::path::PathBuf {
        self.files().next().map(|f| f.path().to_owned()).unwrap_or_default()
    }
}
