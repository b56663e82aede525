//! How prompts become calls of the model: what shares a call, in which order, and who is heard where.

use std::cell::{Cell, RefCell};
use std::ops::ControlFlow;
use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use ebb_sampling::guidance::{Area, Conditioning, Guidance, Hooks, Mask, Model, ModelCall, Side};
use ebb_sampling::{
    Error, Job, LatentFormat, ModelSampling, Observer, Result, SampledModel, Sampler, Step, sample,
};

/// What a call of the model was given.
#[derive(Debug, PartialEq)]
struct Call {
    batch: usize,
    size: (usize, usize),
    tokens: usize,
    sides: Vec<Side>,
    control: bool,
}

/// Predicts the mean of the prompt as clean latent, and writes down its calls.
struct Recorder<'a> {
    calls: &'a RefCell<Vec<Call>>,
    largest_batch: usize,
}

impl Model for Recorder<'_> {
    fn predict(&mut self, call: &ModelCall<'_>) -> Result<Tensor> {
        let (batch, _, height, width) = call.x.dims4()?;
        let prompt = call.inputs["c_crossattn"].tensor().expect("a prompt");
        assert_eq!(prompt.dim(0)?, batch, "inputs of another batch than the latents");
        self.calls.borrow_mut().push(Call {
            batch,
            size: (height, width),
            tokens: prompt.dim(1)?,
            sides: call.sides.to_vec(),
            control: call.control.is_some(),
        });
        let clean = prompt.mean((1, 2))?.reshape(((), 1, 1, 1))?.broadcast_as(call.x.shape())?;
        Ok(((call.x_unscaled - clean)? / call.sigma)?)
    }

    fn largest_batch(&self, _: &[usize]) -> usize {
        self.largest_batch
    }
}

fn prompt(value: f32, tokens: usize) -> Conditioning {
    let tensor = Tensor::full(value, (1, tokens, 2), &Device::Cpu).expect("a prompt");
    Conditioning::prompt(tensor, None)
}

/// A latent of 2 × 4 × 16 × 16 after one step to zero, and the calls that made it.
fn run(
    guidance: &Guidance,
    sampler: &str,
    largest_batch: usize,
    hooks: &Hooks,
) -> Result<(Tensor, Vec<Call>)> {
    let calls = RefCell::new(Vec::new());
    let mut model = Recorder { calls: &calls, largest_batch };
    let sampled = SampledModel {
        model: &mut model,
        sampling: &ModelSampling::eps(),
        latent_format: &LatentFormat::scaled(1.0),
        hooks,
    };
    let latent = Tensor::zeros((2, 4, 16, 16), DType::F32, &Device::Cpu)?;
    let (sampler, noise): (Sampler, _) = (sampler.parse()?, latent.ones_like()?);
    let sigmas = [4.0, 0.0];
    let job = Job {
        guidance,
        sampler: &sampler,
        sigmas: &sigmas,
        noise: &noise,
        latent: &latent,
        denoise_mask: None,
        seed: 0,
    };
    let latent = sample(sampled, &job, &())?;
    Ok((latent, calls.into_inner()))
}

fn cfg(positive: Vec<Conditioning>, negative: Vec<Conditioning>, scale: f64) -> Guidance {
    Guidance::Cfg { positive, negative, scale }
}

/// The value of one cell in every channel and item, which must agree.
fn cell(latent: &Tensor, y: usize, x: usize) -> f32 {
    let values = latent.narrow(2, y, 1).and_then(|row| row.narrow(3, x, 1)?.flatten_all()?.to_vec1::<f32>());
    let values = values.expect("a cell");
    assert!(values.iter().all(|value| (value - values[0]).abs() < 1e-5), "{values:?}");
    values[0]
}

fn near(found: f32, expected: f32) {
    assert!((found - expected).abs() < 1e-4, "{found}, expected {expected}");
}

#[test]
fn both_sides_share_a_call_negative_first() -> Result<()> {
    let guidance = cfg(vec![prompt(1.0, 3)], vec![prompt(0.5, 3)], 3.0);
    let (latent, calls) = run(&guidance, "euler", usize::MAX, &Hooks::default())?;
    near(cell(&latent, 0, 0), 0.5 + 3.0 * 0.5);
    let sides = vec![Side::Negative, Side::Positive];
    assert_eq!(calls, [Call { batch: 4, size: (16, 16), tokens: 3, sides, control: false }]);
    Ok(())
}

#[test]
fn a_model_that_holds_one_entry_is_called_twice_with_the_same_result() -> Result<()> {
    let guidance = cfg(vec![prompt(1.0, 3)], vec![prompt(0.5, 3)], 3.0);
    let (together, _) = run(&guidance, "euler", usize::MAX, &Hooks::default())?;
    let (apart, calls) = run(&guidance, "euler", 1, &Hooks::default())?;
    assert_eq!(calls.len(), 2);
    near(cell(&apart, 3, 3), cell(&together, 3, 3));
    Ok(())
}

#[test]
fn prompts_of_different_lengths_share_a_call_if_repeating_pays() -> Result<()> {
    for (tokens, expected) in [(6, vec![6]), (4, vec![12]), (21, vec![3, 21])] {
        let guidance = cfg(vec![prompt(1.0, 3)], vec![prompt(0.5, tokens)], 2.0);
        let (latent, calls) = run(&guidance, "euler", usize::MAX, &Hooks::default())?;
        near(cell(&latent, 0, 0), 1.5);
        assert_eq!(calls.iter().map(|call| call.tokens).collect::<Vec<_>>(), expected);
    }
    Ok(())
}

#[test]
fn a_scale_of_one_leaves_the_negative_out_unless_someone_reads_it() -> Result<()> {
    let guidance = cfg(vec![prompt(1.0, 3)], vec![prompt(0.5, 3)], 1.0);
    let batch = |sampler, hooks: &Hooks| -> Result<usize> {
        Ok(run(&guidance, sampler, usize::MAX, hooks)?.1.iter().map(|call| call.batch).sum())
    };
    assert_eq!(batch("euler", &Hooks::default())?, 2);
    assert_eq!(batch("euler_cfg_pp", &Hooks::default())?, 4);
    assert_eq!(batch("euler", &Hooks { needs_negative: true, ..Hooks::default() })?, 4);
    Ok(())
}

#[test]
fn an_area_gets_an_opposite_of_its_size_and_fades_into_what_is_around() -> Result<()> {
    let area = Area::Cells { height: 8, width: 16, y: 8, x: 0 };
    let lower = Conditioning { area: Some(area), ..prompt(3.0, 3) };
    let guidance = cfg(vec![prompt(1.0, 3), lower], vec![prompt(0.0, 3)], 1.0);
    let (latent, calls) = run(&guidance, "euler_cfg_pp", usize::MAX, &Hooks::default())?;
    near(cell(&latent, 7, 5), 1.0);
    near(cell(&latent, 15, 5), 2.0); // the mean of both
    near(cell(&latent, 8, 5), (1.0 + 0.5 * 3.0) / 1.5); // half as loud at the seam
    assert_eq!(calls.iter().map(|call| call.size).collect::<Vec<_>>(), [(16, 16), (8, 16)]);
    assert!(calls.iter().all(|call| call.sides == [Side::Negative, Side::Positive]));
    Ok(())
}

#[test]
fn areas_in_shares_are_cut_to_the_latent() -> Result<()> {
    let area = Area::Share { height: 0.5, width: 2.0, y: 0.75, x: 0.5 };
    let corner = Conditioning { area: Some(area), ..prompt(3.0, 3) };
    let (_, calls) =
        run(&Guidance::Basic { positive: vec![corner] }, "euler", usize::MAX, &Hooks::default())?;
    assert_eq!(calls[0].size, (4, 8));
    let outside = Area::Cells { height: 4, width: 4, y: 16, x: 0 };
    let outside = Conditioning { area: Some(outside), ..prompt(3.0, 3) };
    let refused = run(&Guidance::Basic { positive: vec![outside] }, "euler", usize::MAX, &Hooks::default());
    assert!(matches!(refused, Err(Error::Option { option: "area", .. })));
    Ok(())
}

#[test]
fn masks_of_any_size_weigh_prompts_and_may_shrink_what_the_model_sees() -> Result<()> {
    // The right half, at another resolution.
    let columns: Vec<f32> = (0..32).map(|i| f32::from(u8::from(i % 32 >= 16))).collect();
    let weights = Tensor::from_vec(columns.repeat(32), (32, 32), &Device::Cpu)?;
    for area_is_its_bounds in [false, true] {
        let mask = Mask { weights: weights.clone(), strength: 0.5, area_is_its_bounds };
        let right = Conditioning { mask: Some(mask), ..prompt(4.0, 3) };
        let guidance = Guidance::Basic { positive: vec![prompt(1.0, 3), right] };
        let (latent, calls) = run(&guidance, "euler", usize::MAX, &Hooks::default())?;
        near(cell(&latent, 4, 2), 1.0);
        near(cell(&latent, 4, 12), (1.0 + 0.5 * 4.0) / 1.5);
        assert_eq!(calls.last().map(|call| call.size), Some((16, if area_is_its_bounds { 8 } else { 16 })));
    }
    Ok(())
}

#[test]
fn control_spreads_to_the_other_side_where_asked() -> Result<()> {
    let controlled = |spreads| Conditioning {
        control: Some(Arc::new("net")),
        control_applies_to_others: spreads,
        ..prompt(1.0, 3)
    };
    for (spreads, expected) in [(true, vec![true]), (false, vec![true, false])] {
        let guidance = cfg(vec![controlled(spreads)], vec![prompt(0.5, 3)], 2.0);
        let (_, calls) = run(&guidance, "euler", usize::MAX, &Hooks::default())?;
        assert_eq!(calls.iter().map(|call| call.control).collect::<Vec<_>>(), expected);
    }
    Ok(())
}

#[test]
fn three_prompts_are_weighed_side_by_side_or_nested() -> Result<()> {
    let dual = |nested| Guidance::Dual {
        positive: vec![prompt(3.0, 3)],
        middle: vec![prompt(2.0, 3)],
        negative: vec![prompt(1.0, 3)],
        scale_positive: 2.0,
        scale_middle: 4.0,
        nested,
    };
    let (flat, calls) = run(&dual(false), "euler", usize::MAX, &Hooks::default())?;
    near(cell(&flat, 0, 0), 1.0 + 4.0 * (2.0 - 1.0) + 2.0 * (3.0 - 2.0));
    assert_eq!(calls[0].sides, [Side::Positive, Side::Middle, Side::Negative]);
    let (nested, _) = run(&dual(true), "euler", usize::MAX, &Hooks::default())?;
    near(cell(&nested, 0, 0), 1.0 + 4.0 * (2.0 + 2.0 * (3.0 - 2.0) - 1.0));
    Ok(())
}

#[test]
fn hooks_run_in_their_order() -> Result<()> {
    let mut hooks = Hooks::default();
    hooks.pre_cfg.push(Arc::new(|args| {
        for (_, prediction) in args.predictions.iter_mut() {
            *prediction = (&*prediction + 1.0)?;
        }
        Ok(())
    }));
    hooks.cfg = Some(Arc::new(|args| Ok((args.positive + args.negative)?)));
    hooks.post_cfg.push(Arc::new(|args| Ok((&args.denoised * 2.0)?)));
    hooks.post_cfg.push(Arc::new(|args| {
        let again = (args.evaluate)(Side::Negative, args.x, None)?;
        Ok((&args.denoised + again)?)
    }));
    let guidance = cfg(vec![prompt(1.0, 3)], vec![prompt(0.5, 3)], 3.0);
    let (latent, _) = run(&guidance, "euler", usize::MAX, &hooks)?;
    near(cell(&latent, 0, 0), (2.0 + 1.5) * 2.0 + 0.5);
    Ok(())
}

/// Stops at a step, or before a call.
struct Stops {
    at_step: usize,
    before_call: bool,
    seen: Cell<usize>,
}

impl Observer for Stops {
    fn step(&self, step: &Step<'_>) -> ControlFlow<()> {
        assert_eq!(step.index, self.seen.get());
        self.seen.set(step.index + 1);
        if step.index == self.at_step { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn cancelled(&self) -> bool {
        self.before_call
    }
}

#[test]
fn every_sampler_stops_when_told() -> Result<()> {
    for name in ebb_sampling::samplers::names() {
        for before_call in [false, true] {
            let calls = RefCell::new(Vec::new());
            let mut model = Recorder { calls: &calls, largest_batch: usize::MAX };
            let sampled = SampledModel {
                model: &mut model,
                sampling: &ModelSampling::eps(),
                latent_format: &LatentFormat::SD1,
                hooks: &Hooks::default(),
            };
            let latent = Tensor::zeros((1, 4, 8, 8), DType::F32, &Device::Cpu)?;
            let (noise, sampler): (_, Sampler) = (latent.ones_like()?, name.parse()?);
            let job = Job {
                guidance: &Guidance::Basic { positive: vec![prompt(1.0, 3)] },
                sampler: &sampler,
                sigmas: &[8.0, 6.0, 4.0, 2.0, 1.0, 0.5, 0.0],
                noise: &noise,
                latent: &latent,
                denoise_mask: None,
                seed: 0,
            };
            let stops = Stops { at_step: 1, before_call, seen: Cell::new(0) };
            assert!(matches!(sample(sampled, &job, &stops), Err(Error::Cancelled)), "{name}");
            assert_eq!(calls.borrow().is_empty(), before_call, "{name}");
        }
    }
    Ok(())
}

#[test]
fn what_a_mask_keeps_comes_back_unchanged() -> Result<()> {
    let latent = Tensor::full(0.3f32, (1, 4, 8, 8), &Device::Cpu)?;
    let keep_left: Vec<f32> = (0..64).map(|i| f32::from(u8::from(i % 8 >= 4))).collect();
    let mask = Tensor::from_vec(keep_left, (8, 8), &Device::Cpu)?;
    for name in ebb_sampling::samplers::names().filter(|name| !matches!(*name, "dpm_fast" | "dpm_adaptive")) {
        let calls = RefCell::new(Vec::new());
        let sampled = SampledModel {
            model: &mut Recorder { calls: &calls, largest_batch: usize::MAX },
            sampling: &ModelSampling::eps(),
            latent_format: &LatentFormat::SD1,
            hooks: &Hooks::default(),
        };
        let (noise, sampler): (_, Sampler) = (latent.ones_like()?, name.parse()?);
        let job = Job {
            guidance: &Guidance::Basic { positive: vec![prompt(1.0, 3)] },
            sampler: &sampler,
            sigmas: &[8.0, 4.0, 2.0, 1.0, 0.5, 0.1, 0.0],
            noise: &noise,
            latent: &latent,
            denoise_mask: Some(&mask),
            seed: 0,
        };
        let found = sample(sampled, &job, &())?;
        let kept = found.narrow(3, 0, 4)?.flatten_all()?.to_vec1::<f32>()?;
        // uni_pc ends just above zero, so a thousandth of the noise stays.
        let bound = if name.starts_with("uni_pc") { 0.02 } else { 1e-4 };
        assert!(kept.iter().all(|value| (value - 0.3).abs() < bound), "{name}: {kept:?}");
    }
    Ok(())
}

/// The guided clean latent of one cell, where the sides see 1.0 and 0.5.
fn guided(scale: f64, hooks: &Hooks) -> Result<f32> {
    let guidance = cfg(vec![prompt(1.0, 3)], vec![prompt(0.5, 3)], scale);
    Ok(cell(&run(&guidance, "euler", usize::MAX, hooks)?.0, 0, 0))
}

#[test]
fn guidance_functions_do_nothing_where_there_is_nothing_to_do() -> Result<()> {
    use ebb_sampling::guidance::functions::{
        Patched, away_from_patched, cfg_norm, cfg_zero_star, rescale_cfg,
    };
    let plain = guided(3.0, &Hooks::default())?;
    // Every cell is the same, so guidance changes no deviation that rescaling could restore …
    near(guided(3.0, &Hooks { cfg: Some(rescale_cfg(0.0)), ..Hooks::default() })?, plain);
    // … a scale of 1 leaves nothing to correct …
    near(
        guided(1.0, &Hooks { post_cfg: vec![cfg_zero_star()], needs_negative: true, ..Hooks::default() })?,
        1.0,
    );
    // … and a weakened model that sees the same adds nothing.
    let patch: ebb_sampling::guidance::Opaque = Arc::new(());
    let settings = Patched { patch, scale: 2.0, start_sigma: 1e9, end_sigma: 0.0, rescaling: 0.0 };
    near(guided(3.0, &Hooks { post_cfg: vec![away_from_patched(settings)], ..Hooks::default() })?, plain);
    // The norm of the guided latent is cut to the positive side's.
    near(guided(3.0, &Hooks { post_cfg: vec![cfg_norm(0.5)], ..Hooks::default() })?, 0.5);
    Ok(())
}

#[test]
fn rescaling_restores_the_deviation_of_the_positive_side() -> Result<()> {
    use ebb_sampling::guidance::{CfgArgs, functions::rescale_cfg};
    let noise = |seed| ebb_sampling::rng::Generator::new(seed).randn((2, 4, 8, 8), &Device::Cpu);
    let (x, positive, negative) = (noise(1)?, noise(2)?, noise(3)?);
    let sampling = ModelSampling::v(false);
    let (sigma, scale) = (2.0, 7.0);
    let args = CfgArgs { positive: &positive, negative: &negative, x: &x, sigma, scale, sampling: &sampling };
    // Velocities: (x/(σ²+1) − x₀)·√(σ²+1)/σ.
    let velocity = |clean: &Tensor| ((&x / 5.0)? - clean)? * (5f64.sqrt() / 2.0);
    let deviation = |tensor: &Tensor| -> Result<f32> {
        let values = tensor.get(0)?.flatten_all()?.to_vec1::<f32>()?;
        let mean = values.iter().sum::<f32>() / values.len() as f32;
        Ok((values.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / (values.len() - 1) as f32).sqrt())
    };
    let rescaled = deviation(&velocity(&rescale_cfg(1.0)(&args)?)?)?;
    near(rescaled, deviation(&velocity(&positive)?)?);
    assert!(deviation(&velocity(&rescale_cfg(0.0)(&args)?)?)? > 2.0 * rescaled);
    Ok(())
}

#[test]
fn only_the_part_of_a_negative_prompt_at_right_angles_counts() -> Result<()> {
    let guidance = |negative, negative_scale| Guidance::PerpNeg {
        positive: vec![prompt(3.0, 3)],
        negative: vec![prompt(negative, 3)],
        empty: vec![prompt(1.0, 3)],
        scale: 2.0,
        negative_scale,
    };
    // Latents of one value all point the same way: nothing of the negative prompt is left.
    let (latent, _) = run(&guidance(-4.0, 1.0), "euler", usize::MAX, &Hooks::default())?;
    near(cell(&latent, 0, 0), 1.0 + 2.0 * (3.0 - 1.0));
    Ok(())
}

#[test]
fn grey_values_of_a_mask_open_one_after_the_other() -> Result<()> {
    use ebb_sampling::guidance::{DenoiseMaskArgs, functions::differential_diffusion};
    let sampling = ModelSampling::flow(1.0, 1000.0);
    let mask = Tensor::new(&[0f32, 0.25, 0.5, 1.0], &Device::Cpu)?.reshape((1, 1, 1, 4))?;
    let sigmas = [1.0, 0.75, 0.5, 0.25, 0.0];
    let at = |sigma, strength| -> Result<Vec<f32>> {
        let args = DenoiseMaskArgs { mask: &mask, sigma, sigmas: &sigmas, sampling: &sampling };
        Ok(differential_diffusion(strength)(&args)?.flatten_all()?.to_vec1()?)
    };
    assert_eq!(at(1.0, 1.0)?, [0.0, 0.0, 0.0, 1.0]);
    assert_eq!(at(0.5, 1.0)?, [0.0, 0.0, 1.0, 1.0]);
    assert_eq!(at(0.25, 1.0)?, [0.0, 1.0, 1.0, 1.0]);
    assert_eq!(at(1.0, 0.5)?, [0.0, 0.125, 0.25, 1.0]);
    Ok(())
}

#[test]
fn a_patch_of_the_negative_side_gets_a_call_of_its_own_in_its_range() -> Result<()> {
    use ebb_sampling::guidance::NegativePatch;
    let guidance = cfg(vec![prompt(1.0, 3)], vec![prompt(0.5, 3)], 3.0);
    for (start_sigma, expected) in [(9.0, vec![Side::Positive]), (3.0, vec![Side::Negative, Side::Positive])]
    {
        let patch = Some(NegativePatch { patch: Arc::new(()), start_sigma, end_sigma: 0.0 });
        let hooks = Hooks { negative_patch: patch, ..Hooks::default() };
        let (latent, calls) = run(&guidance, "euler", usize::MAX, &hooks)?;
        near(cell(&latent, 0, 0), 2.0);
        assert_eq!(calls[0].sides, expected);
    }
    Ok(())
}

#[test]
fn frames_of_a_video_are_guided_by_their_place() -> Result<()> {
    use ebb_sampling::guidance::functions::{linear_cfg, triangle_cfg};
    let frames = |function| -> Result<Vec<f32>> {
        let hooks = Hooks { cfg: Some(function), ..Hooks::default() };
        let guidance = cfg(vec![prompt(1.0, 3)], vec![prompt(0.5, 3)], 3.0);
        let (latent, _) = run(&guidance, "euler", usize::MAX, &hooks)?;
        Ok(latent.mean((1, 2, 3))?.to_vec1()?)
    };
    for (found, expected) in
        [(frames(linear_cfg(1.0))?, [1.0, 2.0]), (frames(triangle_cfg(1.0))?, [1.0, 1.0])]
    {
        near(found[0], expected[0]);
        near(found[1], expected[1]);
    }
    Ok(())
}
