//! `models/FAMILY`: tiny networks of every family, built from procedural weights, against the reference's outputs.

mod manifest;
mod sd;

use crate::support::Family;

pub(crate) const FAMILIES: &[Family] =
    &[sd::SD1, sd::SD1_INPAINT, sd::SD2, sd::SDXL];

/// Networks are compared by their largest difference, in standard deviations of the output.
const BOUND: f64 = 2e-4;
