//! A comparison for each file of reference numbers.

pub(crate) mod images;
pub(crate) mod networks;
pub(crate) mod rng;
pub(crate) mod samplers;
pub(crate) mod schedules;
pub(crate) mod tokens;
