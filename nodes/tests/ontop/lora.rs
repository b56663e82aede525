//! LoRAs as views: the kit's numbers, stacks, sharing, memory.

use ebb_nodes::values::{Conditioning, Model};
use serde_json::{Value as Json, json};

use crate::support::{BOUND, Bench, Kit, Probed, difference, node, payload};

fn bench(kit: &Kit) -> Bench {
    let bench = Bench::new();
    bench.write("checkpoints", "sd1.safetensors", &kit.tensors("tensors", ""));
    bench.write("loras", "style.safetensors", &kit.tensors("lora", ""));
    for name in ["x", "timestep", "context"] {
        bench.give(name, &kit.io[name]);
    }
    bench
}

/// Loads the checkpoint as node 1 and puts LoRAs of these files and strengths on it, one on the other.
fn stack(loras: &[(&str, f64, f64)]) -> (serde_json::Map<String, Json>, String) {
    let mut workflow = serde_json::Map::new();
    workflow.insert("1".into(), node("CheckpointLoaderSimple", json!({"ckpt_name": "sd1.safetensors"})));
    let mut last = "1".to_owned();
    for (i, (name, model, clip)) in loras.iter().enumerate() {
        let id = format!("lora{i}");
        let inputs = json!({"model": [last, 0], "clip": [last, 1], "lora_name": name,
            "strength_model": model, "strength_clip": clip});
        workflow.insert(id.clone(), node("LoraLoader", inputs));
        last = id;
    }
    (workflow, last)
}

/// The same, with one call of the denoiser behind it.
fn probe(loras: &[(&str, f64, f64)]) -> Json {
    let (mut workflow, last) = stack(loras);
    workflow.insert("probe".into(), node("Probe", json!({"model": [last, 0]})));
    workflow.insert("catch".into(), node("Catch", json!({"value": ["probe", 0]})));
    Json::Object(workflow)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lora_through_its_node_gives_the_references_numbers() {
    let kit = Kit::open("sd1");
    let bench = bench(&kit);
    let found = bench.run(probe(&[("style.safetensors", 0.8, 0.6)])).await;
    let error = difference(&payload::<Probed>(&found[0]).0, &kit.io["lora.unet_output"]);
    assert!(error < BOUND, "denoiser: {error}");
    assert!(bench.texts().is_empty(), "{:?}", bench.texts());
    for (i, prompt) in kit.manifest["prompts"].as_array().unwrap().iter().enumerate() {
        let (mut workflow, last) = stack(&[("style.safetensors", 0.8, 0.6)]);
        workflow.insert("e".into(), node("CLIPTextEncode", json!({"clip": [last, 1], "text": prompt})));
        workflow.insert("c".into(), node("Catch", json!({"value": ["e", 0]})));
        let found = bench.run(Json::Object(workflow)).await;
        let entry = payload::<Conditioning>(&found[0]).entries[0].clone();
        let error = difference(&entry.cross_attn.unwrap(), &kit.io[&format!("lora.clip.{i}")]);
        assert!(error < BOUND, "prompt {i}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lora_taken_back_leaves_the_base() {
    let kit = Kit::open("sd1");
    let bench = bench(&kit);
    let there_and_back = [("style.safetensors", 0.8, 1.0), ("style.safetensors", -0.8, -1.0)];
    let found = bench.run(probe(&there_and_back)).await;
    let error = difference(&payload::<Probed>(&found[0]).0, &kit.io["output"]);
    assert!(error < BOUND, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strength_of_zero_is_the_base_itself() {
    let kit = Kit::open("sd1");
    let bench = bench(&kit);
    let (mut workflow, last) = stack(&[("style.safetensors", 0.0, 0.0)]);
    workflow.insert("c".into(), node("Catch", json!({"value": [last, 0]})));
    let found = bench.run(Json::Object(workflow)).await;
    assert_eq!(payload::<Model>(&found[0]).specs().count(), 1);
    let (mut workflow, last) = stack(&[("style.safetensors", 1.0, 0.0)]);
    workflow.insert("c".into(), node("Catch", json!({"value": [last, 0]})));
    let found = bench.run(Json::Object(workflow)).await;
    let specs: Vec<_> = payload::<Model>(&found[0]).specs().cloned().collect();
    let [base, view] = specs.as_slice() else { panic!("{specs:?}") };
    assert!(view.bytes * 4 < base.bytes, "{} of {}", view.bytes, base.bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_loras_in_turn_hold_no_more_than_one() {
    let kit = Kit::open("sd1");
    let bench = bench(&kit);
    let mut held = Vec::new();
    for i in 0..10 {
        let name = format!("style-{i}.safetensors");
        bench.write("loras", &name, &kit.tensors("lora", &format!("{i} ")));
        let found = bench.run(probe(&[(&name, 0.8, 0.0)])).await;
        // Each is another picture, and none is the base's.
        assert!(difference(&payload::<Probed>(&found[0]).0, &kit.io["output"]) > 10.0 * BOUND);
        drop(found);
        held.push(bench.held());
    }
    assert!(held[1..].iter().all(|bytes| *bytes == held[1]), "{held:?}");
    println!("held after each of ten LoRAs: {held:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_fit_no_module_are_told() {
    let kit = Kit::open("sd1");
    let bench = bench(&kit);
    let mut lora = kit.tensors("lora", "");
    let stray = lora.values().next().unwrap().clone();
    lora.insert("lora_unet_of_another_family.lora_up.weight".into(), stray);
    bench.write("loras", "stray.safetensors", &lora);
    bench.run(probe(&[("stray.safetensors", 1.0, 1.0)])).await;
    let texts = bench.texts();
    assert!(texts.len() == 1 && texts[0].contains("lora_unet_of_another_family"), "{texts:?}");
}

/// The example workflow runs on the kit's models; a picture is saved.
#[tokio::test(flavor = "multi_thread")]
async fn the_example_of_loras_and_a_controlnet_runs() {
    let (kit, bench) = (Kit::open("sd1"), Bench::new());
    bench.write("checkpoints", "tiny-sd1.safetensors", &kit.tensors("tensors", ""));
    bench.write("controlnet", "tiny-control.safetensors", &kit.tensors("controlnet", ""));
    for i in 0..2 {
        bench.write("loras", &format!("tiny-{i}.safetensors"), &kit.tensors("lora", &format!("{i}.")));
    }
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/loras-and-controlnet.json");
    let workflow: Json = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    bench.run(workflow).await;
    assert!(bench.folder.path().join("output/on-top_00001_.png").is_file());
}
