//! Samplers against exact solutions: for normally distributed data the ODE and the distribution that the
//! samplers approximate are known. Covers options that the reference numbers do not.

mod gaussian;

use candle_core::{Device, Tensor};
use ebb_sampling::rng::Generator;
use ebb_sampling::samplers::{Adams, Adaptive, ErNoise, SamplerOptions, SecondOrder};
use ebb_sampling::schedule::karras;
use ebb_sampling::{Result, Sampler, samplers};
use gaussian::{DATA, deviation, walk};

fn schedule(flow: bool, steps: usize) -> Vec<f64> {
    if flow {
        (0..=steps).map(|i| 1.0 - i as f64 / steps as f64).collect()
    } else {
        karras(steps, 0.01, 10.0, 7.0).expect("a schedule of these steps")
    }
}

fn noise(count: usize) -> Tensor {
    Generator::new(1).randn((1, 4, 8, count / 32), &Device::Cpu).expect("noise")
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().and_then(|flat| flat.to_vec1()).expect("values")
}

/// The largest error of a walk, against the exact solution of the ODE, in units of the data's deviation.
fn ode_error(sampler: &Sampler, flow: bool, steps: usize) -> f64 {
    let sigmas = schedule(flow, steps);
    let noise = noise(256);
    let found = walk(sampler, flow, &sigmas, &noise, &()).expect("a latent");
    // A flow starts from noise alone; a deviation model from the variance of noise and unit data.
    let start = if flow { 1.0 } else { (1.0f64 + sigmas[0] * sigmas[0]).sqrt() };
    let factor = start * DATA / deviation(flow, sigmas[0]);
    let pairs = values(&found).into_iter().zip(values(&noise));
    pairs
        .map(|(found, noise)| (f64::from(found) - f64::from(noise) * factor).abs() / DATA)
        .fold(0.0, f64::max)
}

fn with(name: &str, options: SamplerOptions) -> Sampler {
    Sampler::new(name, options).expect("a sampler of this name")
}

/// Every sampler that solves the ODE, by itself or without noise.
fn deterministic() -> Vec<Sampler> {
    let quiet = SamplerOptions { eta: Some(0.0), ..Default::default() };
    let adams = |adams| SamplerOptions { eta: Some(0.0), adams, ..Default::default() };
    let simple = Adams { predictor_order: 2, corrector_order: 2, simple_order_2: true, ..Adams::default() };
    let mut all: Vec<Sampler> = [
        "euler",
        "euler_cfg_pp",
        "heun",
        "heunpp2",
        "dpm_2",
        "lms",
        "dpmpp_2m",
        "dpmpp_2m_cfg_pp",
        "ipndm",
        "ipndm_v",
        "deis",
        "res_multistep",
        "res_multistep_cfg_pp",
        "gradient_estimation",
        "gradient_estimation_cfg_pp",
        "ddim",
        "uni_pc",
        "uni_pc_bh2",
    ]
    .iter()
    .map(|name| with(name, SamplerOptions::default()))
    .collect();
    all.extend(
        [
            "euler_ancestral",
            "euler_ancestral_cfg_pp",
            "dpm_2_ancestral",
            "dpmpp_2s_ancestral",
            "dpmpp_sde",
            "dpmpp_2m_sde",
            "dpmpp_2m_sde_heun",
            "dpmpp_3m_sde",
            "res_multistep_ancestral",
            "res_multistep_ancestral_cfg_pp",
            "seeds_2",
            "seeds_3",
            "sa_solver",
            "sa_solver_pece",
        ]
        .iter()
        .map(|name| with(name, quiet.clone())),
    );
    all.extend([
        with("lms", SamplerOptions { order: Some(1), ..Default::default() }),
        with("dpmpp_sde", SamplerOptions { r: Some(0.8), ..quiet.clone() }),
        with("dpmpp_2m_sde", SamplerOptions { second_order: Some(SecondOrder::Heun), ..quiet.clone() }),
        with("sa_solver", adams(simple)),
        with("sa_solver", adams(Adams { use_pece: true, ..simple })),
        with("sa_solver", adams(Adams { corrector_order: 0, ..Adams::default() })),
        with("sa_solver", adams(Adams { predictor_order: 1, corrector_order: 1, ..Adams::default() })),
    ]);
    for max_stage in 1..=3 {
        let er_noise = ErNoise::ReverseTime { eta: 0.0 };
        all.push(with(
            "er_sde",
            SamplerOptions { er_noise, max_stage: Some(max_stage), ..Default::default() },
        ));
    }
    all
}

#[test]
fn solvers_arrive_where_the_ode_does() {
    for sampler in deterministic() {
        for flow in [false, true] {
            // Above their first order, or as good as the schedule's last step allows.
            let (rough, fine) = (ode_error(&sampler, flow, 25), ode_error(&sampler, flow, 200));
            let name = format!("{} {:?} flow={flow}", sampler.name(), sampler.options);
            assert!(fine < 0.06, "{name}: {fine}");
            assert!(fine < 0.7 * rough || fine < 0.02, "{name}: {rough} then {fine}");
        }
    }
}

#[test]
fn adaptive_steps_keep_to_their_tolerance() {
    for order in [2, 3] {
        let at = |rtol| {
            let adaptive = Adaptive { rtol, atol: rtol / 10.0, ..Adaptive::default() };
            ode_error(
                &with("dpm_adaptive", SamplerOptions { order: Some(order), adaptive, ..Default::default() }),
                false,
                20,
            )
        };
        let (loose, tight) = (at(0.05), at(0.001));
        // The walk ends at the lowest sigma above zero, whose noise stays.
        assert!(tight < 0.01 && tight <= loose, "order {order}: {loose} then {tight}");
    }
}

#[test]
fn samplers_with_noise_keep_the_variance_of_the_data() {
    let noise = noise(4096);
    for name in [
        "euler_ancestral",
        "euler_ancestral_cfg_pp",
        "dpm_2_ancestral",
        "dpmpp_2s_ancestral",
        "dpmpp_sde",
        "dpmpp_2m_sde",
        "dpmpp_2m_sde_heun",
        "dpmpp_3m_sde",
        "res_multistep_ancestral",
        "er_sde",
        "seeds_2",
        "seeds_3",
        "sa_solver",
        "sa_solver_pece",
    ] {
        for flow in [false, true] {
            if flow && name == "res_multistep_ancestral" {
                // Adds noise as if signal did not shrink, in the reference too: not a flow's distribution.
                continue;
            }
            let found = walk(&with(name, SamplerOptions::default()), flow, &schedule(flow, 60), &noise, &());
            let found = values(&found.expect("a latent"));
            let mean = found.iter().sum::<f32>() / found.len() as f32;
            let variance = found.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / found.len() as f32;
            let share = f64::from(variance.sqrt()) / DATA;
            assert!((0.93..1.07).contains(&share), "{name} flow={flow}: deviation {share} of the data's");
        }
    }
}

#[test]
fn strange_schedules_end_in_a_latent_or_an_error() -> Result<()> {
    let schedules: &[&[f64]] = &[
        &[],
        &[10.0],
        &[10.0, 0.0],
        &[10.0, 5.0],
        &[5.0, 5.0, 5.0, 0.0],
        &[1.0, 2.0, 4.0, 8.0],
        &[0.0, 0.0],
        &[8.0, 0.0, 0.0],
        &[8.0, 4.0, 2.0, 1.0, 4.0, 2.0, 0.0],
        &[f64::NAN, 1.0, 0.0],
        &[f64::INFINITY, 1.0, 0.0],
    ];
    let noise = noise(256);
    for name in samplers::names() {
        for sigmas in schedules {
            for flow in [false, true] {
                let sampler: Sampler = name.parse()?;
                if let Ok(found) = walk(&sampler, flow, sigmas, &noise, &()) {
                    assert_eq!(found.dims(), noise.dims(), "{name} {sigmas:?}");
                }
            }
        }
    }
    Ok(())
}

#[test]
fn one_step_to_zero_is_one_look_at_the_clean_latent() -> Result<()> {
    let noise = noise(256);
    // dpm_fast and dpm_adaptive end at the lowest sigma above zero, which is where they start here.
    for name in samplers::names().filter(|name| !name.starts_with("dpm_fast") && *name != "dpm_adaptive") {
        let found = values(&walk(&name.parse()?, false, &[10.0, 0.0], &noise, &())?);
        let seen = DATA * DATA / (DATA * DATA + 100.0) * 101f64.sqrt();
        for (found, noise) in found.iter().zip(values(&noise)) {
            assert!((f64::from(*found) - f64::from(noise) * seen).abs() < 1e-4, "{name}");
        }
    }
    Ok(())
}
