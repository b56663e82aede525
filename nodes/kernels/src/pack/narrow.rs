//! Values rounded to bf16.

use half::{bf16, f16};

/// Rounds to nearest even. NaN stays NaN.
pub(super) fn narrow(from: &[f32], to: &mut [bf16]) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has what the function is compiled for.
        return unsafe { narrow_avx2(from, to) };
    }
    narrow_each(from, to);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn narrow_avx2(from: &[f32], to: &mut [bf16]) {
    narrow_each(from, to);
}

/// In a form the compiler makes vectors of.
#[inline(always)]
fn narrow_each(from: &[f32], to: &mut [bf16]) {
    for (x, to) in from.iter().zip(to) {
        let bits = x.to_bits();
        let up = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
        *to = bf16::from_bits(if x.is_nan() { 0x7fc0 } else { up as u16 });
    }
}

/// [`narrow`] of f16 values, as most files hold them: without a stop in memory. False where the processor has no
/// instructions for that.
pub(super) fn narrow_f16(from: &[f16], to: &mut [bf16]) -> bool {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("f16c") {
        // SAFETY: the processor has what the function is compiled for.
        unsafe { narrow_f16_avx2(from, to) };
        return true;
    }
    let _ = (from, to);
    false
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,f16c")]
fn narrow_f16_avx2(from: &[f16], to: &mut [bf16]) {
    use std::arch::x86_64::*;
    let whole = from.len().min(to.len()) / 8 * 8;
    for at in (0..whole).step_by(8) {
        // SAFETY: eight values from `at` on are within both slices; loads and stores need no alignment.
        unsafe {
            let x = _mm256_cvtph_ps(_mm_loadu_si128(from.as_ptr().add(at).cast()));
            let bits = _mm256_castps_si256(x);
            let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
            let up = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
            let nan = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(x, x));
            let rounded = _mm256_blendv_epi8(_mm256_srli_epi32::<16>(up), _mm256_set1_epi32(0x7fc0), nan);
            // Each half of the register is packed by itself: its two quarters are brought together after that.
            let packed = _mm256_permute4x64_epi64::<0b1000>(_mm256_packus_epi32(rounded, rounded));
            _mm_storeu_si128(to.as_mut_ptr().add(at).cast(), _mm256_castsi256_si128(packed));
        }
    }
    for (x, to) in from[whole..].iter().zip(&mut to[whole..]) {
        narrow_each(&[x.to_f32()], std::slice::from_mut(to));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_float_is_rounded_as_its_f32_is() {
        let halves: Vec<f16> = (0..=u16::MAX).map(f16::from_bits).chain([f16::ONE; 5]).collect();
        let wide: Vec<f32> = halves.iter().map(|x| x.to_f32()).collect();
        let (mut expected, mut found) = (vec![bf16::ZERO; halves.len()], vec![bf16::ZERO; halves.len()]);
        narrow_each(&wide, &mut expected);
        if narrow_f16(&halves, &mut found) {
            let bits = |v: &[bf16]| v.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&found), bits(&expected));
        }
    }
}
