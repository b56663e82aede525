//! Nodes that choose a sampler with its options.

use ebb_engine::node::{Context, Inputs, Node, NodeError, Outcome};
use ebb_engine::registry::{DuplicateClass, Registry};
use ebb_engine::schema::{Input, InputType, Schema};
use ebb_sampling::samplers::{Adams, Adaptive, ErNoise, SecondOrder};
use ebb_sampling::{Sampler, SamplerOptions};

use crate::values::{ChosenSampler, Model, sampling_error};

pub(super) fn register(registry: &mut Registry) -> Result<(), DuplicateClass> {
    registry.add(SamplerEulerAncestral)?;
    registry.add(SamplerEulerAncestralCFGPP)?;
    registry.add(SamplerLMS)?;
    registry.add(SamplerDPMPP3MSDE)?;
    registry.add(SamplerDPMPP2MSDE)?;
    registry.add(SamplerDPMPPSDE)?;
    registry.add(SamplerDPMPP2SAncestral)?;
    registry.add(SamplerDPMAdaptative)?;
    registry.add(SamplerERSDE)?;
    registry.add(SamplerSASolver)?;
    registry.add(SamplerEulerCFGpp)?;
    Ok(())
}

fn chosen(name: &str, options: SamplerOptions) -> Result<Outcome, NodeError> {
    Ok(Outcome::payload(ChosenSampler(Sampler::new(name, options).map_err(sampling_error)?)))
}

/// The name of a sampler by where its noise is drawn.
fn on_device(inputs: &Inputs, cpu: &'static str, gpu: &'static str) -> Result<&'static str, NodeError> {
    Ok(if inputs.str("noise_device")? == "cpu" { cpu } else { gpu })
}

fn second_order(inputs: &Inputs) -> Result<SecondOrder, NodeError> {
    Ok(if inputs.str("solver_type")? == "heun" { SecondOrder::Heun } else { SecondOrder::Midpoint })
}

fn adaptive(inputs: &Inputs) -> Result<Adaptive, NodeError> {
    Ok(Adaptive {
        rtol: inputs.float("rtol")?,
        atol: inputs.float("atol")?,
        h_init: inputs.float("h_init")?,
        pcoeff: inputs.float("pcoeff")?,
        icoeff: inputs.float("icoeff")?,
        dcoeff: inputs.float("dcoeff")?,
        accept_safety: inputs.float("accept_safety")?,
    })
}

fn extended_reverse(inputs: &Inputs) -> Result<SamplerOptions, NodeError> {
    let (solver, eta) = (inputs.str("solver_type")?, inputs.float("eta")?);
    let is_ode = solver == "ODE" || (solver == "Reverse-time SDE" && eta == 0.0);
    let (eta, s_noise) = if is_ode { (0.0, 0.0) } else { (eta, inputs.float("s_noise")?) };
    let er_noise = if solver == "ER-SDE" { ErNoise::ErSde } else { ErNoise::ReverseTime { eta } };
    let max_stage = Some(inputs.size("max_stage")?);
    Ok(SamplerOptions { s_noise: Some(s_noise), er_noise, max_stage, ..SamplerOptions::default() })
}

fn stochastic_adams(inputs: &Inputs) -> Result<SamplerOptions, NodeError> {
    let sampling = &inputs.payload::<Model>("model")?.sampling;
    let at = |name| Ok::<_, NodeError>(sampling.percent_to_sigma(inputs.float(name)?));
    let adams = Adams {
        noisy_between: Some((at("sde_start_percent")?, at("sde_end_percent")?)),
        predictor_order: inputs.size("predictor_order")?,
        corrector_order: inputs.size("corrector_order")?,
        use_pece: inputs.bool("use_pece")?,
        simple_order_2: inputs.bool("simple_order_2")?,
    };
    let (eta, s_noise) = (Some(inputs.float("eta")?), Some(inputs.float("s_noise")?));
    Ok(SamplerOptions { eta, s_noise, adams, ..SamplerOptions::default() })
}

/// Euler with new noise at each step.
struct SamplerEulerAncestral;

impl Node for SamplerEulerAncestral {
    fn schema(&self) -> Schema {
        Schema::new("SamplerEulerAncestral")
            .category("sampling/custom_sampling/samplers")
            .module("comfy_extras.nodes_custom_sampler")
            .input(Input::float("eta", 1.0).between(0.0, 100.0).option("step", 0.01).option("round", false))
            .input(
                Input::float("s_noise", 1.0).between(0.0, 100.0).option("step", 0.01).option("round", false),
            )
            .output("SAMPLER")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let options = SamplerOptions {
            eta: Some(inputs.float("eta")?),
            s_noise: Some(inputs.float("s_noise")?),
            ..SamplerOptions::default()
        };
        chosen("euler_ancestral", options)
    }
}

/// The same for guidance that stays near the data (CFG++).
struct SamplerEulerAncestralCFGPP;

impl Node for SamplerEulerAncestralCFGPP {
    fn schema(&self) -> Schema {
        Schema::new("SamplerEulerAncestralCFGPP")
            .display("SamplerEulerAncestralCFG++")
            .category("sampling/custom_sampling/samplers")
            .module("comfy_extras.nodes_custom_sampler")
            .input(Input::float("eta", 1.0).between(0.0, 1.0).option("step", 0.01).option("round", false))
            .input(
                Input::float("s_noise", 1.0).between(0.0, 10.0).option("step", 0.01).option("round", false),
            )
            .output("SAMPLER")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let options = SamplerOptions {
            eta: Some(inputs.float("eta")?),
            s_noise: Some(inputs.float("s_noise")?),
            ..SamplerOptions::default()
        };
        chosen("euler_ancestral_cfg_pp", options)
    }
}

/// Linear multistep.
struct SamplerLMS;

impl Node for SamplerLMS {
    fn schema(&self) -> Schema {
        Schema::new("SamplerLMS")
            .category("sampling/custom_sampling/samplers")
            .module("comfy_extras.nodes_custom_sampler")
            .input(Input::int("order", 4).range(1, 100))
            .output("SAMPLER")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let options = SamplerOptions { order: Some(inputs.size("order")?), ..SamplerOptions::default() };
        chosen("lms", options)
    }
}

/// DPM-Solver++(3M) SDE.
struct SamplerDPMPP3MSDE;

impl Node for SamplerDPMPP3MSDE {
    fn schema(&self) -> Schema {
        Schema::new("SamplerDPMPP_3M_SDE")
            .category("sampling/custom_sampling/samplers")
            .module("comfy_extras.nodes_custom_sampler")
            .input(Input::float("eta", 1.0).between(0.0, 100.0).option("step", 0.01).option("round", false))
            .input(
                Input::float("s_noise", 1.0).between(0.0, 100.0).option("step", 0.01).option("round", false),
            )
            .input(Input::combo("noise_device", ["gpu", "cpu"]))
            .output("SAMPLER")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let options = SamplerOptions {
            eta: Some(inputs.float("eta")?),
            s_noise: Some(inputs.float("s_noise")?),
            ..SamplerOptions::default()
        };
        chosen(on_device(inputs, "dpmpp_3m_sde", "dpmpp_3m_sde_gpu")?, options)
    }
}

/// DPM-Solver++(2M) SDE.
struct SamplerDPMPP2MSDE;

impl Node for SamplerDPMPP2MSDE {
    fn schema(&self) -> Schema {
        Schema::new("SamplerDPMPP_2M_SDE")
            .category("sampling/custom_sampling/samplers")
            .module("comfy_extras.nodes_custom_sampler")
            .input(Input::combo("solver_type", ["midpoint", "heun"]))
            .input(Input::float("eta", 1.0).between(0.0, 100.0).option("step", 0.01).option("round", false))
            .input(
                Input::float("s_noise", 1.0).between(0.0, 100.0).option("step", 0.01).option("round", false),
            )
            .input(Input::combo("noise_device", ["gpu", "cpu"]))
            .output("SAMPLER")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let options = SamplerOptions {
            eta: Some(inputs.float("eta")?),
            s_noise: Some(inputs.float("s_noise")?),
            second_order: Some(second_order(inputs)?),
            ..SamplerOptions::default()
        };
        chosen(on_device(inputs, "dpmpp_2m_sde", "dpmpp_2m_sde_gpu")?, options)
    }
}

/// DPM-Solver++ SDE.
struct SamplerDPMPPSDE;

impl Node for SamplerDPMPPSDE {
    fn schema(&self) -> Schema {
        Schema::new("SamplerDPMPP_SDE")
            .category("sampling/custom_sampling/samplers")
            .module("comfy_extras.nodes_custom_sampler")
            .input(Input::float("eta", 1.0).between(0.0, 100.0).option("step", 0.01).option("round", false))
            .input(
                Input::float("s_noise", 1.0).between(0.0, 100.0).option("step", 0.01).option("round", false),
            )
            .input(Input::float("r", 0.5).between(0.0, 100.0).option("step", 0.01).option("round", false))
            .input(Input::combo("noise_device", ["gpu", "cpu"]))
            .output("SAMPLER")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let options = SamplerOptions {
            eta: Some(inputs.float("eta")?),
            s_noise: Some(inputs.float("s_noise")?),
            r: Some(inputs.float("r")?),
            ..SamplerOptions::default()
        };
        chosen(on_device(inputs, "dpmpp_sde", "dpmpp_sde_gpu")?, options)
    }
}

/// DPM-Solver++(2S) with new noise.
struct SamplerDPMPP2SAncestral;

impl Node for SamplerDPMPP2SAncestral {
    fn schema(&self) -> Schema {
        Schema::new("SamplerDPMPP_2S_Ancestral")
            .category("sampling/custom_sampling/samplers")
            .module("comfy_extras.nodes_custom_sampler")
            .input(Input::float("eta", 1.0).between(0.0, 100.0).option("step", 0.01).option("round", false))
            .input(
                Input::float("s_noise", 1.0).between(0.0, 100.0).option("step", 0.01).option("round", false),
            )
            .output("SAMPLER")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let options = SamplerOptions {
            eta: Some(inputs.float("eta")?),
            s_noise: Some(inputs.float("s_noise")?),
            ..SamplerOptions::default()
        };
        chosen("dpmpp_2s_ancestral", options)
    }
}

/// DPM-Solver with steps of its own choice.
struct SamplerDPMAdaptative;

impl Node for SamplerDPMAdaptative {
    fn schema(&self) -> Schema {
        Schema::new("SamplerDPMAdaptative")
            .category("sampling/custom_sampling/samplers")
            .module("comfy_extras.nodes_custom_sampler")
            .input(Input::int("order", 3).range(2, 3))
            .input(Input::float("rtol", 0.05).between(0.0, 100.0).option("step", 0.01).option("round", false))
            .input(
                Input::float("atol", 0.0078).between(0.0, 100.0).option("step", 0.01).option("round", false),
            )
            .input(
                Input::float("h_init", 0.05).between(0.0, 100.0).option("step", 0.01).option("round", false),
            )
            .input(
                Input::float("pcoeff", 0.0).between(0.0, 100.0).option("step", 0.01).option("round", false),
            )
            .input(
                Input::float("icoeff", 1.0).between(0.0, 100.0).option("step", 0.01).option("round", false),
            )
            .input(
                Input::float("dcoeff", 0.0).between(0.0, 100.0).option("step", 0.01).option("round", false),
            )
            .input(
                Input::float("accept_safety", 0.81)
                    .between(0.0, 100.0)
                    .option("step", 0.01)
                    .option("round", false),
            )
            .input(Input::float("eta", 0.0).between(0.0, 100.0).option("step", 0.01).option("round", false))
            .input(
                Input::float("s_noise", 1.0).between(0.0, 100.0).option("step", 0.01).option("round", false),
            )
            .output("SAMPLER")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let options = SamplerOptions {
            order: Some(inputs.size("order")?),
            eta: Some(inputs.float("eta")?),
            s_noise: Some(inputs.float("s_noise")?),
            adaptive: adaptive(inputs)?,
            ..SamplerOptions::default()
        };
        chosen("dpm_adaptive", options)
    }
}

/// Extended reverse-time SDE.
struct SamplerERSDE;

impl Node for SamplerERSDE {
    fn schema(&self) -> Schema {
        Schema::new("SamplerER_SDE")
            .category("sampling/custom_sampling/samplers")
            .module("comfy_extras.nodes_custom_sampler")
            .input(Input::combo("solver_type", ["ER-SDE", "Reverse-time SDE", "ODE"]).named_combo())
            .input(Input::int("max_stage", 3).range(1, 3))
            .input(Input::float("eta", 1.0).between(0.0, 100.0).option("step", 0.01).option("round", false))
            .input(
                Input::float("s_noise", 1.0).between(0.0, 100.0).option("step", 0.01).option("round", false),
            )
            .output("SAMPLER")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        chosen("er_sde", extended_reverse(inputs)?)
    }
}

/// Stochastic Adams.
struct SamplerSASolver;

impl Node for SamplerSASolver {
    fn schema(&self) -> Schema {
        Schema::new("SamplerSASolver")
            .category("sampling/custom_sampling/samplers")
            .module("comfy_extras.nodes_custom_sampler")
            .input(Input::wire("model", "MODEL"))
            .input(Input::float("eta", 1.0).between(0.0, 10.0).option("step", 0.01).option("round", false))
            .input(Input::float("sde_start_percent", 0.2).between(0.0, 1.0).option("step", 0.001))
            .input(Input::float("sde_end_percent", 0.8).between(0.0, 1.0).option("step", 0.001))
            .input(
                Input::float("s_noise", 1.0).between(0.0, 100.0).option("step", 0.01).option("round", false),
            )
            .input(Input::int("predictor_order", 3).range(1, 6))
            .input(Input::int("corrector_order", 4).range(0, 6))
            .input(Input::new("use_pece", InputType::Boolean))
            .input(Input::new("simple_order_2", InputType::Boolean))
            .output("SAMPLER")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        chosen("sa_solver", stochastic_adams(inputs)?)
    }
}

/// Euler for guidance that stays near the data (CFG++).
struct SamplerEulerCFGpp;

impl Node for SamplerEulerCFGpp {
    fn schema(&self) -> Schema {
        Schema::new("SamplerEulerCFGpp")
            .display("SamplerEulerCFG++")
            .category("_for_testing")
            .module("comfy_extras.nodes_advanced_samplers")
            .input(Input::combo("version", ["regular", "alternative"]).named_combo())
            .output("SAMPLER")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        chosen(
            match inputs.str("version")? {
                "alternative" => "euler_cfg_pp_alternative",
                _ => "euler_cfg_pp",
            },
            SamplerOptions::default(),
        )
    }
}
