//! Sizes as SDXL is conditioned on them: embedded like timesteps, beside the pooled prompt (Podell et al. 2023).

use candle_core::{Device, Tensor};

use crate::{Result, timestep};

/// What the picture is to look like it was cut from. All in pixels, height before width.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Sizes {
    /// The base model's.
    Base {
        /// Size of the original.
        size: [f32; 2],
        /// Top left corner of the cut.
        crop: [f32; 2],
        /// Size that it is shown in.
        target: [f32; 2],
    },
    /// The refiner's.
    Refiner {
        /// Size of the original.
        size: [f32; 2],
        /// Top left corner of the cut.
        crop: [f32; 2],
        /// How beautiful it should be: 6 for what is wanted, 2.5 for what is not.
        aesthetic_score: f32,
    },
}

/// Values that a number is embedded in.
const WIDTH: usize = 256;

impl Sizes {
    /// The vector that the model reads: pooled prompt (`[n, channels]`), then each number embedded.
    pub fn y(&self, pooled: &Tensor) -> Result<Tensor> {
        let numbers: Vec<f32> = match *self {
            Self::Base { size, crop, target } => [size, crop, target].concat(),
            Self::Refiner { size, crop, aesthetic_score } => {
                [size[0], size[1], crop[0], crop[1], aesthetic_score].to_vec()
            }
        };
        let n = pooled.dim(0)?;
        let embedded = timestep::embedding(&numbers, WIDTH, 10_000.0);
        let embedded =
            Tensor::from_vec(embedded, (1, numbers.len() * WIDTH), &Device::Cpu)?.repeat((n, 1))?;
        Ok(Tensor::cat(&[pooled, &embedded], 1)?)
    }
}
