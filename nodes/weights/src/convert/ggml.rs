//! ggml's quantised blocks to f32.
//!
//! Layouts: <https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h>. Each function turns
//! one block into its values; the tests hold them against candle's.

use half::f16;

use crate::DType;

/// Converts whole blocks. `false` for types that are not ggml's.
pub(super) fn to_f32(dtype: DType, bytes: &[u8], out: &mut [f32]) -> bool {
    match dtype {
        DType::Q4_0 => blocks::<18, 32>(bytes, out, q4_0),
        DType::Q4_1 => blocks::<20, 32>(bytes, out, q4_1),
        DType::Q5_0 => blocks::<22, 32>(bytes, out, q5_0),
        DType::Q5_1 => blocks::<24, 32>(bytes, out, q5_1),
        DType::Q8_0 => blocks::<34, 32>(bytes, out, q8_0),
        DType::Q8_1 => blocks::<36, 32>(bytes, out, q8_1),
        DType::Q2K => blocks::<84, 256>(bytes, out, q2_k),
        DType::Q3K => blocks::<110, 256>(bytes, out, q3_k),
        DType::Q4K => blocks::<144, 256>(bytes, out, q4_k),
        DType::Q5K => blocks::<176, 256>(bytes, out, q5_k),
        DType::Q6K => blocks::<210, 256>(bytes, out, q6_k),
        DType::Q8K => blocks::<292, 256>(bytes, out, q8_k),
        _ => return false,
    }
    true
}

fn blocks<const BYTES: usize, const LEN: usize>(
    bytes: &[u8],
    out: &mut [f32],
    one: fn(&[u8; BYTES], &mut [f32; LEN]),
) {
    for (block, values) in bytes.as_chunks::<BYTES>().0.iter().zip(out.as_chunks_mut::<LEN>().0) {
        one(block, values);
    }
}

fn half(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

fn q4_0(b: &[u8; 18], y: &mut [f32; 32]) {
    let d = half(b, 0);
    for (j, q) in b[2..].iter().enumerate() {
        y[j] = d * (f32::from(q & 0xf) - 8.0);
        y[j + 16] = d * (f32::from(q >> 4) - 8.0);
    }
}

fn q4_1(b: &[u8; 20], y: &mut [f32; 32]) {
    let (d, m) = (half(b, 0), half(b, 2));
    for (j, q) in b[4..].iter().enumerate() {
        y[j] = d * f32::from(q & 0xf) + m;
        y[j + 16] = d * f32::from(q >> 4) + m;
    }
}

/// The fifth bits of 32 values, the first value's lowest.
fn fifth_bits(b: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]])
}

fn fifth(bits: u32, j: usize) -> u8 {
    ((bits >> j) as u8 & 1) << 4
}

fn q5_0(b: &[u8; 22], y: &mut [f32; 32]) {
    let (d, high) = (half(b, 0), fifth_bits(b, 2));
    for (j, q) in b[6..].iter().enumerate() {
        y[j] = d * (f32::from(q & 0xf | fifth(high, j)) - 16.0);
        y[j + 16] = d * (f32::from(q >> 4 | fifth(high, j + 16)) - 16.0);
    }
}

fn q5_1(b: &[u8; 24], y: &mut [f32; 32]) {
    let (d, m, high) = (half(b, 0), half(b, 2), fifth_bits(b, 4));
    for (j, q) in b[8..].iter().enumerate() {
        y[j] = d * f32::from(q & 0xf | fifth(high, j)) + m;
        y[j + 16] = d * f32::from(q >> 4 | fifth(high, j + 16)) + m;
    }
}

fn q8_0(b: &[u8; 34], y: &mut [f32; 32]) {
    let d = half(b, 0);
    for (y, q) in y.iter_mut().zip(&b[2..]) {
        *y = d * f32::from(*q as i8);
    }
}

fn q8_1(b: &[u8; 36], y: &mut [f32; 32]) {
    let d = half(b, 0);
    for (y, q) in y.iter_mut().zip(&b[4..]) {
        *y = d * f32::from(*q as i8);
    }
}

/// 16 groups of 16: four bits of scale and four of minimum each, two bits a value.
fn q2_k(b: &[u8; 84], y: &mut [f32; 256]) {
    let (scales, qs) = (&b[..16], &b[16..80]);
    let (d, min) = (half(b, 80), half(b, 82));
    for (group, y) in y.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        let (scale, low) = (d * f32::from(scales[group] & 0xf), min * f32::from(scales[group] >> 4));
        let (start, shift) = (32 * (group / 8) + 16 * (group % 2), 2 * (group % 8 / 2));
        for (y, q) in y.iter_mut().zip(&qs[start..]) {
            *y = scale * f32::from(q >> shift & 3) - low;
        }
    }
}

/// 16 groups of 16: six bits of scale each, three bits a value, of which the highest stands apart.
fn q3_k(b: &[u8; 110], y: &mut [f32; 256]) {
    let (high, qs, packed) = (&b[..32], &b[32..96], &b[96..108]);
    let d = half(b, 108);
    for (group, y) in y.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        let low = if group < 8 { packed[group] & 0xf } else { packed[group - 8] >> 4 };
        let top = packed[8 + group % 4] >> (2 * (group / 4)) & 3;
        let scale = d * (f32::from(low | top << 4) - 32.0);
        let half_block = group / 8;
        let (start, shift) = (32 * half_block + 16 * (group % 2), 2 * (group % 8 / 2));
        let bit = 4 * half_block + group % 8 / 2;
        for (l, y) in y.iter_mut().enumerate() {
            let q = i16::from(qs[start + l] >> shift & 3);
            let missing = if high[16 * (group % 2) + l] >> bit & 1 == 1 { 0 } else { 4 };
            *y = scale * f32::from(q - missing);
        }
    }
}

/// Scale and minimum of one of the eight groups of Q4_K and Q5_K: six bits each, packed in twelve bytes.
fn scale_and_min(packed: &[u8], j: usize) -> (f32, f32) {
    let (scale, min) = if j < 4 {
        (packed[j] & 63, packed[j + 4] & 63)
    } else {
        (packed[j + 4] & 0xf | (packed[j - 4] >> 6) << 4, packed[j + 4] >> 4 | (packed[j] >> 6) << 4)
    };
    (f32::from(scale), f32::from(min))
}

fn q4_k(b: &[u8; 144], y: &mut [f32; 256]) {
    let (d, min, packed, qs) = (half(b, 0), half(b, 2), &b[4..16], &b[16..]);
    for (j, y) in y.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let (scale, low) = scale_and_min(packed, j);
        let (scale, low) = (d * scale, min * low);
        let shift = 4 * (j % 2);
        for (y, q) in y.iter_mut().zip(&qs[32 * (j / 2)..]) {
            *y = scale * f32::from(q >> shift & 0xf) - low;
        }
    }
}

fn q5_k(b: &[u8; 176], y: &mut [f32; 256]) {
    let (d, min, packed) = (half(b, 0), half(b, 2), &b[4..16]);
    let (high, qs) = (&b[16..48], &b[48..]);
    for (j, y) in y.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let (scale, low) = scale_and_min(packed, j);
        let (scale, low) = (d * scale, min * low);
        let shift = 4 * (j % 2);
        for ((y, q), h) in y.iter_mut().zip(&qs[32 * (j / 2)..]).zip(high) {
            *y = scale * f32::from((q >> shift & 0xf) | (h >> j & 1) << 4) - low;
        }
    }
}

/// 16 groups of 16 with a scale of eight bits each, six bits a value: four in one place, two in another.
fn q6_k(b: &[u8; 210], y: &mut [f32; 256]) {
    let (low, high, scales) = (&b[..128], &b[128..192], &b[192..208]);
    let d = half(b, 208);
    for (group, y) in y.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let (part, quarter) = (group / 4, group % 4);
        let (start, shift) = (64 * part + 32 * (quarter % 2), 4 * (quarter / 2));
        for (l, y) in y.iter_mut().enumerate() {
            let q = (low[start + l] >> shift & 0xf) | (high[32 * part + l] >> (2 * quarter) & 3) << 4;
            let scale = f32::from(scales[8 * part + 2 * quarter + l / 16] as i8);
            *y = d * scale * (f32::from(q) - 32.0);
        }
    }
}

fn q8_k(b: &[u8; 292], y: &mut [f32; 256]) {
    let d = f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
    for (y, q) in y.iter_mut().zip(&b[4..260]) {
        *y = d * f32::from(*q as i8);
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use candle_core::quantized::{GgmlDType, QStorage, QTensor};
    use candle_core::{Device, Tensor};
    use proptest::prelude::*;

    use super::*;

    const TYPES: [(DType, GgmlDType); 12] = [
        (DType::Q4_0, GgmlDType::Q4_0),
        (DType::Q4_1, GgmlDType::Q4_1),
        (DType::Q5_0, GgmlDType::Q5_0),
        (DType::Q5_1, GgmlDType::Q5_1),
        (DType::Q8_0, GgmlDType::Q8_0),
        (DType::Q8_1, GgmlDType::Q8_1),
        (DType::Q2K, GgmlDType::Q2K),
        (DType::Q3K, GgmlDType::Q3K),
        (DType::Q4K, GgmlDType::Q4K),
        (DType::Q5K, GgmlDType::Q5K),
        (DType::Q6K, GgmlDType::Q6K),
        (DType::Q8K, GgmlDType::Q8K),
    ];

    fn ours(dtype: DType, bytes: &[u8]) -> Vec<f32> {
        let mut out = vec![0.0; bytes.len() / dtype.block_bytes() * dtype.block_len()];
        assert!(to_f32(dtype, bytes, &mut out));
        out
    }

    /// What candle makes of blocks; it has no conversion from Q8_1.
    fn candles(dtype: GgmlDType, bytes: &[u8], len: usize) -> Option<Vec<f32>> {
        if dtype == GgmlDType::Q8_1 {
            return None;
        }
        let storage = QStorage::from_data(Cow::Borrowed(bytes), &Device::Cpu, dtype).unwrap();
        let tensor = QTensor::new(storage, (len,)).unwrap();
        Some(tensor.dequantize(&Device::Cpu).unwrap().to_vec1().unwrap())
    }

    #[test]
    fn block_sizes_are_candles() {
        for (ours, candles) in TYPES {
            assert_eq!(
                (ours.block_len(), ours.block_bytes()),
                (candles.block_size(), candles.type_size()),
                "{ours}"
            );
        }
    }

    #[test]
    fn a_wave_survives_quantisation() {
        let wave: Vec<f32> = (0..2048).map(|i| (i as f32 * 0.1).sin()).collect();
        for (dtype, candle) in TYPES {
            if candle == GgmlDType::Q8_1 {
                continue;
            }
            let tensor = Tensor::from_slice(&wave, (8, 256), &Device::Cpu).unwrap();
            let quantised = QTensor::quantize(&tensor, candle).unwrap();
            let values = ours(dtype, &quantised.data().unwrap());
            let worst = values.iter().zip(&wave).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            let bound = if dtype == DType::Q2K { 0.6 } else { 0.3 };
            assert!(worst < bound, "{dtype}: {worst}");
        }
    }

    #[test]
    fn q8_1_is_q8_0_with_a_sum_beside_the_scale() {
        let mut block = vec![0u8; 36];
        block[..2].copy_from_slice(&f16::from_f32(0.5).to_le_bytes());
        block[2..4].copy_from_slice(&f16::from_f32(123.0).to_le_bytes());
        (0..32).for_each(|i| block[4 + i] = (i as i8 - 16) as u8);
        let expected: Vec<f32> = (0..32).map(|i| 0.5 * (i as f32 - 16.0)).collect();
        assert_eq!(ours(DType::Q8_1, &block), expected);
    }

    proptest! {
        #[test]
        fn any_bytes_give_candles_values(seed in prop::collection::vec(any::<u8>(), 292 * 2)) {
            for (dtype, candle) in TYPES {
                let bytes = &seed[..2 * dtype.block_bytes()];
                let found = ours(dtype, bytes);
                let Some(expected) = candles(candle, bytes, found.len()) else { continue };
                for (a, b) in found.iter().zip(&expected) {
                    let same = a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-5 * b.abs().max(a.abs());
                    prop_assert!(same, "{}: {} is not {}", dtype, a, b);
                }
            }
        }
    }
}
