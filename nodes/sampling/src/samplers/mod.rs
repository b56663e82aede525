//! Samplers: ways to walk down a schedule, by name.
//!
//! A sampler is a function of a `Walk` (whom to ask, which sigmas, which options) and the noisy latent. All
//! arithmetic on sigmas is in f64, on latents in their own type.

mod ancestral;
mod ddpm;
mod deis;
mod dpm2;
mod dpm_solver;
mod dpmpp_2m;
mod dpmpp_2s;
mod dpmpp_sde;
mod er_sde;
mod euler;
mod gradient_estimation;
mod heun;
mod ipndm;
mod linear;
mod lms;
mod options;
mod res_multistep;
mod sa_solver;
mod seeds;
mod uni_pc;
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
    entry("heun", heun::heun),
    entry("heunpp2", heun::heunpp2),
    entry("dpm_2", dpm2::dpm_2),
    entry("dpm_2_ancestral", dpm2::dpm_2_ancestral),
    entry("lms", lms::lms),
    entry("dpm_fast", dpm_solver::dpm_fast),
    entry("dpm_adaptive", dpm_solver::dpm_adaptive),
    entry("dpmpp_2s_ancestral", dpmpp_2s::dpmpp_2s_ancestral),
    entry("dpmpp_2s_ancestral_cfg_pp", dpmpp_2s::dpmpp_2s_ancestral_cfg_pp),
    entry("dpmpp_sde", dpmpp_sde::dpmpp_sde),
    entry("dpmpp_sde_gpu", dpmpp_sde::dpmpp_sde),
    entry("dpmpp_2m", dpmpp_2m::dpmpp_2m),
    entry("dpmpp_2m_cfg_pp", dpmpp_2m::dpmpp_2m_cfg_pp),
    entry("dpmpp_2m_sde", dpmpp_sde::dpmpp_2m_sde),
    entry("dpmpp_2m_sde_gpu", dpmpp_sde::dpmpp_2m_sde),
    entry("dpmpp_2m_sde_heun", dpmpp_sde::dpmpp_2m_sde_heun),
    entry("dpmpp_2m_sde_heun_gpu", dpmpp_sde::dpmpp_2m_sde_heun),
    entry("dpmpp_3m_sde", dpmpp_sde::dpmpp_3m_sde),
    entry("dpmpp_3m_sde_gpu", dpmpp_sde::dpmpp_3m_sde),
    entry("ddpm", ddpm::ddpm),
    entry("lcm", ddpm::lcm),
    entry("ipndm", ipndm::ipndm),
    entry("ipndm_v", ipndm::ipndm_v),
    entry("deis", deis::deis),
    entry("res_multistep", res_multistep::res_multistep),
    entry("res_multistep_cfg_pp", res_multistep::res_multistep_cfg_pp),
    entry("res_multistep_ancestral", res_multistep::res_multistep_ancestral),
    entry("res_multistep_ancestral_cfg_pp", res_multistep::res_multistep_ancestral_cfg_pp),
    entry("gradient_estimation", gradient_estimation::gradient_estimation),
    entry("gradient_estimation_cfg_pp", gradient_estimation::gradient_estimation_cfg_pp),
    entry("er_sde", er_sde::er_sde),
    entry("seeds_2", seeds::seeds_2),
    entry("seeds_3", seeds::seeds_3),
    entry("sa_solver", sa_solver::sa_solver),
    entry("sa_solver_pece", sa_solver::sa_solver_pece),
    Entry { fresh_inpaint_noise: true, ..entry("ddim", euler::euler) },
    entry("uni_pc", uni_pc::uni_pc),
    entry("uni_pc_bh2", uni_pc::uni_pc_bh2),
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
