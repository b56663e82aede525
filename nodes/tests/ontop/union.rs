//! Control networks that tell kinds of hints apart, on the kit's SDXL, against ComfyUI 0.3.64.

use serde_json::{Value as Json, json};

use crate::layers::{RUN, Run, procedural_of, reference, sampled};
use crate::support::{Bench, Kit, difference, node};

/// A hint that a network is told the kind of: kind, hint, strength, start, end.
type Shown = (Option<&'static str>, &'static str, f64, f64, f64);

fn nodes(shown: &[Shown]) -> Vec<(&'static str, Json)> {
    let mut nodes = vec![
        ("patched", node("CheckpointLoaderSimple", json!({"ckpt_name": "sd1.safetensors"}))),
        ("hint", node("Given", json!({"name": "hint"}))),
        ("flipped", node("ImageFlip", json!({"image": ["hint", 0], "flip_method": "y-axis: horizontally"}))),
        ("other", node("ImageInvert", json!({"image": ["flipped", 0]}))),
        ("net", node("ControlNetLoader", json!({"control_net_name": "union.safetensors"}))),
    ];
    let mut before = (["positive", "negative"], 0);
    for (i, (kind, hint, strength, start, end)) in shown.iter().enumerate() {
        let (told, apply) = [("kind0", "apply0"), ("kind1", "apply1")][i];
        let net = match kind {
            Some(kind) => {
                let inputs = json!({"control_net": ["net", 0], "type": kind});
                nodes.push((told, node("SetUnionControlNetType", inputs)));
                told
            }
            None => "net",
        };
        let ([positive, negative], output) = before;
        let inputs = json!({"positive": [positive, 0], "negative": [negative, output], "control_net": [net, 0],
            "image": [hint, 0], "strength": strength, "start_percent": start, "end_percent": end});
        nodes.push((apply, node("ControlNetApplyAdvanced", inputs)));
        before = ([apply, apply], 1);
    }
    nodes
}

#[tokio::test(flavor = "multi_thread")]
async fn union_networks_guide_as_in_comfyui() {
    let (kit, expected) = (Kit::open("sdxl"), reference("pictured.safetensors"));
    let bench = Bench::new();
    bench.write("checkpoints", "sd1.safetensors", &kit.tensors("tensors", ""));
    bench.write("controlnet", "union.safetensors", &procedural_of("pictured.json", "union", "union"));
    let hint = Kit::open("sd1").io["controlnet.hint"].narrow(0, 0, 1).unwrap();
    bench.give("hint", &hint.permute((0, 2, 3, 1)).unwrap().contiguous().unwrap());
    let kinds = ["depth", "canny/lineart/anime_lineart/mlsd", "openpose"];
    let cases: [(&str, Vec<Shown>); 6] = [
        ("plain", Vec::new()),
        ("none", vec![(None, "hint", 0.8, 0.0, 1.0)]),
        ("auto", vec![(Some("auto"), "hint", 0.8, 0.0, 1.0)]),
        ("depth", vec![(Some(kinds[0]), "hint", 0.8, 0.0, 1.0)]),
        ("canny", vec![(Some(kinds[1]), "hint", 0.8, 0.0, 1.0)]),
        ("both", vec![(Some(kinds[0]), "hint", 0.8, 0.0, 1.0), (Some(kinds[2]), "other", 0.5, 0.1, 0.9)]),
    ];
    for (name, shown) in cases {
        let prompt = [None, Some("apply0"), Some("apply1")][shown.len()];
        let run = Run { nodes: nodes(&shown), prompt, both: prompt.is_some(), ..Run::default() };
        let found = sampled(&bench, &kit, run).await;
        let error = difference(&found, &expected[&format!("union.{name}")]);
        assert!(error < RUN, "{name}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_that_a_network_was_not_trained_for_is_refused() {
    let kit = Kit::open("sdxl");
    let bench = Bench::new();
    bench.write("checkpoints", "sd1.safetensors", &kit.tensors("tensors", ""));
    bench.write("controlnet", "union.safetensors", &procedural_of("pictured.json", "union", "union"));
    let parts = json!({
        "net": node("ControlNetLoader", json!({"control_net_name": "union.safetensors"})),
        "kind": node("SetUnionControlNetType", json!({"control_net": ["net", 0], "type": "repaint"})),
        "catch": node("Catch", json!({"value": ["kind", 0]})),
    });
    let why = bench.try_run(parts).await.unwrap_err();
    assert!(why.contains("'repaint' is not among the 6 kinds"), "{why}");
}
