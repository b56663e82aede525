//! Noise, schedules, guidance and samplers.

mod error;
pub mod model_sampling;
pub mod noise;
pub mod rng;
pub mod samplers;
pub mod schedule;
mod tensor;

pub use error::{Error, Result};
pub use model_sampling::ModelSampling;
pub use schedule::Scheduler;
