//! How a step is divided into going down further and adding noise back.

/// The level to step down to, and the deviation of the noise that brings `to` back (k-diffusion's ancestral
/// step; Song et al. 2020, DDIM, eq. 16 with η). `eta` 0 adds none.
pub(super) fn ancestral_step(from: f64, to: f64, eta: f64) -> (f64, f64) {
    if eta == 0.0 {
        return (to, 0.0);
    }
    let up = to.min(eta * (to * to * (from * from - to * to) / (from * from)).max(0.0).sqrt());
    ((to * to - up * up).max(0.0).sqrt(), up)
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
