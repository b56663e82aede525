//! `models/FAMILY`: tiny networks of every family, built from procedural weights, against the reference's outputs.

mod chain;
pub(crate) mod demo;
pub(crate) mod dit;
mod lora;
mod manifest;
pub(crate) mod picture;
pub(crate) mod sd;
mod synth;
pub(crate) mod text;

/// Networks are compared by their largest difference, in standard deviations of the output.
const BOUND: f64 = 2e-4;
