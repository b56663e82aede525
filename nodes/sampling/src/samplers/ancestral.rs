//! How a step is divided into going down further and adding noise back.

use crate::tensor::round_to_f32;

/// The level to step down to, and the deviation of the noise that brings `to` back (k-diffusion's ancestral
/// step; Song et al. 2020, DDIM, eq. 16 with η). `eta` 0 adds none.
///
/// In f32, as the reference computes it: discrete models read the timestep nearest to a level, and for a
/// level between two of them the last bit decides which.
pub(super) fn ancestral_step(from: f64, to: f64, eta: f64) -> (f64, f64) {
    if eta == 0.0 {
        return (to, 0.0);
    }
    let (from, to) = (from as f32, to as f32);
    let share = to * to * (from * from - to * to) / (from * from);
    let up = to.min(eta as f32 * share.max(0.0).sqrt());
    let down = (to * to - up * up).max(0.0).sqrt();
    (f64::from(down), f64::from(up))
}

/// The geometric middle of two levels, counted from the second, in f32 for the same reason.
pub(super) fn log_middle_from_end(from: f64, to: f64) -> f64 {
    let (from, to) = (from.ln() as f32, to.ln() as f32);
    round_to_f32(f64::from(to - (to - from) * 0.5).exp())
}

/// The geometric middle of two levels, counted from the first.
pub(super) fn log_middle_from_start(from: f64, to: f64) -> f64 {
    let (from, to) = (from.ln() as f32, to.ln() as f32);
    round_to_f32(f64::from(from + (to - from) * 0.5).exp())
}

/// An ancestral step of a flow model, whose signal shrinks as its noise grows.
pub(super) struct FlowStep {
    /// The level to step down to.
    pub(super) down: f64,
    /// Factor on the latent before noise is added.
    pub(super) keep: f64,
    /// Factor on the noise.
    pub(super) renoise: f64,
}

/// Divides a step of a flow model so that signal and noise have the shares of `to` after it.
pub(super) fn flow_step(from: f64, to: f64, eta: f64) -> FlowStep {
    let down = to * (1.0 + (to / from - 1.0) * eta);
    let keep = (1.0 - to) / (1.0 - down);
    let renoise = (to * to - (down * keep).powi(2)).max(0.0).sqrt();
    FlowStep { down, keep, renoise }
}
