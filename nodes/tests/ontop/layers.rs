//! What nodes change of a model's layers and weights, against ComfyUI 0.3.64 on the same procedural models: whole
//! sampling runs of the tiny SD 1 (three steps of Euler at a guidance of 5), and single calls of other networks.

use std::collections::HashMap;
use std::path::Path;

use candle_core::{Device, Tensor};
use ebb_models::LoadOptions;
use ebb_models::adapter::Adapter;
use ebb_models::changes::{Changes, Skipped};
use ebb_models::denoiser::{Denoiser, Input, Places, References, Session};
use ebb_models::dit::{flux::Flux, mmdit::Mmdit};
use ebb_models::ops::{Ops, Precision};
use ebb_models::source::{Info, Source, Stored, Values};
use ebb_nodes::values::{Conditioning, Latent, VisionOutput};
use serde_json::{Map, Value as Json, json};

use crate::support::{BOUND, Bench, Kit, difference, node, payload};
use crate::synth;

/// The kit's bound for whole sampling runs.
pub(crate) const RUN: f64 = 1e-3;

fn data(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

pub(crate) fn reference(file: &str) -> HashMap<String, Tensor> {
    candle_core::safetensors::load(data(file), &Device::Cpu).unwrap()
}

/// Tensors of a network by the kit's rule, drawn for `SALT.name`.
fn procedural(network: &str, salt: &str) -> HashMap<String, Tensor> {
    procedural_of("layers.json", network, salt)
}

/// As [`procedural`], of a network whose shapes are in another file.
pub(crate) fn procedural_of(file: &str, network: &str, salt: &str) -> HashMap<String, Tensor> {
    let shapes: Json = serde_json::from_slice(&std::fs::read(data(file)).unwrap()).unwrap();
    let each = shapes[network].as_object().unwrap().iter().map(|(name, shape)| {
        let shape: Vec<usize> = serde_json::from_value(shape.clone()).unwrap();
        // Gates are far from 0, where they would hide what they open to.
        let values = if name.ends_with("alpha_attn") || name.ends_with("alpha_dense") {
            vec![0.5]
        } else {
            synth::tensor(&format!("{salt}.{name}"), &shape)
        };
        (name.clone(), Tensor::from_vec(values, shape, &Device::Cpu).unwrap())
    });
    each.collect()
}

fn bench(kit: &Kit) -> Bench {
    let bench = Bench::new();
    bench.write("checkpoints", "sd1.safetensors", &kit.tensors("tensors", ""));
    bench
}

/// How a run differs from the plain one.
#[derive(Default)]
pub(crate) struct Run {
    /// Nodes between checkpoint and sampler; the last one is called `patched`. One called `ckpt` takes the place of
    /// the loader.
    pub(crate) nodes: Vec<(&'static str, Json)>,
    /// The node whose first output is the positive prompt; its second the negative one's, if `both`.
    pub(crate) prompt: Option<&'static str>,
    pub(crate) both: bool,
    pub(crate) steps: Option<usize>,
    pub(crate) cfg: Option<f64>,
}

pub(crate) async fn sampled(bench: &Bench, kit: &Kit, run: Run) -> Tensor {
    let prompts = kit.manifest["prompts"].as_array().unwrap();
    let mut parts: Map<String, Json> = run.nodes.into_iter().map(|(id, node)| (id.into(), node)).collect();
    let loader = || node("CheckpointLoaderSimple", json!({"ckpt_name": "sd1.safetensors"}));
    parts.entry("ckpt").or_insert_with(loader);
    for (id, prompt) in [("positive", &prompts[2]), ("negative", &prompts[0])] {
        parts.insert(id.into(), node("CLIPTextEncode", json!({"clip": ["ckpt", 1], "text": prompt})));
    }
    let size = json!({"width": 192, "height": 128, "batch_size": 1});
    parts.insert("empty".into(), node("EmptyLatentImage", size));
    let model = if parts.contains_key("patched") { json!(["patched", 0]) } else { json!(["ckpt", 0]) };
    let positive = json!([run.prompt.unwrap_or("positive"), 0]);
    let negative = if run.both { json!([run.prompt.unwrap(), 1]) } else { json!(["negative", 0]) };
    let inputs = json!({"model": model, "positive": positive, "negative": negative, "latent_image": ["empty", 0],
        "seed": 42, "steps": run.steps.unwrap_or(3), "cfg": run.cfg.unwrap_or(5.0), "sampler_name": "euler",
        "scheduler": "normal", "denoise": 1.0});
    parts.insert("sample".into(), node("KSampler", inputs));
    parts.insert("catch".into(), node("Catch", json!({"value": ["sample", 0]})));
    payload::<Latent>(&bench.run(Json::Object(parts)).await[0]).samples.clone()
}

fn patched(class: &str, mut inputs: Json) -> Vec<(&'static str, Json)> {
    inputs["model"] = json!(["ckpt", 0]);
    vec![("patched", node(class, inputs))]
}

#[tokio::test(flavor = "multi_thread")]
async fn patches_of_layers_give_comfyui_s_latents() {
    let (kit, expected) = (Kit::open("sd1"), reference("layers.safetensors"));
    let bench = bench(&kit);
    let shrink = |block: i32, factor: f64, end: f64, after: bool, down: &str, up: &str| {
        json!({"block_number": block, "downscale_factor": factor, "start_percent": 0.0, "end_percent": end,
            "downscale_after_skip": after, "downscale_method": down, "upscale_method": up})
    };
    let cases = [
        ("plain", Vec::new()),
        ("freeu", patched("FreeU", json!({"b1": 1.1, "b2": 1.2, "s1": 0.9, "s2": 0.2}))),
        ("freeu_v2", patched("FreeU_V2", json!({"b1": 1.3, "b2": 1.4, "s1": 0.9, "s2": 0.2}))),
        (
            "hypertile",
            patched(
                "HyperTile",
                json!({"tile_size": 32, "swap_size": 2, "max_depth": 1, "scale_depth": false}),
            ),
        ),
        ("tome", patched("TomePatchModel", json!({"ratio": 0.5}))),
        ("pag", patched("PerturbedAttentionGuidance", json!({"scale": 3.0}))),
        ("sag", patched("SelfAttentionGuidance", json!({"scale": 0.5, "blur_sigma": 2.0}))),
        ("shrink", patched("PatchModelAddDownscale", shrink(3, 2.0, 0.6, true, "bicubic", "bicubic"))),
        (
            "shrink_before",
            patched("PatchModelAddDownscale", shrink(4, 1.5, 1.0, false, "bilinear", "bislerp")),
        ),
        (
            "attention",
            patched("UNetSelfAttentionMultiply", json!({"q": 1.1, "k": 0.9, "v": 1.2, "out": 0.8})),
        ),
    ];
    for (name, nodes) in cases {
        let found = sampled(&bench, &kit, Run { nodes, ..Run::default() }).await;
        let error = difference(&found, &expected[name]);
        assert!(error < RUN, "{name}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn operations_on_guidance_give_comfyui_s_latents() {
    let (kit, expected) = (Kit::open("sd1"), reference("layers.safetensors"));
    let bench = bench(&kit);
    let operations = [
        ("tonemap", node("LatentOperationTonemapReinhard", json!({"multiplier": 0.8}))),
        ("sharpen", node("LatentOperationSharpen", json!({"sharpen_radius": 3, "sigma": 0.7, "alpha": 0.1}))),
    ];
    for (name, operation) in operations {
        let apply =
            node("LatentApplyOperationCFG", json!({"model": ["ckpt", 0], "operation": ["operation", 0]}));
        let nodes = vec![("operation", operation), ("patched", apply)];
        let found = sampled(&bench, &kit, Run { nodes, ..Run::default() }).await;
        let error = difference(&found, &expected[name]);
        assert!(error < RUN, "{name}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_that_take_an_earlier_answer_are_those_that_comfyui_skips() {
    let (kit, expected) = (Kit::open("sd1"), reference("layers.safetensors"));
    let bench = bench(&kit);
    let settings =
        json!({"reuse_threshold": 0.6, "start_percent": 0.1, "end_percent": 0.95, "verbose": false});
    let run = |nodes| Run { nodes, steps: Some(10), cfg: Some(1.0), ..Run::default() };
    let plain = sampled(&bench, &kit, run(Vec::new())).await;
    assert!(difference(&plain, &expected["easycache_plain"]) < RUN);
    let found = sampled(&bench, &kit, run(patched("EasyCache", settings))).await;
    let error = difference(&found, &expected["easycache"]);
    assert!(error < RUN, "{error}");
    assert!(difference(&plain, &expected["easycache"]) > 10.0 * RUN, "nothing was skipped");
    assert!(bench.texts().iter().any(|text| text.starts_with("EasyCache:")), "{:?}", bench.texts());
}

#[tokio::test(flavor = "multi_thread")]
async fn guided_steps_take_an_earlier_answer_as_in_comfyui() {
    let (kit, expected) = (Kit::open("sd1"), reference("lazy.safetensors"));
    let bench = bench(&kit);
    for threshold in [0.2, 0.4, 0.8, 1.5] {
        let settings = json!({"reuse_threshold": threshold, "start_percent": 0.1, "end_percent": 0.95,
            "verbose": false});
        let run = Run { nodes: patched("LazyCache", settings), steps: Some(10), ..Run::default() };
        let error = difference(&sampled(&bench, &kit, run).await, &expected[&format!("lazy.{threshold}")]);
        assert!(error < RUN, "{threshold}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hypernetwork_changes_keys_and_values() {
    let (kit, expected) = (Kit::open("sd1"), reference("layers.safetensors"));
    let bench = bench(&kit);
    let tensors = procedural("hyper", "hyper");
    let named: HashMap<String, &Tensor> = tensors.iter().map(|(name, t)| (name.clone(), t)).collect();
    let metadata = HashMap::from([("activation_func".to_owned(), "relu".to_owned())]);
    let bytes = safetensors::serialize(named, Some(metadata)).unwrap();
    std::fs::write(bench.path("hypernetworks", "hyper.safetensors"), bytes).unwrap();
    let load = |strength: f64| {
        patched("HypernetworkLoader", json!({"hypernetwork_name": "hyper.safetensors", "strength": strength}))
    };
    let found = sampled(&bench, &kit, Run { nodes: load(0.7), ..Run::default() }).await;
    let error = difference(&found, &expected["hypernetwork"]);
    assert!(error < RUN, "{error}");
    let found = sampled(&bench, &kit, Run { nodes: load(0.0), ..Run::default() }).await;
    assert!(difference(&found, &expected["plain"]) < RUN, "a strength of 0 changes something");
}

/// `other.safetensors`, a second checkpoint: its denoiser is another, the rest of its file is the same.
fn write_other(bench: &Bench, kit: &Kit) {
    let mut other = kit.tensors("tensors", "");
    for (name, tensor) in kit.tensors("tensors", "other.") {
        if name.starts_with("model.diffusion_model.") {
            other.insert(name, tensor);
        }
    }
    bench.write("checkpoints", "other.safetensors", &other);
}

#[tokio::test(flavor = "multi_thread")]
async fn merges_of_two_models_give_comfyui_s_latents() {
    let (kit, expected) = (Kit::open("sd1"), reference("layers.safetensors"));
    let bench = bench(&kit);
    write_other(&bench, &kit);
    let second = ("second", node("CheckpointLoaderSimple", json!({"ckpt_name": "other.safetensors"})));
    let both = |class: &str, mut more: Json| {
        more["model1"] = json!(["ckpt", 0]);
        more["model2"] = json!(["second", 0]);
        node(class, more)
    };
    let blocks = json!({"input": 0.2, "middle": 0.6, "out": 1.0});
    let sum = node("ModelMergeAdd", json!({"model1": ["ckpt", 0], "model2": ["difference", 0]}));
    let cases = [
        ("merge_simple", vec![("patched", both("ModelMergeSimple", json!({"ratio": 0.3})))]),
        ("merge_blocks", vec![("patched", both("ModelMergeBlocks", blocks))]),
        (
            "merge_add_sub",
            vec![("difference", both("ModelMergeSubtract", json!({"multiplier": 0.5}))), ("patched", sum)],
        ),
        ("plain", vec![("patched", both("ModelMergeSimple", json!({"ratio": 1.0})))]),
    ];
    for (name, mut nodes) in cases {
        nodes.push(second.clone());
        let found = sampled(&bench, &kit, Run { nodes, ..Run::default() }).await;
        let error = difference(&found, &expected[name]);
        assert!(error < RUN, "{name}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_saved_merge_samples_as_the_merge_itself() {
    let (kit, expected) = (Kit::open("sd1"), reference("layers.safetensors"));
    let bench = bench(&kit);
    write_other(&bench, &kit);
    let merge = json!({"model1": ["ckpt", 0], "model2": ["second", 0], "ratio": 0.3});
    let saves = json!({
        "ckpt": node("CheckpointLoaderSimple", json!({"ckpt_name": "sd1.safetensors"})),
        "second": node("CheckpointLoaderSimple", json!({"ckpt_name": "other.safetensors"})),
        "merge": node("ModelMergeSimple", merge),
        "save": node("CheckpointSave", json!({"model": ["merge", 0], "clip": ["ckpt", 1], "vae": ["ckpt", 2],
            "filename_prefix": "checkpoints/merged"})),
        "clip": node("CLIPSave", json!({"clip": ["ckpt", 1], "filename_prefix": "clip/text"})),
        "vae": node("VAESave", json!({"vae": ["ckpt", 2], "filename_prefix": "vae/picture"})),
        "model": node("ModelSave", json!({"model": ["merge", 0], "filename_prefix": "unet/merged"})),
    });
    bench.run(saves).await;
    let output = bench.folder.path().join("output");
    for (from, kind, name) in [
        ("checkpoints/merged_00001_.safetensors", "checkpoints", "sd1.safetensors"),
        ("unet/merged_00001_.safetensors", "diffusion_models", "merged.safetensors"),
        ("clip/text_clip_l_00001_.safetensors", "text_encoders", "text.safetensors"),
        ("vae/picture_00001_.safetensors", "vae", "picture.safetensors"),
    ] {
        std::fs::copy(output.join(from), bench.path(kind, name)).unwrap_or_else(|e| panic!("{from}: {e}"));
    }
    let found = sampled(&bench, &kit, Run::default()).await;
    let error = difference(&found, &expected["merge_simple"]);
    assert!(error < RUN, "the checkpoint: {error}");
    let unet = node("UNETLoader", json!({"unet_name": "merged.safetensors", "weight_dtype": "default"}));
    let found = sampled(&bench, &kit, Run { nodes: vec![("patched", unet)], ..Run::default() }).await;
    assert!(difference(&found, &expected["merge_simple"]) < RUN, "the model's own file");
    // Text encoder and autoencoder come back from their files too.
    let parts = json!({
        "clip": node("CLIPLoader", json!({"clip_name": "text.safetensors", "type": "stable_diffusion"})),
        "vae": node("VAELoader", json!({"vae_name": "picture.safetensors"})),
        "empty": node("EmptyLatentImage", json!({"width": 64, "height": 64, "batch_size": 1})),
        "text": node("CLIPTextEncode", json!({"clip": ["clip", 0], "text": kit.manifest["prompts"][1]})),
        "decode": node("VAEDecode", json!({"samples": ["empty", 0], "vae": ["vae", 0]})),
        "a": node("Catch", json!({"value": ["text", 0]})),
        "b": node("Catch", json!({"value": ["decode", 0]})),
    });
    for value in bench.run(parts).await {
        if matches!(&value, ebb_engine::value::Value::Payload(p) if p.type_name() == "CONDITIONING") {
            let found = payload::<Conditioning>(&value).entries[0].cross_attn.clone().unwrap();
            assert!(difference(&found, &kit.io["clip.1"]) < BOUND);
        }
    }
    // Nothing half-written is left, and no file was written over.
    let names: Vec<String> = std::fs::read_dir(output.join("checkpoints"))
        .unwrap()
        .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    assert_eq!(names, ["merged_00001_.safetensors"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn boxes_with_phrases_are_fused_as_in_comfyui() {
    let (kit, expected) = (Kit::open("sd1"), reference("layers.safetensors"));
    let bench = bench(&kit);
    bench.write("gligen", "boxes.safetensors", &procedural("gligen", "gligen"));
    let prompts = &kit.manifest["prompts"];
    let place = |to: &str, prompt: &Json, [height, width, y, x]: [u64; 4]| {
        node(
            "GLIGENTextBoxApply",
            json!({"conditioning_to": [to, 0], "clip": ["ckpt", 1], "gligen_textbox_model": ["gligen", 0],
            "text": prompt, "height": height * 8, "width": width * 8, "y": y * 8, "x": x * 8}),
        )
    };
    let nodes = vec![
        ("gligen", node("GLIGENLoader", json!({"gligen_name": "boxes.safetensors"}))),
        ("first", place("positive", &prompts[1], [8, 12, 4, 2])),
        ("both", place("first", &prompts[0], [4, 6, 10, 16])),
    ];
    let found = sampled(&bench, &kit, Run { nodes, prompt: Some("both"), ..Run::default() }).await;
    let error = difference(&found, &expected["gligen"]);
    assert!(error < RUN, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn t2i_adapters_guide_as_in_comfyui() {
    let (kit, expected) = (Kit::open("sd1"), reference("layers.safetensors"));
    let bench = bench(&kit);
    bench.write("controlnet", "t2i.safetensors", &procedural("t2i", "t2i"));
    let hint = kit.io["controlnet.hint"].narrow(0, 0, 1).unwrap();
    bench.give("hint", &hint.permute((0, 2, 3, 1)).unwrap().contiguous().unwrap());
    let apply = json!({"positive": ["positive", 0], "negative": ["negative", 0], "control_net": ["net", 0],
        "image": ["hint", 0], "strength": 0.8, "start_percent": 0.0, "end_percent": 0.7});
    let nodes = vec![
        ("net", node("ControlNetLoader", json!({"control_net_name": "t2i.safetensors"}))),
        ("hint", node("Given", json!({"name": "hint"}))),
        ("guided", node("ControlNetApplyAdvanced", apply)),
    ];
    let found =
        sampled(&bench, &kit, Run { nodes, prompt: Some("guided"), both: true, ..Run::default() }).await;
    let error = difference(&found, &expected["t2i"]);
    assert!(error < RUN, "{error}");

    // The light and the large kind, network by network.
    let ops = ops();
    let light = Adapter::load(&ops, &Procedural(procedural("t2l", "t2l")), LoadOptions::default()).unwrap();
    let residuals = light.residuals(&hint, 1.0).unwrap();
    let last = ops.to_nchw(residuals.input[11].as_ref().unwrap()).unwrap();
    let error = difference(&last.mean_keepdim(1).unwrap(), &expected["t2l.last"]);
    assert!(error < BOUND, "light: {error}");
    let large = Adapter::load(&ops, &Procedural(procedural("t2x", "t2x")), LoadOptions::default()).unwrap();
    let residuals = large.residuals(&hint, 1.0).unwrap();
    let error =
        difference(&ops.to_nchw(residuals.middle.as_ref().unwrap()).unwrap(), &expected["t2x.middle"]);
    assert!(error < BOUND, "large: {error}");
    let places: Vec<usize> =
        residuals.input.iter().enumerate().filter(|(_, r)| r.is_some()).map(|(i, _)| i).collect();
    assert_eq!(places, [3, 5, 8]);
}

#[tokio::test(flavor = "multi_thread")]
async fn picture_encoders_see_what_comfyui_s_see() {
    let (bench, expected) = (Bench::new(), reference("layers.safetensors"));
    bench.write("clip_vision", "clipv.safetensors", &procedural("clipv", "clipv"));
    bench.write("clip_vision", "siglip.safetensors", &procedural("siglip", "siglip"));
    bench.write("style_models", "redux.safetensors", &procedural("redux", "redux"));
    bench.write("style_models", "style.safetensors", &procedural("style", "style"));
    bench.give("image", &expected["vision.image"]);
    for name in ["clipv", "siglip"] {
        for (crop, key) in [("center", "True"), ("none", "False")] {
            let parts = json!({
                "image": node("Given", json!({"name": "image"})),
                "vision": node("CLIPVisionLoader", json!({"clip_name": format!("{name}.safetensors")})),
                "seen": node("CLIPVisionEncode",
                    json!({"clip_vision": ["vision", 0], "image": ["image", 0], "crop": crop})),
                "catch": node("Catch", json!({"value": ["seen", 0]})),
            });
            let seen = payload::<VisionOutput>(&bench.run(parts).await[0]);
            let of = |what: &str| expected.get(&format!("{name}.{key}.{what}"));
            for (what, found) in
                [("last", &seen.last), ("penultimate", &seen.penultimate), ("embeds", &seen.embeds)]
            {
                if let Some(expected) = of(what) {
                    let error = difference(found, expected);
                    // A pixel in 255 steps may round to the other side: two of the reference's own do, computed in f64, and
                    // one such pixel moves a token by 2e-3.
                    assert!(error < 20.0 * BOUND, "{name} {crop} {what}: {error}");
                }
            }
        }
    }
    // Tokens behind a prompt; the numbers are those of the center crop's last layer.
    let ops = ops();
    for (name, seen) in [("redux", "siglip.True.last"), ("style", "clipv.True.last")] {
        let source = Procedural(procedural(name, name));
        let model = ebb_models::style::StyleModel::load(&ops, &source, LoadOptions::default()).unwrap();
        let error = difference(&model.tokens(&expected[seen]).unwrap(), &expected[name]);
        assert!(error < BOUND, "{name}: {error}");
    }
}

/// Tensors as a source.
struct Procedural(HashMap<String, Tensor>);

impl Source for Procedural {
    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.0.keys().cloned().collect();
        names.sort();
        names
    }

    fn info(&self, name: &str) -> Option<Info> {
        Some(Info { shape: self.0.get(name)?.dims().to_vec(), stored: Stored::F32 })
    }

    fn read(&self, name: &str) -> ebb_models::Result<Values> {
        Ok(Values::F32(self.0[name].flatten_all()?.to_vec1()?))
    }
}

fn ops() -> Ops {
    let kernels = ebb_kernels::Kernels::new(ebb_kernels::Threads::new(2).unwrap(), ebb_kernels::Pool::new());
    Ops::cpu(kernels.unwrap(), Precision::F32)
}

/// A family's denoiser out of the kit, with the prefix cut off.
fn denoiser(kit: &Kit, prefix: &str) -> Procedural {
    let own = |(name, tensor): (String, Tensor)| Some((name.strip_prefix(prefix)?.to_owned(), tensor));
    Procedural(kit.tensors("tensors", "").into_iter().filter_map(own).collect())
}

#[test]
fn transformers_read_references_and_leave_blocks_out_as_comfyui_s_do() {
    let expected = reference("dit.safetensors");
    let ops = ops();
    let kit = Kit::open("flux-dev");
    let flux = Flux::load(&ops, &denoiser(&kit, ""), LoadOptions::default()).unwrap();
    let (timesteps, guidance) =
        (kit.io["timestep"].to_vec1::<f32>().unwrap(), kit.io["guidance"].to_vec1::<f32>().unwrap());
    let plain = Input {
        y: kit.io.get("y"),
        guidance: Some(&guidance),
        ..Input::new(&kit.io["x"], &timesteps, &kit.io["context"])
    };
    let check = |name: &str, input: Input<'_>| {
        let error = difference(&flux.denoise(&mut Session::new(), input).unwrap(), &expected[name]);
        assert!(error < BOUND, "{name}: {error}");
    };
    let latents = [expected["flux.ref0"].clone(), expected["flux.ref1"].clone()];
    let methods = [("offset", Places::Offset), ("index", Places::Index), ("uxo", Places::Diagonal)];
    for (name, places) in methods {
        let references = References { latents: &latents, places, attention_bias: None };
        check(&format!("flux.ref.{name}"), Input { references, ..plain });
    }
    let skipped = Skipped { double: vec![0], single: vec![1] };
    let changes = Changes { skipped, ..Changes::default() };
    check("flux.skip", Input { changes: Some(&changes), ..plain });
    // Everything but the last three tokens of the prompt looks at these less.
    let (n, texts) = (kit.io["x"].dim(0).unwrap(), kit.io["context"].dim(1).unwrap());
    let size = texts + 1;
    let mut bias = vec![0f32; size * size];
    for i in (0..texts - 3).chain([texts]) {
        bias[i * size + texts - 3..i * size + texts].fill(0.4f32.ln());
    }
    let bias = Tensor::from_vec(bias.repeat(n), (n, size, size), &Device::Cpu).unwrap();
    let references = References { attention_bias: Some(&bias), ..References::default() };
    check("flux.bias", Input { references, ..plain });

    let kit = Kit::open("sd3");
    let sd3 = Mmdit::load(&ops, &denoiser(&kit, "model.diffusion_model."), LoadOptions::default()).unwrap();
    let timesteps = kit.io["timestep"].to_vec1::<f32>().unwrap();
    let changes = Changes { skipped: Skipped { double: vec![1], single: Vec::new() }, ..Changes::default() };
    let input = Input {
        y: kit.io.get("y"),
        changes: Some(&changes),
        ..Input::new(&kit.io["x"], &timesteps, &kit.io["context"])
    };
    let error = difference(&sd3.denoise(&mut Session::new(), input).unwrap(), &expected["sd3.skip"]);
    assert!(error < BOUND, "sd3.skip: {error}");
}

/// Against diffusers' Z-Image and transformers' Qwen 3: ComfyUI 0.3.64 has neither.
#[test]
fn z_image_and_its_encoder_give_their_references_numbers() {
    let expected = reference("z_image.safetensors");
    let ops = ops();
    let source = Procedural(procedural("z", "z"));
    let model = ebb_models::dit::z_image::ZImage::load(&ops, &source, LoadOptions::default()).unwrap();
    let (x, context) = (&expected["z.x"], &expected["z.context"]);
    for (name, times) in [("z.output", [0.7, 0.7]), ("z.output_two_times", [0.7, 0.2])] {
        let output = model.denoise(&mut Session::new(), Input::new(x, &times, context)).unwrap();
        let error = difference(&output, &expected[name]);
        assert!(error < BOUND, "{name}: {error}");
    }
    let source = Procedural(procedural("qwen", "qwen"));
    let encoder = ebb_models::qwen::Qwen3::load(&ops, &source, LoadOptions::default()).unwrap();
    let encoded = encoder.encode(&[5, 17, 250, 3, 3, 99, 42, 7, 120]).unwrap();
    let error = difference(&encoded, &expected["qwen.output"]);
    assert!(error < BOUND, "qwen: {error}");
}
