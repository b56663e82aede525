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
use serde_json::{Value as Json, json};

use support::{Bench, Kit, node, payload};

/// Two LoRAs and a ControlNet, as the example workflow has them.
const WORKFLOW: &str = include_str!("loras-and-controlnet.json");

/// The example workflow with these LoRAs on its model, and its ControlNet where `controlled`; what it samples is caught.
fn workflow(loras: &[(&str, f64)], controlled: bool) -> Json {
    let mut parts: Json = serde_json::from_str(WORKFLOW).unwrap();
    for id in ["decode", "save", "lora0", "lora1"] {
        parts.as_object_mut().unwrap().remove(id);
    }
    let (mut model, mut clip) = (json!(["ckpt", 0]), json!(["ckpt", 1]));
    for (i, (name, strength)) in loras.iter().enumerate() {
        let id = format!("lora{i}");
        let inputs = json!({"model": model, "clip": clip, "lora_name": name,
            "strength_model": strength, "strength_clip": strength});
        parts[&id] = node("LoraLoader", inputs);
        (model, clip) = (json!([id, 0]), json!([id, 1]));
    }
    parts["sample"]["inputs"]["model"] = model;
    for side in ["positive", "negative"] {
        parts[side]["inputs"]["clip"] = clip.clone();
        if !controlled {
            parts["sample"]["inputs"][side] = json!([side, 0]);
        }
    }
    parts["catch"] = node("Catch", json!({"value": ["sample", 0]}));
    parts
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
        let values = bench.run(workflow(loras, controlled)).await;
        println!("{what}: root mean square {:.4}, {} held", size(&values), mib(bench.held()));
    }

    println!("ten LoRAs in turn, each for a whole sampling run:");
    for i in 0..10 {
        let name = name(i);
        let values = bench.run(workflow(&[(name.as_str(), 0.8)], false)).await;
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
        std::fs::write(&file, WORKFLOW).unwrap();
        println!("{}", file.display());
    }
}
