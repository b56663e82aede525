//! How a caller follows sampling and stops it.

use std::ops::ControlFlow;

use candle_core::Tensor;

/// A step that was just evaluated.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// Which step, from 0.
    pub index: usize,
    /// How many there will be. Adaptive samplers may take more.
    pub total: usize,
    /// The noise level of this step.
    pub sigma: f64,
    /// The clean latent as far as the model sees it now, in the model's scale: what previews show.
    pub denoised: &'a Tensor,
    /// The noisy latent that it was seen in.
    pub x: &'a Tensor,
}

/// Follows sampling. Shared by everything that runs within one job, hence `&self`.
pub trait Observer {
    /// Called once a step. `Break` ends sampling with [`Error::Cancelled`](crate::Error::Cancelled).
    fn step(&self, step: &Step<'_>) -> ControlFlow<()> {
        let _ = step;
        ControlFlow::Continue(())
    }

    /// Asked before every call of the model, which is as soon as sampling can stop.
    fn cancelled(&self) -> bool {
        false
    }
}

/// Follows nothing.
impl Observer for () {}
