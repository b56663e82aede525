//! PyTorch's CPU random generator: the same seed gives the same tensors.

use candle_core::{Device, Shape, Tensor};

use super::mt19937::Mt19937;
use crate::Result;

/// A seeded stream of random numbers that agrees with `torch.Generator(device="cpu")`.
///
/// Consecutive draws continue one stream, as in PyTorch. Values are made on the CPU and then moved to
/// the device that is asked for, so a seed means the same picture on every device.
#[derive(Clone)]
pub struct Generator {
    bits: Mt19937,
    /// The second half of the last Box-Muller pair of a draw below 16 values, kept for the next such draw.
    spare: Option<f64>,
}

impl Generator {
    /// A generator at the start of `seed`'s stream, like `torch.manual_seed(seed)`.
    pub fn new(seed: u64) -> Self {
        Self { bits: Mt19937::new(seed), spare: None }
    }

    /// Uniform numbers in `[0, 1)`, like `torch.rand`.
    pub fn rand(&mut self, shape: impl Into<Shape>, device: &Device) -> Result<Tensor> {
        let shape = shape.into();
        let values: Vec<f32> = (0..shape.elem_count()).map(|_| self.uniform_f32()).collect();
        Ok(Tensor::from_vec(values, shape, device)?)
    }

    /// Standard normal numbers, like `torch.randn` in f32.
    pub fn randn(&mut self, shape: impl Into<Shape>, device: &Device) -> Result<Tensor> {
        let shape = shape.into();
        let values = self.normal_vec(shape.elem_count());
        Ok(Tensor::from_vec(values, shape, device)?)
    }

    /// The next 32 bits of the stream, which `torch.randint` takes the rest of.
    pub fn random(&mut self) -> u32 {
        self.bits.next_u32()
    }

    /// Standard normal numbers as a plain vector.
    ///
    /// PyTorch draws fewer than 16 values one by one in double precision, and more in blocks of 16 in
    /// single precision. The two consume the stream differently, so both have to be followed.
    pub(crate) fn normal_vec(&mut self, count: usize) -> Vec<f32> {
        if count < BLOCK {
            return (0..count).map(|_| self.normal_f64() as f32).collect();
        }
        let mut values: Vec<f32> = (0..count).map(|_| self.uniform_f32()).collect();
        for block in values.chunks_exact_mut(BLOCK) {
            box_muller_block(block);
        }
        if !count.is_multiple_of(BLOCK) {
            // The tail is drawn anew, over values that the last whole block may already have made.
            let tail = &mut values[count - BLOCK..];
            for value in tail.iter_mut() {
                *value = self.uniform_f32();
            }
            box_muller_block(tail);
        }
        values
    }

    fn uniform_f32(&mut self) -> f32 {
        (self.bits.next_u32() & 0x00ff_ffff) as f32 * (1.0 / 16_777_216.0)
    }

    fn uniform_f64(&mut self) -> f64 {
        let high = u64::from(self.bits.next_u32());
        let low = u64::from(self.bits.next_u32());
        (((high << 32) | low) & ((1 << 53) - 1)) as f64 / (1u64 << 53) as f64
    }

    fn normal_f64(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        let u1 = self.uniform_f64();
        let u2 = self.uniform_f64();
        let radius = (-2.0 * (-u2).ln_1p()).sqrt();
        let theta = 2.0 * std::f64::consts::PI * u1;
        self.spare = Some(radius * theta.sin());
        radius * theta.cos()
    }
}

const BLOCK: usize = 16;

/// Box and Muller's transform of 16 uniform numbers: the first 8 give radii, the last 8 angles.
///
/// The angle is rounded to f32 as PyTorch rounds it; logarithm, sine and cosine are taken in f64, so that
/// what remains is the error of PyTorch's own vectorised functions (below 1e-6).
fn box_muller_block(block: &mut [f32]) {
    let (radii, angles) = block.split_at_mut(BLOCK / 2);
    for (u1, u2) in radii.iter_mut().zip(angles) {
        let radius = (-2.0 * f64::from(1.0 - *u1).ln()).sqrt() as f32;
        let theta = f64::from(std::f32::consts::TAU * *u2);
        let (sine, cosine) = theta.sin_cos();
        *u1 = radius * cosine as f32;
        *u2 = radius * sine as f32;
    }
}
