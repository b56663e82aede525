//! Control networks through their nodes, against the networks themselves (which the kit proves).

use std::collections::HashMap;

use candle_core::Tensor;
use ebb_models::LoadOptions;
use ebb_models::controlnet::{ControlNet, ControlNetwork};
use ebb_models::denoiser::{Denoiser, Input, Session};
use ebb_models::ops::{Ops, Precision};
use ebb_models::unet::Unet;
use ebb_nodes::values::{Conditioning, Latent};
use ebb_sampling::ModelSampling;
use ebb_weights::{ModelFile, WeightSource};
use serde_json::{Map, Value as Json, json};

use crate::support::{Bench, Kit, difference, node, payload};

const SIGMA: f64 = 3.0;
const SCALE: f64 = 0.18215;

fn bench(kit: &Kit) -> Bench {
    let bench = Bench::new();
    bench.write("checkpoints", "sd1.safetensors", &kit.tensors("tensors", ""));
    bench.write("controlnet", "control.safetensors", &kit.tensors("controlnet", ""));
    let hint = kit.io["controlnet.hint"].narrow(0, 0, 1).unwrap().permute((0, 2, 3, 1)).unwrap();
    bench.give("hint", &hint.contiguous().unwrap());
    bench
}

/// One Euler step from `SIGMA` to nothing, without guidance: what comes out is the clean latent that one call of the
/// UNet sees. `controls`: file, strength, start, end.
fn one_step(controls: &[(&str, f64, f64, f64)]) -> Json {
    let mut parts = Map::new();
    parts.insert("ckpt".into(), node("CheckpointLoaderSimple", json!({"ckpt_name": "sd1.safetensors"})));
    parts.insert("text".into(), node("CLIPTextEncode", json!({"clip": ["ckpt", 1], "text": "a cat"})));
    parts.insert("hint".into(), node("Given", json!({"name": "hint"})));
    parts.insert(
        "empty".into(),
        node("EmptyLatentImage", json!({"width": 192, "height": 128, "batch_size": 1})),
    );
    let mut side = ("text".to_owned(), "text".to_owned(), 0);
    for (i, (file, strength, start, end)) in controls.iter().enumerate() {
        let (net, apply) = (format!("net{i}"), format!("apply{i}"));
        parts.insert(net.clone(), node("ControlNetLoader", json!({"control_net_name": file})));
        let inputs = json!({"positive": [side.0, 0], "negative": [side.1, side.2], "control_net": [net, 0],
            "image": ["hint", 0], "strength": strength, "start_percent": start, "end_percent": end});
        parts.insert(apply.clone(), node("ControlNetApplyAdvanced", inputs));
        side = (apply.clone(), apply, 1);
    }
    parts.insert("sampler".into(), node("KSamplerSelect", json!({"sampler_name": "euler"})));
    let range = json!({"steps": 1, "sigma_max": SIGMA, "sigma_min": 0.03, "rho": 7.0});
    parts.insert("sigmas".into(), node("KarrasScheduler", range));
    parts.insert("noise".into(), node("RandomNoise", json!({"noise_seed": 5})));
    parts.insert(
        "guider".into(),
        node("BasicGuider", json!({"model": ["ckpt", 0], "conditioning": [side.0, 0]})),
    );
    let inputs = json!({"noise": ["noise", 0], "guider": ["guider", 0], "sampler": ["sampler", 0],
        "sigmas": ["sigmas", 0], "latent_image": ["empty", 0]});
    parts.insert("sample".into(), node("SamplerCustomAdvanced", inputs));
    parts.insert("catch".into(), node("Catch", json!({"value": ["sample", 0]})));
    parts.insert("caught".into(), node("Catch", json!({"value": ["text", 0]})));
    Json::Object(parts)
}

/// The latent, and the prompt's tokens where they are not cached.
async fn sampled(bench: &Bench, controls: &[(&str, f64, f64, f64)]) -> (Tensor, Option<Tensor>) {
    let (mut latent, mut context) = (None, None);
    for value in bench.run(one_step(controls)).await {
        match &value {
            ebb_engine::value::Value::Payload(p) if p.type_name() == "LATENT" => {
                latent = Some(payload::<Latent>(&value).samples.clone());
            }
            _ => context = payload::<Conditioning>(&value).entries[0].cross_attn.clone(),
        }
    }
    (latent.unwrap(), context)
}

/// The same step by hand, with a control network of each strength.
fn by_hand(bench: &Bench, kit: &Kit, context: &Tensor, strengths: &[f32]) -> Tensor {
    let kernels = ebb_kernels::Kernels::new(ebb_kernels::Threads::new(2).unwrap(), ebb_kernels::Pool::new());
    let ops = Ops::cpu(kernels.unwrap(), Precision::F32);
    let open = |kind: &str, name: &str, prefix: &str| {
        WeightSource::of_file(&ModelFile::open(bench.path(kind, name)).unwrap()).under(prefix)
    };
    let unet = open("checkpoints", "sd1.safetensors", "model.diffusion_model.");
    let unet = Unet::load(&ops, &unet, LoadOptions::default()).unwrap();
    let net = open("controlnet", "control.safetensors", "control_model.");
    let net = ControlNet::load(&ops, &net, LoadOptions::default()).unwrap();
    let hint = net.hint(&kit.io["controlnet.hint"].narrow(0, 0, 1).unwrap(), None).unwrap();
    let shape = Tensor::zeros((1, 4, 16, 24), candle_core::DType::F32, &candle_core::Device::Cpu).unwrap();
    let noise = ebb_sampling::noise::prepare_noise(&shape, 5, None).unwrap();
    let (sampling, x) = (ModelSampling::eps(), (noise * SIGMA).unwrap());
    let (scaled, timestep) = (sampling.model_input(SIGMA, &x).unwrap(), [sampling.timestep(SIGMA) as f32]);
    let input = Input::new(&scaled, &timestep, context);
    let mut all = None;
    for strength in strengths {
        let one = net.residuals(&mut Session::new(), &hint, input, None, *strength).unwrap();
        all = Some(match all {
            Some(all) => one.joined(&ops, all).unwrap(),
            None => one,
        });
    }
    let output = unet.denoise(&mut Session::new(), Input { control: all.as_ref(), ..input }).unwrap();
    (sampling.denoised(SIGMA, &output, &x).unwrap() / SCALE).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_control_network_adds_what_it_sees() {
    let kit = Kit::open("sd1");
    let bench = bench(&kit);
    let (plain, context) = sampled(&bench, &[]).await;
    let context = context.unwrap();
    assert!(difference(&plain, &by_hand(&bench, &kit, &context, &[])) < 1e-4);
    let (found, _) = sampled(&bench, &[("control.safetensors", 0.7, 0.0, 1.0)]).await;
    let expected = by_hand(&bench, &kit, &context, &[0.7]);
    assert!(difference(&found, &expected) < 1e-4, "{}", difference(&found, &expected));
    assert!(difference(&found, &plain) > 1e-2, "the control changes nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn stacked_networks_add_up_and_speak_in_their_range_only() {
    let kit = Kit::open("sd1");
    let bench = bench(&kit);
    let file = "control.safetensors";
    let (found, context) = sampled(&bench, &[(file, 0.7, 0.0, 1.0), (file, 0.4, 0.0, 1.0)]).await;
    let context = context.unwrap();
    let expected = by_hand(&bench, &kit, &context, &[0.7, 0.4]);
    assert!(difference(&found, &expected) < 1e-4, "{}", difference(&found, &expected));
    // The step is in the first half of sampling by sigma, after the first tenth.
    let (late, _) = sampled(&bench, &[(file, 0.7, 0.9, 1.0)]).await;
    let (early, _) = sampled(&bench, &[(file, 0.7, 0.0, 0.1)]).await;
    let plain = by_hand(&bench, &kit, &context, &[]);
    assert!(difference(&late, &plain) < 1e-4 && difference(&early, &plain) < 1e-4);
}

/// A module of the kit's network as the diffusers library names it.
fn diffusers_name(name: &str) -> String {
    let name = name.strip_prefix("control_model.").unwrap();
    let inside = |rest: &str| match rest.rsplit_once('.').unwrap() {
        ("in_layers.0", end) => format!("norm1.{end}"),
        ("in_layers.2", end) => format!("conv1.{end}"),
        ("emb_layers.1", end) => format!("time_emb_proj.{end}"),
        ("out_layers.0", end) => format!("norm2.{end}"),
        ("out_layers.3", end) => format!("conv2.{end}"),
        ("skip_connection", end) => format!("conv_shortcut.{end}"),
        _ => rest.to_owned(),
    };
    let whole = [
        ("time_embed.0.", "time_embedding.linear_1."),
        ("time_embed.2.", "time_embedding.linear_2."),
        ("input_blocks.0.0.", "conv_in."),
        ("middle_block_out.0.", "controlnet_mid_block."),
        ("input_hint_block.0.", "controlnet_cond_embedding.conv_in."),
        ("input_hint_block.14.", "controlnet_cond_embedding.conv_out."),
    ];
    if let Some((rest, there)) =
        whole.iter().find_map(|(here, there)| Some((name.strip_prefix(here)?, there)))
    {
        return format!("{there}{rest}");
    }
    let blocks = [
        ("middle_block.0.", "mid_block.resnets.0."),
        ("middle_block.1.", "mid_block.attentions.0."),
        ("middle_block.2.", "mid_block.resnets.1."),
    ];
    if let Some((rest, there)) =
        blocks.iter().find_map(|(here, there)| Some((name.strip_prefix(here)?, there)))
    {
        return format!("{there}{}", inside(rest));
    }
    let (list, rest) = name.split_once('.').unwrap();
    let (index, rest) = rest.split_once('.').unwrap();
    let index: usize = index.parse().unwrap();
    match list {
        "zero_convs" => format!("controlnet_down_blocks.{index}.{}", rest.strip_prefix("0.").unwrap()),
        "input_hint_block" => format!("controlnet_cond_embedding.blocks.{}.{rest}", index / 2 - 1),
        _ => {
            let (level, within) = ((index - 1) / 3, (index - 1) % 3);
            match rest.split_once('.').unwrap() {
                ("0", rest) if within == 2 => {
                    format!("down_blocks.{level}.downsamplers.0.conv.{}", rest.strip_prefix("op.").unwrap())
                }
                ("0", rest) => format!("down_blocks.{level}.resnets.{within}.{}", inside(rest)),
                (_, rest) => format!("down_blocks.{level}.attentions.{within}.{rest}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_the_diffusers_library_are_the_same_network() {
    let kit = Kit::open("sd1");
    let bench = bench(&kit);
    let renamed: HashMap<String, Tensor> =
        kit.tensors("controlnet", "").into_iter().map(|(name, t)| (diffusers_name(&name), t)).collect();
    bench.write("controlnet", "diffusers.safetensors", &renamed);
    let (single, _) = sampled(&bench, &[("control.safetensors", 0.7, 0.0, 1.0)]).await;
    let (diffusers, _) = sampled(&bench, &[("diffusers.safetensors", 0.7, 0.0, 1.0)]).await;
    assert_eq!(difference(&diffusers, &single), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_kind_of_file_is_refused_by_name() {
    let kit = Kit::open("sd1");
    let bench = bench(&kit);
    for (name, tensor, said) in [
        ("other.safetensors", "controlnet_blocks.0.weight", "for a transformer"),
        // An adapter that lacks all but one of its tensors.
        ("adapter.safetensors", "body.0.in_conv.weight", "T2I adapter"),
    ] {
        bench.write("controlnet", name, &HashMap::from([(tensor.to_owned(), kit.io["x"].clone())]));
        let why = bench.try_run(one_step(&[(name, 1.0, 0.0, 1.0)])).await.unwrap_err();
        assert!(why.contains(said), "{why}");
    }
}

/// What kornia 0.8's `canny(0.3, 0.6)` finds in the picture below.
const EDGES: &str = "
.............#...#...#..#...
...........##...##..#..#....
..........##...##..##..#....
.........##..##...#..##.....
.......###..##...#..#.......
......##...##..##..#........
.....##...##..##..#.........
...###..##...#..##..........
..##...##...#..#............
.##...##..##..#.............
##..##...##..#.#............
...##...#..##.#.............
..##..##..#.................
##...##..#..................
....#..##.#.................
.###..#.....................
##..##......................
...#........................
.##..#......................
##.##.......................
.....##.....................
............................
............................
............................
";

#[tokio::test(flavor = "multi_thread")]
async fn edges_are_those_of_the_reference() {
    let bench = Bench::new();
    let (height, width) = (24usize, 28usize);
    let mut pixels = Vec::new();
    for y in 0..height {
        for x in 0..width {
            let base = ((x * x * 3 + y * y * 5 + x * y * 7) / 9 % 101) as f32 / 100.0;
            pixels.extend([base, base * base, 1.0 - base]);
        }
    }
    let image = Tensor::from_vec(pixels, (1, height, width, 3), &candle_core::Device::Cpu).unwrap();
    bench.give("picture", &image);
    let found = bench
        .run(json!({
            "1": node("Given", json!({"name": "picture"})),
            "2": node("Canny", json!({"image": ["1", 0], "low_threshold": 0.3, "high_threshold": 0.6})),
            "3": node("Catch", json!({"value": ["2", 0]})),
        }))
        .await;
    let edges = payload::<ebb_nodes::values::Image>(&found[0]).to_vec().unwrap();
    let rows: Vec<String> = edges
        .chunks_exact(width * 3)
        .map(|row| row.chunks_exact(3).map(|p| if p[0] > 0.0 { '#' } else { '.' }).collect())
        .collect();
    assert_eq!(rows.join("\n"), EDGES.trim());
}
