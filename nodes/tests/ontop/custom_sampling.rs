//! Noise, guidance, sampler and sigmas taken apart: what `KSampler` does in one node, they do together.

use candle_core::Tensor;
use ebb_nodes::values::{Latent, Sigmas};
use serde_json::{Map, Value as Json, json};

use crate::support::{Bench, Kit, difference, node, payload};

/// A picture's settings, small.
fn parts() -> Map<String, Json> {
    let mut parts = Map::new();
    parts.insert("ckpt".into(), node("CheckpointLoaderSimple", json!({"ckpt_name": "sd1.safetensors"})));
    parts.insert("yes".into(), node("CLIPTextEncode", json!({"clip": ["ckpt", 1], "text": "a red apple"})));
    parts.insert("no".into(), node("CLIPTextEncode", json!({"clip": ["ckpt", 1], "text": ""})));
    parts.insert(
        "empty".into(),
        node("EmptyLatentImage", json!({"width": 64, "height": 96, "batch_size": 2})),
    );
    parts.insert("sampler".into(), node("KSamplerSelect", json!({"sampler_name": "euler"})));
    let schedule = json!({"model": ["ckpt", 0], "scheduler": "normal", "steps": 4, "denoise": 1.0});
    parts.insert("sigmas".into(), node("BasicScheduler", schedule));
    parts.insert("noise".into(), node("RandomNoise", json!({"noise_seed": 42})));
    let guider = json!({"model": ["ckpt", 0], "positive": ["yes", 0], "negative": ["no", 0], "cfg": 5.0});
    parts.insert("guider".into(), node("CFGGuider", guider));
    parts
}

fn caught(mut workflow: Map<String, Json>, values: &[(&str, u32)]) -> Json {
    for (i, (id, slot)) in values.iter().enumerate() {
        workflow.insert(format!("catch{i}"), node("Catch", json!({"value": [id, slot]})));
    }
    Json::Object(workflow)
}

async fn latents(bench: &Bench, workflow: Json) -> Vec<Tensor> {
    bench.run(workflow).await.iter().map(|value| payload::<Latent>(value).samples.clone()).collect()
}

fn bench() -> Bench {
    let bench = Bench::new();
    bench.write("checkpoints", "sd1.safetensors", &Kit::open("sd1").tensors("tensors", ""));
    bench
}

#[tokio::test(flavor = "multi_thread")]
async fn the_parts_do_what_ksampler_does() {
    let bench = bench();
    let mut workflow = parts();
    workflow.insert(
        "ksampler".into(),
        node(
            "KSampler",
            json!({"model": ["ckpt", 0], "positive": ["yes", 0], "negative": ["no", 0],
            "latent_image": ["empty", 0], "seed": 42, "steps": 4, "cfg": 5.0, "sampler_name": "euler",
            "scheduler": "normal", "denoise": 1.0}),
        ),
    );
    workflow.insert(
        "custom".into(),
        node(
            "SamplerCustom",
            json!({"model": ["ckpt", 0], "positive": ["yes", 0], "negative": ["no", 0],
            "latent_image": ["empty", 0], "add_noise": true, "noise_seed": 42, "cfg": 5.0,
            "sampler": ["sampler", 0], "sigmas": ["sigmas", 0]}),
        ),
    );
    workflow.insert(
        "advanced".into(),
        node(
            "SamplerCustomAdvanced",
            json!({"noise": ["noise", 0], "guider": ["guider", 0],
            "sampler": ["sampler", 0], "sigmas": ["sigmas", 0], "latent_image": ["empty", 0]}),
        ),
    );
    let wanted = [("ksampler", 0), ("custom", 0), ("custom", 1), ("advanced", 0), ("advanced", 1)];
    let found = latents(&bench, caught(workflow, &wanted)).await;
    // The nodes run in an order of the plan's choosing, and all five are one picture: the last step of Euler ends
    // on the clean latent itself.
    assert_eq!(found.len(), wanted.len());
    for latent in &found[1..] {
        assert!(difference(latent, &found[0]) < 1e-5, "{}", difference(latent, &found[0]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn halves_of_a_schedule_are_the_whole() {
    let bench = bench();
    let sample = |noise: &str, latent: &str, sigmas: (&str, u32)| {
        node(
            "SamplerCustomAdvanced",
            json!({"noise": [noise, 0], "guider": ["guider", 0],
            "sampler": ["sampler", 0], "sigmas": [sigmas.0, sigmas.1], "latent_image": [latent, 0]}),
        )
    };
    let mut whole = parts();
    whole.insert("whole".into(), sample("noise", "empty", ("sigmas", 0)));
    let whole = latents(&bench, caught(whole, &[("whole", 0)])).await;
    let mut halves = parts();
    halves.insert("split".into(), node("SplitSigmas", json!({"sigmas": ["sigmas", 0], "step": 2})));
    halves.insert("none".into(), node("DisableNoise", json!({})));
    halves.insert("high".into(), sample("noise", "empty", ("split", 0)));
    halves.insert("low".into(), sample("none", "high", ("split", 1)));
    let halves = latents(&bench, caught(halves, &[("low", 0)])).await;
    assert!(difference(&halves[0], &whole[0]) < 1e-4, "{}", difference(&halves[0], &whole[0]));
}

#[tokio::test(flavor = "multi_thread")]
async fn schedules_are_cut_turned_and_begun_anew() {
    let bench = bench();
    let mut workflow = parts();
    workflow.insert("turned".into(), node("FlipSigmas", json!({"sigmas": ["sigmas", 0]})));
    workflow.insert("begun".into(), node("SetFirstSigma", json!({"sigmas": ["sigmas", 0], "sigma": 5.0})));
    let found = bench.run(caught(workflow, &[("sigmas", 0), ("turned", 0), ("begun", 0)])).await;
    let mut found: Vec<Vec<f64>> = found.iter().map(|v| payload::<Sigmas>(v).0.clone()).collect();
    found.sort_by(|a, b| a[0].total_cmp(&b[0]));
    let [turned, begun, whole] = <[Vec<f64>; 3]>::try_from(found).unwrap();
    assert_eq!((whole.len(), whole[4]), (5, 0.0));
    assert_eq!(turned, [vec![f64::from(0.0001f32)], whole[..4].iter().rev().copied().collect()].concat());
    assert_eq!(begun, [vec![5.0], whole[1..].to_vec()].concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn added_noise_has_the_deviation_of_its_schedule() {
    let bench = bench();
    let mut workflow = parts();
    let inputs = json!({"model": ["ckpt", 0], "noise": ["noise", 0], "sigmas": ["sigmas", 0],
        "latent_image": ["empty", 0]});
    workflow.insert("noisy".into(), node("AddNoise", inputs));
    let found = bench.run(caught(workflow, &[("noisy", 0), ("sigmas", 0)])).await;
    let (mut noisy, mut first) = (None, 0.0);
    for value in &found {
        match value {
            ebb_engine::value::Value::Payload(p) if p.type_name() == "SIGMAS" => {
                first = payload::<Sigmas>(value).0[0];
            }
            _ => noisy = Some(payload::<Latent>(value).samples.clone()),
        }
    }
    let noisy = noisy.unwrap();
    let expected = ebb_sampling::noise::prepare_noise(&noisy, 42, None).unwrap();
    // In the autoencoder's scale, as latents travel.
    let expected = (expected * (first / 0.18215)).unwrap();
    assert!(difference(&noisy, &expected) < 1e-6);
}
