//! Samplers: ways to walk down a schedule, by name.
//!
//! A sampler is a function of a `Walk` (whom to ask, which sigmas, which options) and the noisy latent. All
//! arithmetic on sigmas is in f64, on latents in their own type.

mod ancestral;
mod euler;
mod options;
mod walk;

use std::str::FromStr;

use candle_core::Tensor;

pub use options::{Adams, Adaptive, ErNoise, SamplerOptions, SecondOrder};
pub use walk::Denoiser;
pub(crate) use walk::Walk;

use crate::{Error, Result};

type SampleFn = fn(&mut Walk<'_>, Tensor) -> Result<Tensor>;

/// A row of the table of samplers.
#[derive(Debug)]
struct Entry {
    name: &'static str,
    sample: SampleFn,
    /// Whether masked parts of the latent get noise of their own, and not the noise that sampling starts
    /// from.
    fresh_inpaint_noise: bool,
}

const fn entry(name: &'static str, sample: SampleFn) -> Entry {
    Entry { name, sample, fresh_inpaint_noise: false }
}

/// Every sampler, in the order in which a menu shows them.
static SAMPLERS: &[Entry] = &[
    entry("euler", euler::euler),
    entry("euler_cfg_pp", euler::euler_cfg_pp),
    entry("euler_ancestral", euler::euler_ancestral),
    entry("euler_ancestral_cfg_pp", euler::euler_ancestral_cfg_pp),
    Entry { fresh_inpaint_noise: true, ..entry("ddim", euler::euler) },
];

/// Samplers that only a node of their own makes.
static UNLISTED: &[Entry] = &[entry("euler_cfg_pp_alternative", euler::euler_cfg_pp_alternative)];

/// The names of all samplers, in the order in which a menu shows them.
pub fn names() -> impl Iterator<Item = &'static str> {
    SAMPLERS.iter().map(|entry| entry.name)
}

/// A sampler with its options.
#[derive(Clone, Debug)]
pub struct Sampler {
    entry: &'static Entry,
    /// What a node chose.
    pub options: SamplerOptions,
}

impl Sampler {
    /// The sampler of that name, with options.
    pub fn new(name: &str, options: SamplerOptions) -> Result<Self> {
        let entry = SAMPLERS.iter().chain(UNLISTED).find(|entry| entry.name == name);
        let entry = entry.ok_or_else(|| Error::UnknownSampler {
            name: name.to_owned(),
            known: names().collect::<Vec<_>>().join(", "),
        })?;
        Ok(Self { entry, options })
    }

    /// Its name in workflows.
    pub fn name(&self) -> &'static str {
        self.entry.name
    }

    pub(crate) fn fresh_inpaint_noise(&self) -> bool {
        self.entry.fresh_inpaint_noise
    }

    /// Walks down. `walk.options` are these.
    pub(crate) fn sample(&self, walk: &mut Walk<'_>, x: Tensor) -> Result<Tensor> {
        if walk.steps() == 0 {
            return Ok(x);
        }
        (self.entry.sample)(walk, x)
    }
}

impl FromStr for Sampler {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::new(name, SamplerOptions::default())
    }
}

/// Whether KSampler leaves out the smallest sigma above zero for this sampler, which would divide by it.
pub fn discards_penultimate_sigma(sampler: &str) -> bool {
    matches!(sampler, "dpm_2" | "dpm_2_ancestral" | "uni_pc" | "uni_pc_bh2")
}
