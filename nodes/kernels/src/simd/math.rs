//! Elementary functions on vectors.

use super::Simd;

/// 2^x. Relative error below 2e-7 for results above the smallest normal f32; stays at 2^-126 below.
///
/// x = n + f with f in [-1/2, 1/2]; 2^f is a polynomial whose largest relative error there is least (Remez): 7.5e-8.
#[inline(always)]
pub(crate) fn exp2<S: Simd>(s: S, x: S::V) -> S::V {
    // In this order of arguments a NaN comes through.
    exp2_low(s, s.min(s.splat(127.0), x))
}

/// [`exp2`] for x below 127.5, which it does not check.
#[inline(always)]
pub(crate) fn exp2_low<S: Simd>(s: S, x: S::V) -> S::V {
    let x = s.max(s.splat(-126.0), x);
    let n = s.round(x);
    let f = s.sub(x, n);
    let mut p = s.fma(s.splat(1.327_647_2e-3), f, s.splat(9.675_541e-3));
    p = s.fma(p, f, s.splat(5.550_713e-2));
    p = s.fma(p, f, s.splat(2.402_212e-1));
    p = s.fma(p, f, s.splat(6.931_469_7e-1));
    p = s.fma(p, f, s.splat(1.0));
    s.scale2(p, n)
}

/// [`exp2_low`] to 7.5e-5: a twentieth of what rounding the result to bf16 costs.
#[inline(always)]
pub(crate) fn exp2_rough<S: Simd>(s: S, x: S::V) -> S::V {
    let x = s.max(s.splat(-126.0), x);
    let n = s.round(x);
    let f = s.sub(x, n);
    let mut p = s.fma(s.splat(5.517_167e-2), f, s.splat(2.426_111_2e-1));
    p = s.fma(p, f, s.splat(6.932_61e-1));
    p = s.fma(p, f, s.splat(9.999_281e-1));
    s.scale2(p, n)
}

/// e^x. The relative error grows with |x| as the product with log2(e) rounds: below 4e-6 for |x| < 80.
#[inline(always)]
pub(crate) fn exp<S: Simd>(s: S, x: S::V) -> S::V {
    exp2(s, s.mul(x, s.splat(std::f32::consts::LOG2_E)))
}

/// 1 / (1 + e^-x).
#[inline(always)]
pub(crate) fn sigmoid<S: Simd>(s: S, x: S::V) -> S::V {
    let one = s.splat(1.0);
    s.div(one, s.add(one, exp(s, s.sub(s.splat(0.0), x))))
}

/// x * sigmoid(x).
#[inline(always)]
pub(crate) fn silu<S: Simd>(s: S, x: S::V) -> S::V {
    s.div(x, s.add(s.splat(1.0), exp(s, s.sub(s.splat(0.0), x))))
}

/// x * sigmoid(1.702 x): the GELU of OpenAI's CLIP.
#[inline(always)]
pub(crate) fn quick_gelu<S: Simd>(s: S, x: S::V) -> S::V {
    s.mul(x, sigmoid(s, s.mul(x, s.splat(1.702))))
}

/// x * Phi(x), with Phi from Abramowitz and Stegun 7.1.26: absolute error of erf below 1.5e-7.
///
/// The tail 1 - erf(|x|/sqrt 2) is used as it is for negative x, so that nothing cancels there.
#[inline(always)]
pub(crate) fn gelu_erf<S: Simd>(s: S, x: S::V) -> S::V {
    let zero = s.splat(0.0);
    let one = s.splat(1.0);
    let a = s.mul(s.max(x, s.sub(zero, x)), s.splat(std::f32::consts::FRAC_1_SQRT_2));
    let t = s.div(one, s.fma(a, s.splat(0.327_591_1), one));
    let mut p = s.splat(1.061_405_4);
    p = s.fma(p, t, s.splat(-1.453_152));
    p = s.fma(p, t, s.splat(1.421_413_7));
    p = s.fma(p, t, s.splat(-0.284_496_74));
    p = s.fma(p, t, s.splat(0.254_829_6));
    let tail = s.mul(s.mul(p, t), exp(s, s.sub(zero, s.mul(a, a))));
    let half = s.mul(x, s.splat(0.5));
    s.select_lt(x, zero, s.mul(half, tail), s.mul(half, s.sub(s.splat(2.0), tail)))
}

/// x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) (Hendrycks and Gimpel 2016), as x * sigmoid of twice the argument.
#[inline(always)]
pub(crate) fn gelu_tanh<S: Simd>(s: S, x: S::V) -> S::V {
    let cubic = s.fma(s.mul(s.mul(x, x), s.splat(0.044_715)), x, x);
    s.mul(x, sigmoid(s, s.mul(cubic, s.splat(1.595_769))))
}
