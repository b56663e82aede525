//! The two 8-bit floating-point types, as "FP8 Formats for Deep Learning"
//! (Micikevicius et al., 2022, <https://arxiv.org/abs/2209.05433>) defines them.

use half::f16;

/// All values of E4M3 (the variant without infinities): 4 bits of exponent with bias 7, 3 of fraction.
pub(super) static E4M3: [f32; 256] = table();

const fn table() -> [f32; 256] {
    let mut values = [0.0; 256];
    let mut b = 0;
    while b < 256 {
        values[b] = e4m3(b as u8);
        b += 1;
    }
    values
}

const fn e4m3(b: u8) -> f32 {
    let sign = (b as u32 & 0x80) << 24;
    let exponent = (b as u32 >> 3) & 0xf;
    let fraction = b as u32 & 7;
    if exponent == 0xf && fraction == 7 {
        return f32::from_bits(sign | 0x7fc0_0000);
    }
    if exponent == 0 {
        // Subnormal: fraction / 8 × 2^-6.
        let value = fraction as f32 * 0.001_953_125;
        return f32::from_bits(sign | value.to_bits());
    }
    f32::from_bits(sign | ((exponent + 120) << 23) | (fraction << 20))
}

/// E5M2 is the upper byte of an IEEE half float.
pub(super) fn e5m2(b: u8) -> f32 {
    f16::from_bits(u16::from(b) << 8).to_f32()
}
