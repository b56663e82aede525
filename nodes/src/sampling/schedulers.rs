//! Nodes that make a schedule.

use ebb_engine::node::{Context, Inputs, Node, NodeError, Outcome};
use ebb_engine::registry::{DuplicateClass, Registry};
use ebb_engine::schema::{Input, Schema};
use ebb_sampling::Scheduler;
use ebb_sampling::schedule::{self, FlowFamily, TimestepFamily};

use crate::values::{Model, Sigmas, sampling_error};

pub(super) fn register(registry: &mut Registry) -> Result<(), DuplicateClass> {
    registry.add(BasicScheduler)?;
    registry.add(KarrasScheduler)?;
    registry.add(ExponentialScheduler)?;
    registry.add(PolyexponentialScheduler)?;
    registry.add(LaplaceScheduler)?;
    registry.add(VPScheduler)?;
    registry.add(BetaSamplingScheduler)?;
    registry.add(SDTurboScheduler)?;
    registry.add(AlignYourStepsScheduler)?;
    registry.add(OptimalStepsScheduler)
}

fn sigmas(made: ebb_sampling::Result<Vec<f64>>) -> Result<Outcome, NodeError> {
    Ok(Outcome::payload(Sigmas(made.map_err(sampling_error)?)))
}

/// Any scheduler of KSampler's.
struct BasicScheduler;

impl Node for BasicScheduler {
    fn schema(&self) -> Schema {
        Schema::new("BasicScheduler")
            .category("sampling/custom_sampling/schedulers")
            .module("comfy_extras.nodes_custom_sampler")
            .input(Input::wire("model", "MODEL"))
            .input(Input::combo(
                "scheduler",
                [
                    "simple",
                    "sgm_uniform",
                    "karras",
                    "exponential",
                    "ddim_uniform",
                    "beta",
                    "normal",
                    "linear_quadratic",
                    "kl_optimal",
                ],
            ))
            .input(Input::int("steps", 20).range(1, 10000))
            .input(Input::float("denoise", 1.0).between(0.0, 1.0).option("step", 0.01))
            .output("SIGMAS")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let model = inputs.payload::<Model>("model")?;
        let scheduler: Scheduler = inputs.str("scheduler")?.parse().map_err(sampling_error)?;
        sigmas(scheduler.basic_sigmas(&model.sampling, inputs.size("steps")?, inputs.float("denoise")?))
    }
}

/// Karras et al. 2022.
struct KarrasScheduler;

impl Node for KarrasScheduler {
    fn schema(&self) -> Schema {
        Schema::new("KarrasScheduler")
            .category("sampling/custom_sampling/schedulers")
            .module("comfy_extras.nodes_custom_sampler")
            .input(Input::int("steps", 20).range(1, 10000))
            .input(
                Input::float("sigma_max", 14.614642)
                    .between(0.0, 5000.0)
                    .option("step", 0.01)
                    .option("round", false),
            )
            .input(
                Input::float("sigma_min", 0.0291675)
                    .between(0.0, 5000.0)
                    .option("step", 0.01)
                    .option("round", false),
            )
            .input(Input::float("rho", 7.0).between(0.0, 100.0).option("step", 0.01).option("round", false))
            .output("SIGMAS")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let (low, high) = (inputs.float("sigma_min")?, inputs.float("sigma_max")?);
        sigmas(schedule::karras(inputs.size("steps")?, low, high, inputs.float("rho")?))
    }
}

/// Even in ln σ.
struct ExponentialScheduler;

impl Node for ExponentialScheduler {
    fn schema(&self) -> Schema {
        Schema::new("ExponentialScheduler")
            .category("sampling/custom_sampling/schedulers")
            .module("comfy_extras.nodes_custom_sampler")
            .input(Input::int("steps", 20).range(1, 10000))
            .input(
                Input::float("sigma_max", 14.614642)
                    .between(0.0, 5000.0)
                    .option("step", 0.01)
                    .option("round", false),
            )
            .input(
                Input::float("sigma_min", 0.0291675)
                    .between(0.0, 5000.0)
                    .option("step", 0.01)
                    .option("round", false),
            )
            .output("SIGMAS")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let (low, high) = (inputs.float("sigma_min")?, inputs.float("sigma_max")?);
        sigmas(schedule::exponential(inputs.size("steps")?, low, high))
    }
}

/// A polynomial in ln σ.
struct PolyexponentialScheduler;

impl Node for PolyexponentialScheduler {
    fn schema(&self) -> Schema {
        Schema::new("PolyexponentialScheduler")
            .category("sampling/custom_sampling/schedulers")
            .module("comfy_extras.nodes_custom_sampler")
            .input(Input::int("steps", 20).range(1, 10000))
            .input(
                Input::float("sigma_max", 14.614642)
                    .between(0.0, 5000.0)
                    .option("step", 0.01)
                    .option("round", false),
            )
            .input(
                Input::float("sigma_min", 0.0291675)
                    .between(0.0, 5000.0)
                    .option("step", 0.01)
                    .option("round", false),
            )
            .input(Input::float("rho", 1.0).between(0.0, 100.0).option("step", 0.01).option("round", false))
            .output("SIGMAS")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let (low, high) = (inputs.float("sigma_min")?, inputs.float("sigma_max")?);
        sigmas(schedule::polyexponential(inputs.size("steps")?, low, high, inputs.float("rho")?))
    }
}

/// Quantiles of a Laplace distribution.
struct LaplaceScheduler;

impl Node for LaplaceScheduler {
    fn schema(&self) -> Schema {
        Schema::new("LaplaceScheduler")
            .category("sampling/custom_sampling/schedulers")
            .module("comfy_extras.nodes_custom_sampler")
            .input(Input::int("steps", 20).range(1, 10000))
            .input(
                Input::float("sigma_max", 14.614642)
                    .between(0.0, 5000.0)
                    .option("step", 0.01)
                    .option("round", false),
            )
            .input(
                Input::float("sigma_min", 0.0291675)
                    .between(0.0, 5000.0)
                    .option("step", 0.01)
                    .option("round", false),
            )
            .input(Input::float("mu", 0.0).between(-10.0, 10.0).option("step", 0.1).option("round", false))
            .input(Input::float("beta", 0.5).between(0.0, 10.0).option("step", 0.1).option("round", false))
            .output("SIGMAS")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let (low, high) = (inputs.float("sigma_min")?, inputs.float("sigma_max")?);
        let (mu, beta) = (inputs.float("mu")?, inputs.float("beta")?);
        sigmas(schedule::laplace(inputs.size("steps")?, low, high, mu, beta))
    }
}

/// The variance-preserving schedule.
struct VPScheduler;

impl Node for VPScheduler {
    fn schema(&self) -> Schema {
        Schema::new("VPScheduler")
            .category("sampling/custom_sampling/schedulers")
            .module("comfy_extras.nodes_custom_sampler")
            .input(Input::int("steps", 20).range(1, 10000))
            .input(
                Input::float("beta_d", 19.9).between(0.0, 5000.0).option("step", 0.01).option("round", false),
            )
            .input(
                Input::float("beta_min", 0.1)
                    .between(0.0, 5000.0)
                    .option("step", 0.01)
                    .option("round", false),
            )
            .input(
                Input::float("eps_s", 0.001).between(0.0, 1.0).option("step", 0.0001).option("round", false),
            )
            .output("SIGMAS")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let (beta_d, beta_min) = (inputs.float("beta_d")?, inputs.float("beta_min")?);
        sigmas(schedule::vp(inputs.size("steps")?, beta_d, beta_min, inputs.float("eps_s")?))
    }
}

/// Quantiles of a beta distribution.
struct BetaSamplingScheduler;

impl Node for BetaSamplingScheduler {
    fn schema(&self) -> Schema {
        Schema::new("BetaSamplingScheduler")
            .category("sampling/custom_sampling/schedulers")
            .module("comfy_extras.nodes_custom_sampler")
            .input(Input::wire("model", "MODEL"))
            .input(Input::int("steps", 20).range(1, 10000))
            .input(Input::float("alpha", 0.6).between(0.0, 50.0).option("step", 0.01).option("round", false))
            .input(Input::float("beta", 0.6).between(0.0, 50.0).option("step", 0.01).option("round", false))
            .output("SIGMAS")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let model = inputs.payload::<Model>("model")?;
        let (alpha, beta) = (inputs.float("alpha")?, inputs.float("beta")?);
        sigmas(schedule::beta(&model.sampling, inputs.size("steps")?, alpha, beta))
    }
}

/// The steps that SD Turbo was distilled for.
struct SDTurboScheduler;

impl Node for SDTurboScheduler {
    fn schema(&self) -> Schema {
        Schema::new("SDTurboScheduler")
            .category("sampling/custom_sampling/schedulers")
            .module("comfy_extras.nodes_custom_sampler")
            .input(Input::wire("model", "MODEL"))
            .input(Input::int("steps", 1).range(1, 10))
            .input(Input::float("denoise", 1.0).between(0.0, 1.0).option("step", 0.01))
            .output("SIGMAS")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let model = inputs.payload::<Model>("model")?;
        sigmas(schedule::sd_turbo(&model.sampling, inputs.size("steps")?, inputs.float("denoise")?))
    }
}

/// Schedules that were optimised for a family.
struct AlignYourStepsScheduler;

impl Node for AlignYourStepsScheduler {
    fn schema(&self) -> Schema {
        Schema::new("AlignYourStepsScheduler")
            .category("sampling/custom_sampling/schedulers")
            .module("comfy_extras.nodes_align_your_steps")
            .input(Input::combo("model_type", ["SD1", "SDXL", "SVD"]).named_combo())
            .input(Input::int("steps", 10).range(1, 10000))
            .input(Input::float("denoise", 1.0).between(0.0, 1.0).option("step", 0.01))
            .output("SIGMAS")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let family = match inputs.str("model_type")? {
            "SD1" => TimestepFamily::Sd1,
            "SDXL" => TimestepFamily::Sdxl,
            _ => TimestepFamily::Svd,
        };
        sigmas(schedule::align_your_steps(family, inputs.size("steps")?, inputs.float("denoise")?))
    }
}

/// Noise levels that were optimised for a family of flows.
struct OptimalStepsScheduler;

impl Node for OptimalStepsScheduler {
    fn schema(&self) -> Schema {
        Schema::new("OptimalStepsScheduler")
            .category("sampling/custom_sampling/schedulers")
            .module("comfy_extras.nodes_optimalsteps")
            .input(Input::combo("model_type", ["FLUX", "Wan", "Chroma"]).named_combo())
            .input(Input::int("steps", 20).range(3, 1000))
            .input(Input::float("denoise", 1.0).between(0.0, 1.0).option("step", 0.01))
            .output("SIGMAS")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let family = match inputs.str("model_type")? {
            "FLUX" => FlowFamily::Flux,
            "Wan" => FlowFamily::Wan,
            _ => FlowFamily::Chroma,
        };
        sigmas(schedule::optimal_steps(family, inputs.size("steps")?, inputs.float("denoise")?))
    }
}
