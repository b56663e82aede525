//! Pictures as prompts: an unCLIP checkpoint from its single file, against ComfyUI 0.3.64 on the same procedural model.

use ebb_nodes::values::Conditioning;
use serde_json::{Value as Json, json};

use crate::layers::{RUN, Run, procedural_of, reference, sampled};
use crate::support::{Bench, Kit, difference, node, payload};

/// Lotus has the same parts: SD 2's UNet, told a task in place of a picture.
#[tokio::test(flavor = "multi_thread")]
async fn lotus_draws_what_comfyui_draws() {
    let (kit, expected) = (Kit::open("sd2"), reference("pictured.safetensors"));
    let bench = Bench::new();
    let mut tensors = kit.tensors("tensors", "");
    tensors.extend(procedural_of("pictured.json", "lotus.label", "lotus"));
    bench.write("checkpoints", "sd1.safetensors", &tensors);
    let found = sampled(&bench, &kit, Run { cfg: Some(2.0), ..Run::default() }).await;
    let error = difference(&found, &expected["lotus"]);
    assert!(error < RUN, "{error}");
    // The prompt that its files were trained with.
    let parts = json!({"prompt": node("LotusConditioning", json!({})),
        "catch": node("Catch", json!({"value": ["prompt", 0]}))});
    let prompt = payload::<Conditioning>(&bench.run(parts).await[0]).entries[0].cross_attn.clone().unwrap();
    assert_eq!(prompt.dims(), [1, 2, 1024]);
    assert_eq!(prompt.flatten_all().unwrap().to_vec1::<f32>().unwrap()[..2], [-0.313_476_56, -0.447_509_77]);
}

/// SD 2 with a picture's vector in place of size and score, and the encoder that its checkpoints bring.
fn bench(kit: &Kit) -> Bench {
    let bench = Bench::new();
    let mut tensors = kit.tensors("tensors", "");
    for part in ["unclip.label", "unclip.vision"] {
        tensors.extend(procedural_of("pictured.json", part, "unclip"));
    }
    bench.write("checkpoints", "unclip.safetensors", &tensors);
    bench.give("image", &reference("layers.safetensors")["vision.image"]);
    bench
}

/// The nodes before the sampler: `shown` are the pictures of a batch of two, with strength and noise.
fn nodes(shown: &[(&'static str, f64, f64)]) -> Vec<(&'static str, Json)> {
    let v = json!({"model": ["ckpt", 0], "sampling": "v_prediction", "zsnr": false});
    let of = |index: i64, length: i64| json!({"image": ["image", 0], "batch_index": index, "length": length});
    let mut nodes = vec![
        ("ckpt", node("unCLIPCheckpointLoader", json!({"ckpt_name": "unclip.safetensors"}))),
        ("patched", node("ModelSamplingDiscrete", v)),
        ("image", node("Given", json!({"name": "image"}))),
        ("first", node("ImageFromBatch", of(0, 1))),
        ("second", node("ImageFromBatch", of(1, 1))),
    ];
    let mut before = "positive";
    for (i, (picture, strength, noise)) in shown.iter().enumerate() {
        let (seen, prompt) = [("seen0", "prompt0"), ("seen1", "prompt1")][i];
        let look = json!({"clip_vision": ["ckpt", 3], "image": [picture, 0], "crop": "center"});
        nodes.push((seen, node("CLIPVisionEncode", look)));
        let inputs = json!({"conditioning": [before, 0], "clip_vision_output": [seen, 0], "strength": strength,
            "noise_augmentation": noise});
        nodes.push((prompt, node("unCLIPConditioning", inputs)));
        before = prompt;
    }
    nodes
}

#[tokio::test(flavor = "multi_thread")]
async fn unclip_models_draw_what_comfyui_draws() {
    let (kit, expected) = (Kit::open("sd2"), reference("pictured.safetensors"));
    let bench = bench(&kit);
    let cases = [
        ("none", Vec::new(), None),
        ("one", vec![("first", 0.8, 0.3)], Some("prompt0")),
        // Three pictures in all: noise once on each and once on their sum.
        ("merged", vec![("image", 0.8, 0.3), ("second", -0.5, 0.1)], Some("prompt1")),
    ];
    for (name, shown, prompt) in cases {
        let run = Run { nodes: nodes(&shown), prompt, ..Run::default() };
        let found = sampled(&bench, &kit, run).await;
        let error = difference(&found, &expected[&format!("unclip.run.{name}")]);
        assert!(error < RUN, "{name}: {error}");
    }
}
