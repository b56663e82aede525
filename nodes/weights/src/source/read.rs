//! A tensor's values from disk into memory of the caller's, converted on the way.

use crate::convert::{self, Element};
use crate::error::TensorDefect;
use crate::{DType, Result, WeightError};

use super::view::{Piece, TensorView};

/// Values converted at a time: stored and as f32 they stay in a core's own cache.
const CHUNK: usize = 1 << 15;

impl TensorView {
    /// Reads all values, row by row.
    ///
    /// # Errors
    /// Where `out` has another length, the values are no numbers, or the file cannot be read.
    pub fn read<T: Element>(&self, out: &mut [T]) -> Result<()> {
        if out.len() != self.len() {
            return Err(self.wrong_shape(format!("{} values", out.len())));
        }
        self.read_range(0, out)
    }

    /// All values, row by row.
    ///
    /// # Errors
    /// Where the values are no numbers, or the file cannot be read.
    pub fn to_vec<T: Element>(&self) -> Result<Vec<T>> {
        // The header's check bounds this by the file's length (times 64 for the densest blocks). What there is no
        // memory for is an error here, where the allocation itself would end the process.
        let room = Vec::<T>::new().try_reserve_exact(self.len());
        room.map_err(|e| {
            WeightError::io(&self.first_file(), std::io::Error::new(std::io::ErrorKind::OutOfMemory, e))
        })?;
        let mut out = vec![T::zeroed(); self.len()];
        self.read_range(0, &mut out)?;
        Ok(out)
    }

    /// The only value of a tensor that has one.
    ///
    /// # Errors
    /// Where it has more, they are no numbers, or the file cannot be read.
    pub fn scalar(&self) -> Result<f32> {
        let mut out = [0.0f32];
        self.read(&mut out)?;
        Ok(out[0])
    }

    /// Reads the values from number `start` on, as many as `out` holds.
    ///
    /// # Errors
    /// Where there are fewer, they are no numbers, or the file cannot be read.
    pub fn read_range<T: Element>(&self, start: usize, out: &mut [T]) -> Result<()> {
        if start.checked_add(out.len()).is_none_or(|end| end > self.len()) {
            return Err(self.wrong_shape(format!("at least {} values", start.saturating_add(out.len()))));
        }
        let mut skip = start;
        let mut rest = &mut *out;
        for piece in &self.pieces {
            if skip >= piece.len {
                skip -= piece.len;
                continue;
            }
            let n = rest.len().min(piece.len - skip);
            let (now, later) = rest.split_at_mut(n);
            self.read_piece(piece, skip, now)?;
            rest = later;
            skip = 0;
        }
        self.apply_scale(start, out)
    }

    /// Reads the stored bytes as they are.
    ///
    /// # Errors
    /// Where `out` has another length, values are not stored one after the other, or the file cannot be read.
    pub fn read_stored(&self, out: &mut [u8]) -> Result<()> {
        if out.len() as u64 != self.stored_bytes() {
            return Err(self.wrong_shape(format!("{} bytes", out.len())));
        }
        let mut rest = out;
        for piece in &self.pieces {
            let bytes = self.dtype().bytes_of(piece.len as u64).unwrap_or(0);
            let (now, later) = rest.split_at_mut(usize::try_from(bytes).unwrap_or(0));
            match &piece.strided {
                None => piece.file.read_at(piece.offset, now, &what(piece))?,
                Some(_) => self.gather(piece, now)?,
            }
            rest = later;
        }
        Ok(())
    }

    fn read_piece<T: Element>(&self, piece: &Piece, start: usize, out: &mut [T]) -> Result<()> {
        let dtype = self.dtype();
        if !convert::is_number(dtype) {
            return Err(self.wrong_dtype("numbers"));
        }
        if piece.strided.is_some() {
            return self.read_strided(piece, start, out);
        }
        let unit = dtype.block_bytes() as u64;
        let block = dtype.block_len();
        if dtype == T::DTYPE && cfg!(target_endian = "little") {
            let bytes: &mut [u8] = bytemuck::cast_slice_mut(out);
            return piece.file.read_at(piece.offset + start as u64 * unit, bytes, &what(piece));
        }
        let mut scratch = Scratch::new(dtype, out.len());
        let mut at = start;
        for out in chunks_on_blocks(out, start, block) {
            let first = at / block * block;
            let end = (at + out.len()).next_multiple_of(block);
            let (bytes, values) = scratch.take(dtype, end - first);
            piece.file.read_at(piece.offset + (first / block) as u64 * unit, bytes, &what(piece))?;
            convert::to_f32(dtype, bytes, values);
            T::from_f32_slice(&values[at - first..][..out.len()], out);
            at += out.len();
        }
        Ok(())
    }

    /// Views that were transposed before they were saved: rare and small, so read whole.
    fn read_strided<T: Element>(&self, piece: &Piece, start: usize, out: &mut [T]) -> Result<()> {
        let mut bytes = vec![0; piece.len * self.dtype().block_bytes()];
        self.gather(piece, &mut bytes)?;
        let mut values = vec![0.0; piece.len];
        convert::to_f32(self.dtype(), &bytes, &mut values);
        T::from_f32_slice(&values[start..start + out.len()], out);
        Ok(())
    }

    /// The stored values of a strided piece, one after the other.
    fn gather(&self, piece: &Piece, out: &mut [u8]) -> Result<()> {
        let Some((shape, strides)) = &piece.strided else { return Ok(()) };
        if piece.len == 0 {
            return Ok(());
        }
        let size = self.dtype().block_bytes();
        // The header's reader has checked that the last value lies in the file.
        let last: usize = shape.iter().zip(strides).map(|(d, s)| (d - 1) * s).sum();
        let mut span = vec![0; (last + 1) * size];
        piece.file.read_at(piece.offset, &mut span, &what(piece))?;
        let mut index = vec![0usize; shape.len()];
        for value in out.chunks_exact_mut(size) {
            let at: usize = index.iter().zip(strides).map(|(i, s)| i * s).sum();
            value.copy_from_slice(&span[at * size..][..size]);
            for d in (0..shape.len()).rev() {
                index[d] += 1;
                if index[d] < shape[d] {
                    break;
                }
                index[d] = 0;
            }
        }
        Ok(())
    }

    /// Multiplies by the scale of an fp8 weight: one for the tensor, or one for each row.
    fn apply_scale<T: Element>(&self, start: usize, out: &mut [T]) -> Result<()> {
        let Some(scale) = &self.scale else { return Ok(()) };
        let scales: Vec<f32> = scale.to_vec()?;
        let rows = scales.len();
        if rows == 0 || !self.len().is_multiple_of(rows) || (rows > 1 && self.shape().first() != Some(&rows))
        {
            return Err(self.defect(TensorDefect::Other(format!(
                "its scale has shape {:?}; one value, or one for each row of {:?} was expected",
                scale.shape(),
                self.shape()
            ))));
        }
        let row = self.len() / rows;
        let mut wide = vec![0.0f32; CHUNK.min(out.len())];
        let mut at = start;
        for chunk in out.chunks_mut(CHUNK) {
            let wide = &mut wide[..chunk.len()];
            for (i, (w, v)) in wide.iter_mut().zip(chunk.iter()).enumerate() {
                *w = v.to_f32() * scales[(at + i) / row];
            }
            T::from_f32_slice(wide, chunk);
            at += chunk.len();
        }
        Ok(())
    }
}

fn what(piece: &Piece) -> String {
    format!("tensor '{}'", piece.stored)
}

/// Cuts `out` into chunks whose ends fall on blocks, where `out` begins at value `start`.
fn chunks_on_blocks<T>(out: &mut [T], start: usize, block: usize) -> impl Iterator<Item = &mut [T]> {
    let to_block = start.next_multiple_of(block) - start;
    let (head, rest) = out.split_at_mut(to_block.min(out.len()));
    std::iter::once(head).filter(|h| !h.is_empty()).chain(rest.chunks_mut(CHUNK))
}

/// Two buffers that are used again for each chunk.
struct Scratch {
    /// As words, so that casts to wider types are aligned.
    stored: Vec<u64>,
    wide: Vec<f32>,
}

impl Scratch {
    fn new(dtype: DType, len: usize) -> Self {
        let values = len.min(CHUNK) + 2 * dtype.block_len();
        let bytes = values.div_ceil(dtype.block_len()) * dtype.block_bytes();
        Self { stored: vec![0; bytes.div_ceil(8)], wide: vec![0.0; values] }
    }

    fn take(&mut self, dtype: DType, values: usize) -> (&mut [u8], &mut [f32]) {
        let bytes = values / dtype.block_len() * dtype.block_bytes();
        (&mut bytemuck::cast_slice_mut(&mut self.stored)[..bytes], &mut self.wide[..values])
    }
}
