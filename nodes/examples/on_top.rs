//! What stands on top of a model, on the reference kit's tiny SD 1: two LoRAs and a ControlNet in one workflow, then ten
//! LoRAs in turn. Prints what is in memory after each.
//!
//! `cargo run --release -p ebb-nodes --example on_top`
//!
//! With a folder behind `--`, models and workflow are left there, for `ebb run FOLDER/on-top.json --models FOLDER/models`.

#[allow(dead_code, reason = "shared with the tests")]
#[path = "../tests/ontop/support.rs"]
mod support;
#[allow(dead_code, reason = "shared with the tests")]
#[path = "../../tests/reference/networks/synth.rs"]
mod synth;

use ebb_nodes::values::Latent;
use serde_json::{Map, Value as Json, json};

use support::{Bench, Kit, node, payload};

/// A checkpoint, LoRAs on it one after the other, and a ControlNet where `controlled`.
fn workflow(loras: &[(&str, f64)], controlled: bool, last: &str) -> Json {
    let mut parts = Map::new();
    parts.insert("ckpt".into(), node("CheckpointLoaderSimple", json!({"ckpt_name": "tiny-sd1.safetensors"})));
    let (mut model, mut clip) = (json!(["ckpt", 0]), json!(["ckpt", 1]));
    for (i, (name, strength)) in loras.iter().enumerate() {
        let id = format!("lora{i}");
        let inputs = json!({"model": model, "clip": clip, "lora_name": name,
            "strength_model": strength, "strength_clip": strength});
        parts.insert(id.clone(), node("LoraLoader", inputs));
        (model, clip) = (json!([id, 0]), json!([id, 1]));
    }
    for (id, text) in [("positive", "a photo of a cat"), ("negative", "")] {
        parts.insert(id.into(), node("CLIPTextEncode", json!({"clip": clip, "text": text})));
    }
    let (mut positive, mut negative) = (json!(["positive", 0]), json!(["negative", 0]));
    if controlled {
        let net = json!({"control_net_name": "tiny-control.safetensors"});
        parts.insert("net".into(), node("ControlNetLoader", net));
        let picture = json!({"width": 192, "height": 128, "batch_size": 1, "color": 0x6080a0});
        parts.insert("picture".into(), node("EmptyImage", picture));
        let apply = json!({"positive": positive, "negative": negative, "control_net": ["net", 0],
            "image": ["picture", 0], "strength": 0.7, "start_percent": 0.0, "end_percent": 1.0});
        parts.insert("control".into(), node("ControlNetApplyAdvanced", apply));
        (positive, negative) = (json!(["control", 0]), json!(["control", 1]));
    }
    let size = json!({"width": 192, "height": 128, "batch_size": 1});
    parts.insert("empty".into(), node("EmptyLatentImage", size));
    let inputs = json!({"model": model, "positive": positive, "negative": negative,
        "latent_image": ["empty", 0], "seed": 7, "steps": 4, "cfg": 5.0, "sampler_name": "euler",
        "scheduler": "normal", "denoise": 1.0});
    parts.insert("sample".into(), node("KSampler", inputs));
    if last == "SaveImage" {
        parts.insert(
            "decode".into(),
            node("VAEDecode", json!({"samples": ["sample", 0], "vae": ["ckpt", 2]})),
        );
        parts
            .insert("save".into(), node(last, json!({"images": ["decode", 0], "filename_prefix": "on-top"})));
    } else {
        parts.insert("catch".into(), node(last, json!({"value": ["sample", 0]})));
    }
    Json::Object(parts)
}

fn mib(bytes: u64) -> String {
    format!("{:.2} MiB", bytes as f64 / f64::from(1 << 20))
}

#[tokio::main]
async fn main() {
    let (kit, bench) = (Kit::open("sd1"), Bench::new());
    bench.write("checkpoints", "tiny-sd1.safetensors", &kit.tensors("tensors", ""));
    bench.write("controlnet", "tiny-control.safetensors", &kit.tensors("controlnet", ""));
    let name = |i: usize| format!("tiny-{i}.safetensors");
    for i in 0..10 {
        bench.write("loras", &name(i), &kit.tensors("lora", &format!("{i}.")));
    }

    let size = |values: &[ebb_engine::value::Value]| {
        let latent = payload::<Latent>(&values[0]).samples.clone();
        latent.sqr().and_then(|t| t.mean_all()).and_then(|t| t.to_scalar::<f32>()).unwrap().sqrt()
    };
    let (first, second) = (name(0), name(1));
    let stack = [(first.as_str(), 0.8), (second.as_str(), -0.4)];
    for (what, loras, controlled) in [
        ("the model alone", &stack[..0], false),
        ("two LoRAs", &stack[..], false),
        ("two LoRAs and a ControlNet", &stack[..], true),
    ] {
        let values = bench.run(workflow(loras, controlled, "Catch")).await;
        println!("{what}: root mean square {:.4}, {} held", size(&values), mib(bench.held()));
    }

    println!("ten LoRAs in turn, each for a whole sampling run:");
    for i in 0..10 {
        let name = name(i);
        let values = bench.run(workflow(&[(name.as_str(), 0.8)], false, "Catch")).await;
        println!("  {name}: root mean square {:.4}, {} held", size(&values), mib(bench.held()));
    }

    if let Some(folder) = std::env::args().nth(1) {
        let folder = std::path::PathBuf::from(folder);
        for kind in ["checkpoints", "controlnet", "loras"] {
            let to = folder.join("models").join(kind);
            std::fs::create_dir_all(&to).unwrap();
            for file in std::fs::read_dir(bench.path(kind, "")).unwrap().flatten() {
                std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
            }
        }
        let file = folder.join("on-top.json");
        std::fs::write(&file, format!("{:#}\n", workflow(&stack, true, "SaveImage"))).unwrap();
        println!("{}", file.display());
    }
}
