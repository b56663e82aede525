//! Control networks of SD 3 and Flux, in each layout that ComfyUI reads: whole sampling runs against ComfyUI 0.3.64's
//! on the same procedural models.

use std::collections::HashMap;

use candle_core::{Device, Tensor};
use ebb_nodes::values::Latent;
use serde_json::{Map, Value as Json, json};

use crate::layers::{RUN, procedural_of, reference};
use crate::support::{Bench, Kit, difference, node, payload};

/// A network on the prompts: its file, the hint, strength, start, end.
#[derive(Clone, Copy)]
struct Guide(&'static str, &'static str, f64, f64, f64);

fn bench(family: &str) -> Bench {
    let (kit, sd3) = (Kit::open(family), Kit::open("sd3"));
    let bench = Bench::new();
    let own = |tensors: HashMap<String, Tensor>, prefix: &str| -> HashMap<String, Tensor> {
        let cut = |(name, t): (String, Tensor)| Some((name.strip_prefix(prefix)?.to_owned(), t));
        tensors.into_iter().filter_map(cut).collect()
    };
    let prefix = if family == "sd3" { "model.diffusion_model." } else { "" };
    bench.write("diffusion_models", "base.safetensors", &own(kit.tensors("tensors", ""), prefix));
    bench.write("vae", "vae.safetensors", &own(sd3.tensors("tensors", ""), "first_stage_model."));
    for (i, side) in ["positive", "negative"].iter().enumerate() {
        bench.give(&format!("{side}.tokens"), &kit.io["context"].narrow(0, i, 1).unwrap());
        bench.give(&format!("{side}.pooled"), &kit.io["y"].narrow(0, i, 1).unwrap());
    }
    let hint = Kit::open("sd1").io["controlnet.hint"].narrow(0, 0, 1).unwrap();
    bench.give("hint", &hint.permute((0, 2, 3, 1)).unwrap().contiguous().unwrap());
    // Another size than that of the latent.
    bench.give("small", &reference("layers.safetensors")["vision.image"].narrow(0, 0, 1).unwrap());
    bench
}

fn control_file(bench: &Bench, network: &str) {
    let tensors = procedural_of("transformers.json", network, network);
    bench.write("controlnet", &format!("{network}.safetensors"), &tensors);
}

/// A workflow of three steps; `apply` is the class that puts the network on, `kind` what the network is told.
fn workflow(cfg: f64, guide: Option<Guide>, apply: &str, kind: Option<&str>) -> Json {
    let mut parts = Map::new();
    let mut add = |id: &str, class: &str, inputs: Json| parts.insert(id.into(), node(class, inputs));
    add("unet", "UNETLoader", json!({"unet_name": "base.safetensors", "weight_dtype": "default"}));
    add("vae", "VAELoader", json!({"vae_name": "vae.safetensors"}));
    for side in ["positive", "negative"] {
        add(&format!("{side}0"), "GivenPrompt", json!({"name": side}));
        add(side, "FluxGuidance", json!({"conditioning": [format!("{side}0"), 0], "guidance": 3.0}));
    }
    add("empty", "EmptyLatentImage", json!({"width": 192, "height": 128, "batch_size": 1}));
    let mut sides = [json!(["positive", 0]), json!(["negative", 0])];
    if let Some(Guide(file, hint, strength, start, end)) = guide {
        add("net", "ControlNetLoader", json!({"control_net_name": format!("{file}.safetensors")}));
        let net = if kind.is_some() { "told" } else { "net" };
        if let Some(kind) = kind {
            add("told", "SetUnionControlNetType", json!({"control_net": ["net", 0], "type": kind}));
        }
        add("image", "Given", json!({"name": hint}));
        let mut inputs = json!({"positive": ["positive", 0], "negative": ["negative", 0], "control_net": [net, 0],
            "image": ["image", 0], "vae": ["vae", 0], "strength": strength, "start_percent": start,
            "end_percent": end});
        if apply == "ControlNetInpaintingAliMamaApply" {
            add("whole", "SolidMask", json!({"value": 0.0, "width": 192, "height": 128}));
            add("hole", "SolidMask", json!({"value": 1.0, "width": 80, "height": 64}));
            let there = json!({"destination": ["whole", 0], "source": ["hole", 0], "x": 40, "y": 32, "operation": "add"});
            add("mask", "MaskComposite", there);
            inputs["mask"] = json!(["mask", 0]);
        }
        add("apply", apply, inputs);
        sides = [json!(["apply", 0]), json!(["apply", 1])];
    }
    let [positive, negative] = sides;
    add(
        "sample",
        "KSampler",
        json!({"model": ["unet", 0], "positive": positive, "negative": negative, "latent_image": ["empty", 0],
            "seed": 42, "steps": 3, "cfg": cfg, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}),
    );
    add("catch", "Catch", json!({"value": ["sample", 0]}));
    Json::Object(parts)
}

async fn check(
    bench: &Bench,
    expected: &HashMap<String, Tensor>,
    name: &str,
    (guide, apply, kind): (Option<Guide>, &str, Option<&str>),
) {
    let cfg = if name.starts_with("sd3") { 4.0 } else { 2.0 };
    let found = bench.run(workflow(cfg, guide, apply, kind)).await;
    let found = payload::<Latent>(&found[0]).samples.clone();
    let error = difference(&found, &expected[name]);
    assert!(error < RUN, "{name}: {error}");
}

const ADVANCED: &str = "ControlNetApplyAdvanced";

#[tokio::test(flavor = "multi_thread")]
async fn networks_of_sd3_guide_as_in_comfyui() {
    let (bench, expected) = (bench("sd3"), reference("transformers.safetensors"));
    control_file(&bench, "sd3c");
    control_file(&bench, "sd3i");
    let inpaint = Some(Guide("sd3i", "hint", 0.6, 0.0, 0.8));
    for (name, case) in [
        ("sd3.plain", (None, ADVANCED, None)),
        ("sd3.two", (Some(Guide("sd3c", "small", 0.7, 0.0, 1.0)), "ControlNetApplySD3", None)),
        ("sd3.inpaint_open", (inpaint, ADVANCED, None)),
        ("sd3.inpaint", (inpaint, "ControlNetInpaintingAliMamaApply", None)),
    ] {
        check(&bench, &expected, name, case).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn networks_of_sd3_5_large_borrow_of_the_transformer() {
    let (bench, expected) = (bench("sd3"), reference("transformers.safetensors"));
    for (name, kind) in [("canny", 1f32), ("depth", 2.0), ("blur", 0.0)] {
        let mut tensors = procedural_of("transformers.json", "sd35c", "sd35c");
        tensors.insert("control_type".into(), Tensor::new(&[kind], &Device::Cpu).unwrap());
        bench.write("controlnet", &format!("{name}.safetensors"), &tensors);
        let guide = Some(Guide(name, "small", 0.7, 0.0, 1.0));
        check(&bench, &expected, &format!("sd3.large_{name}"), (guide, ADVANCED, None)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn networks_of_flux_guide_as_in_comfyui() {
    let (bench, expected) = (bench("flux-dev"), reference("transformers.safetensors"));
    for network in ["fluxi", "fluxm", "fluxx", "fluxy"] {
        control_file(&bench, network);
    }
    // The kind's place among the names counts, not what it is called.
    let third = Some("hed/pidi/scribble/ted");
    for (name, case) in [
        ("flux.plain", (None, ADVANCED, None)),
        ("flux.union_auto", (Some(Guide("fluxi", "small", 0.7, 0.0, 1.0)), ADVANCED, None)),
        ("flux.union_2", (Some(Guide("fluxi", "small", 0.7, 0.0, 0.9)), ADVANCED, third)),
        ("flux.inpaint_open", (Some(Guide("fluxm", "small", 0.7, 0.0, 1.0)), ADVANCED, None)),
        ("flux.xlabs", (Some(Guide("fluxx", "hint", 0.7, 0.0, 1.0)), ADVANCED, None)),
        ("flux.mistoline", (Some(Guide("fluxy", "hint", 0.7, 0.0, 1.0)), ADVANCED, None)),
    ] {
        check(&bench, &expected, name, case).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_sees_latents_asks_for_what_makes_them() {
    let bench = bench("sd3");
    control_file(&bench, "sd3c");
    let mut parts = workflow(4.0, Some(Guide("sd3c", "small", 0.7, 0.0, 1.0)), ADVANCED, None);
    parts["apply"]["inputs"].as_object_mut().unwrap().remove("vae");
    let why = bench.try_run(parts).await.unwrap_err();
    assert!(why.contains("needs a VAE"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_of_another_transformer_is_refused() {
    let bench = bench("sd3");
    control_file(&bench, "fluxx");
    let why = bench.try_run(workflow(4.0, Some(Guide("fluxx", "hint", 0.7, 0.0, 1.0)), ADVANCED, None)).await;
    let why = why.unwrap_err();
    assert!(why.contains("control network of another model"), "{why}");
}
