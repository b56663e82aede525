//! The table: for each place in a file where a component may lie, the rows that can match there.
//! The first row that matches decides, so what is special stands before what is general.

mod denoisers;
mod images;
mod on_top;
mod text;

use super::family::Naming::Original;
use super::family::{Family, Naming, Part};
use super::sign::{Rule, Sign};

pub(super) use denoisers::DENOISERS;
pub(super) use images::{UPSCALERS, VAES, VISION};
pub(super) use on_top::{CONTROL, ON_TOP};
pub(super) use text::{CLIP_G, CLIP_H, CLIP_L, LANGUAGE, LONE_CLIP};

/// Where components lie in files that hold several, and in files that hold one (the empty prefix).
pub(super) struct Place {
    pub(super) prefixes: &'static [&'static str],
    pub(super) rules: &'static [Rule],
}

const fn row(part: Part, family: Family, naming: Naming, signs: &'static [Sign]) -> Rule {
    Rule { part, family, naming, signs }
}

const fn denoiser(family: Family, signs: &'static [Sign]) -> Rule {
    row(Part::Denoiser, family, Original, signs)
}
