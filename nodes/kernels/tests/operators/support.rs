//! Inputs, paths and the comparison the tests share.

use ebb_kernels::{Activation, Buf, DType, Kernels, Path, Pool, Threads};
use half::{bf16, f16};

/// A small generator (xorshift), so that inputs are the same on every machine.
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// About normal: a sum of four uniform values.
    pub(crate) fn value(&mut self) -> f32 {
        let sum: f32 = (0..4).map(|_| (self.next() >> 40) as f32 / (1u64 << 24) as f32 - 0.5).sum();
        sum * 1.732
    }

    pub(crate) fn values(&mut self, n: usize, scale: f32) -> Vec<f32> {
        (0..n).map(|_| self.value() * scale).collect()
    }

    /// Rows whose channels 3, 14, 25... are thirty times the others', as real checkpoints have them.
    pub(crate) fn outliers(&mut self, rows: usize, channels: usize) -> Vec<f32> {
        let mut v = self.values(rows * channels, 1.0);
        for (i, x) in v.iter_mut().enumerate() {
            if i % channels % 11 == 3 {
                *x *= 30.0;
            }
        }
        v
    }
}

/// Kernels on each path of this machine, two workers each.
pub(crate) fn each_path(test: impl Fn(&Kernels)) {
    for path in Path::ALL.into_iter().filter(|p| p.available()) {
        let threads = Threads::new(2).expect("two threads");
        test(&Kernels::with_path(threads, Pool::new(), path).expect("an available path"));
    }
}

pub(crate) fn to_bf16(v: &[f32]) -> Vec<bf16> {
    v.iter().map(|&x| bf16::from_f32(x)).collect()
}

pub(crate) fn to_f16(v: &[f32]) -> Vec<f16> {
    v.iter().map(|&x| f16::from_f32(x)).collect()
}

/// The values as they are after a trip through bf16.
pub(crate) fn rounded(v: &[f32]) -> Vec<f32> {
    v.iter().map(|&x| bf16::from_f32(x).to_f32()).collect()
}

/// A pooled buffer of a type with these values.
pub(crate) fn buffer(k: &Kernels, dtype: DType, v: &[f32]) -> Buf {
    let mut b = k.pool().get(dtype, v.len()).expect("memory");
    let x = k.pool().copy_f32(v).expect("memory");
    k.activate(x.view(), Activation::None, b.view_mut()).expect("a conversion");
    b
}

/// Root of the mean square of the difference, over that of what is expected.
pub(crate) fn relative_rms(found: &[f32], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let difference: f64 = found.iter().zip(expected).map(|(&a, b)| (f64::from(a) - b).powi(2)).sum();
    let size: f64 = expected.iter().map(|b| b * b).sum();
    (difference / size.max(1e-300)).sqrt()
}

#[track_caller]
pub(crate) fn close(k: &Kernels, what: &str, found: &[f32], expected: &[f64], bound: f64) {
    let error = relative_rms(found, expected);
    // Shown by `--nocapture`: the figures of docs/kernels.md.
    println!("{} {error:.1e} {what}", k.path().name());
    assert!(error <= bound, "{what} on {}: relative rms {error:.2e}, allowed {bound:.0e}", k.path().name());
}

/// The bound of a result stored as this type: sums of f32, or one rounding to 8 bits (2^-9 / sqrt 3 on average).
pub(crate) fn bound(dtype: DType) -> f64 {
    match dtype {
        DType::F32 => 2e-6,
        DType::Bf16 => 2.5e-3,
    }
}

pub(crate) fn silu(x: f64) -> f64 {
    x / (1.0 + (-x).exp())
}

/// erf by its series below 3, by its continued fraction above.
pub(crate) fn erf(x: f64) -> f64 {
    let a = x.abs();
    let y = if a < 3.0 {
        let (mut term, mut sum) = (a, a);
        for n in 1..200 {
            term *= -a * a / n as f64;
            sum += term / (2 * n + 1) as f64;
        }
        sum * 2.0 / std::f64::consts::PI.sqrt()
    } else {
        let mut f = 0.0;
        for n in (1..60).rev() {
            f = n as f64 / 2.0 / (a + f);
        }
        1.0 - (-a * a).exp() / ((a + f) * std::f64::consts::PI.sqrt())
    };
    y.copysign(x)
}

pub(crate) fn gelu(x: f64) -> f64 {
    x * 0.5 * (1.0 + erf(x / std::f64::consts::SQRT_2))
}

pub(crate) fn gelu_tanh(x: f64) -> f64 {
    x * 0.5 * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh())
}

pub(crate) fn activate(a: Activation, x: f64) -> f64 {
    match a {
        Activation::None => x,
        Activation::Silu => silu(x),
        Activation::GeluErf => gelu(x),
        Activation::GeluTanh => gelu_tanh(x),
        Activation::QuickGelu => x / (1.0 + (-1.702 * x).exp()),
        Activation::Relu => x.max(0.0),
        Activation::LeakyRelu02 => x.max(0.2 * x),
        Activation::LeakyRelu01 => x.max(0.1 * x),
    }
}
