//! The activations epilogues can apply.

use crate::simd::{Simd, math};

/// An elementwise function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Activation {
    /// x.
    #[default]
    None,
    /// x * sigmoid(x).
    Silu,
    /// x * Phi(x), exact.
    GeluErf,
    /// GELU by the tanh formula.
    GeluTanh,
    /// x * sigmoid(1.702 x).
    QuickGelu,
    /// max(x, 0).
    Relu,
    /// x for positive x, else 0.2 x (ESRGAN's).
    LeakyRelu02,
    /// x for positive x, else 0.1 x.
    LeakyRelu01,
}

impl Activation {
    #[inline(always)]
    pub(crate) fn apply<S: Simd>(self, s: S, x: S::V) -> S::V {
        let leaky = |slope: f32| s.max(x, s.mul(x, s.splat(slope)));
        match self {
            Activation::None => x,
            Activation::Silu => math::silu(s, x),
            Activation::GeluErf => math::gelu_erf(s, x),
            Activation::GeluTanh => math::gelu_tanh(s, x),
            Activation::QuickGelu => math::quick_gelu(s, x),
            Activation::Relu => s.max(s.splat(0.0), x),
            Activation::LeakyRelu02 => leaky(0.2),
            Activation::LeakyRelu01 => leaky(0.1),
        }
    }
}
