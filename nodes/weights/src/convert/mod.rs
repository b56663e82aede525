//! Stored values to f32, bf16 and f16.

mod fp8;
mod ggml;

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use crate::DType;

/// A type that weights can be read as.
pub trait Element: bytemuck::Pod + Send + Sync {
    /// The stored type that needs no conversion.
    const DTYPE: DType;

    /// Rounds to this type (to nearest, ties to even).
    fn from_f32_slice(values: &[f32], out: &mut [Self]);

    /// Widens, exactly.
    fn to_f32(self) -> f32;
}

impl Element for f32 {
    const DTYPE: DType = DType::F32;

    fn from_f32_slice(values: &[f32], out: &mut [Self]) {
        out.copy_from_slice(values);
    }

    fn to_f32(self) -> f32 {
        self
    }
}

impl Element for f16 {
    const DTYPE: DType = DType::F16;

    fn from_f32_slice(values: &[f32], out: &mut [Self]) {
        out.convert_from_f32_slice(values);
    }

    fn to_f32(self) -> f32 {
        f16::to_f32(self)
    }
}

impl Element for bf16 {
    const DTYPE: DType = DType::BF16;

    fn from_f32_slice(values: &[f32], out: &mut [Self]) {
        for (o, v) in out.iter_mut().zip(values) {
            *o = bf16::from_bits(round_to_bf16(*v));
        }
    }

    fn to_f32(self) -> f32 {
        bf16::to_f32(self)
    }
}

/// To nearest, ties to even, without branches, so that the loop becomes vector code.
fn round_to_bf16(v: f32) -> u16 {
    let bits = v.to_bits();
    let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1));
    // Rounding a NaN could carry into its exponent: keep it one, quiet, with its sign.
    let quiet = bits | 0x0040_0000;
    ((if v.is_nan() { quiet } else { rounded }) >> 16) as u16
}

/// Converts whole stored units to f32. `bytes` must hold exactly the units of `out`, which the
/// callers derive from one count. `false` for types that are not numbers to compute with.
pub(crate) fn to_f32(dtype: DType, bytes: &[u8], out: &mut [f32]) -> bool {
    debug_assert_eq!(dtype.bytes_of(out.len() as u64), Some(bytes.len() as u64));
    match dtype {
        DType::F32 => each(bytes, out, f32::from_le_bytes),
        DType::F64 => each(bytes, out, |b| f64::from_le_bytes(b) as f32),
        DType::F16 => match bytemuck::try_cast_slice::<u8, f16>(bytes) {
            Ok(values) => values.convert_to_f32_slice(out),
            Err(_) => each(bytes, out, |b| f16::from_le_bytes(b).to_f32()),
        },
        DType::BF16 => each(bytes, out, |b| f32::from_bits(u32::from(u16::from_le_bytes(b)) << 16)),
        DType::F8E4M3 => each(bytes, out, |[b]| fp8::E4M3[usize::from(b)]),
        DType::F8E5M2 => each(bytes, out, |[b]| fp8::e5m2(b)),
        DType::I64 => each(bytes, out, |b| i64::from_le_bytes(b) as f32),
        DType::I32 => each(bytes, out, |b| i32::from_le_bytes(b) as f32),
        DType::I16 => each(bytes, out, |b| f32::from(i16::from_le_bytes(b))),
        DType::I8 => each(bytes, out, |b| f32::from(i8::from_le_bytes(b))),
        DType::U8 => each(bytes, out, |[b]| f32::from(b)),
        dtype => return ggml::to_f32(dtype, bytes, out),
    }
    true
}

/// Whether [`to_f32`] reads the type.
pub(crate) fn is_number(dtype: DType) -> bool {
    !matches!(dtype, DType::U64 | DType::U32 | DType::U16 | DType::Bool)
}

/// Applies `f` to every `N` bytes.
fn each<const N: usize>(bytes: &[u8], out: &mut [f32], f: impl Fn([u8; N]) -> f32) {
    for (o, b) in out.iter_mut().zip(bytes.as_chunks::<N>().0) {
        *o = f(*b);
    }
}

#[cfg(test)]
mod tests;
