//! Noise, schedules, guidance and samplers.

mod error;
pub mod noise;
pub mod rng;

pub use error::{Error, Result};
