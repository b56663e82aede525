use half::{bf16, f16};
use proptest::prelude::*;

use super::{Element, to_f32};
use crate::DType;

fn one(dtype: DType, bytes: &[u8]) -> f32 {
    let mut out = [0.0];
    assert!(to_f32(dtype, bytes, &mut out));
    out[0]
}

#[test]
fn e4m3_has_the_values_of_the_paper() {
    for (byte, value) in [
        (0x00u8, 0.0),
        (0x01, 2f32.powi(-9)),
        (0x07, 0.875 * 2f32.powi(-6)),
        (0x08, 2f32.powi(-6)),
        (0x38, 1.0),
        (0x7e, 448.0),
        (0xfe, -448.0),
        (0xb8, -1.0),
    ] {
        assert_eq!(one(DType::F8E4M3, &[byte]), value, "{byte:#x}");
    }
    assert!(one(DType::F8E4M3, &[0x7f]).is_nan() && one(DType::F8E4M3, &[0xff]).is_nan());
}

#[test]
fn e5m2_has_the_values_of_the_paper() {
    for (byte, value) in [(0x01u8, 2f32.powi(-16)), (0x3c, 1.0), (0x7b, 57344.0), (0xfc, f32::NEG_INFINITY)] {
        assert_eq!(one(DType::F8E5M2, &[byte]), value, "{byte:#x}");
    }
    assert!(one(DType::F8E5M2, &[0x7f]).is_nan());
}

#[test]
fn every_half_float_widens_exactly() {
    let bits: Vec<u16> = (0..=u16::MAX).collect();
    let bytes: Vec<u8> = bits.iter().flat_map(|b| b.to_le_bytes()).collect();
    let mut out = vec![0.0; bits.len()];
    assert!(to_f32(DType::F16, &bytes, &mut out));
    for (b, o) in bits.iter().zip(&out) {
        let expected = f16::from_bits(*b).to_f32();
        assert!(*o == expected || (o.is_nan() && expected.is_nan()), "{b:#x}");
    }
    assert!(to_f32(DType::BF16, &bytes, &mut out));
    for (b, o) in bits.iter().zip(&out) {
        assert_eq!(o.to_bits(), u32::from(*b) << 16);
    }
}

proptest! {
    #[test]
    fn bf16_rounds_as_the_half_crate_does(bits: u32) {
        let value = f32::from_bits(bits);
        let mut out = [bf16::ZERO];
        bf16::from_f32_slice(&[value], &mut out);
        prop_assert_eq!(out[0].to_bits(), bf16::from_f32(value).to_bits());
    }
}
