//! Upscale models, and pictures and latents that are cut, turned and mixed.

use candle_core::{Device, Tensor};
use ebb_nodes::values::{Image, Latent};
use serde_json::json;

use crate::layers::{procedural_of, reference};
use crate::support::{BOUND, Bench, Kit, difference, node, payload};

#[tokio::test(flavor = "multi_thread")]
async fn an_upscale_model_gives_the_references_pixels() {
    let kit = Kit::open("esrgan-x4");
    let bench = Bench::new();
    bench.write("upscale_models", "x4.safetensors", &kit.tensors("tensors", ""));
    let input = kit.io["image"].permute((0, 2, 3, 1)).unwrap().contiguous().unwrap();
    bench.give("picture", &input);
    let found = bench
        .run(json!({
            "1": node("UpscaleModelLoader", json!({"model_name": "x4.safetensors"})),
            "2": node("Given", json!({"name": "picture"})),
            "3": node("ImageUpscaleWithModel", json!({"upscale_model": ["1", 0], "image": ["2", 0]})),
            "4": node("Catch", json!({"value": ["3", 0]})),
        }))
        .await;
    let expected = kit.io["output"].clamp(0f32, 1f32).unwrap().permute((0, 2, 3, 1)).unwrap();
    let found = payload::<Image>(&found[0]).tensor().clone();
    let error = difference(&found, &expected.contiguous().unwrap());
    assert!(error < BOUND, "{error}");
}

/// Against spandrel 0.4.2's networks on the same procedural weights: each way from features to pixels, windows of 4, 8
/// and 7, a picture that no window divides. The node gives pixels of 0 to 1.
#[tokio::test(flavor = "multi_thread")]
async fn swinir_gives_the_references_pixels() {
    let (bench, expected) = (Bench::new(), reference("swinir.safetensors"));
    bench.give("picture", &expected["x"].permute((0, 2, 3, 1)).unwrap().contiguous().unwrap());
    for name in ["shuffle", "direct", "nearest", "same"] {
        let tensors = procedural_of("swinir.json", name, &format!("swin.{name}"));
        bench.write("upscale_models", "swin.safetensors", &tensors);
        let found = bench
            .run(json!({
                "1": node("UpscaleModelLoader", json!({"model_name": "swin.safetensors"})),
                "2": node("Given", json!({"name": "picture"})),
                "3": node("ImageUpscaleWithModel", json!({"upscale_model": ["1", 0], "image": ["2", 0]})),
                "4": node("Catch", json!({"value": ["3", 0]})),
            }))
            .await;
        let expected = expected[name].clamp(0f32, 1f32).unwrap().permute((0, 2, 3, 1)).unwrap();
        let found = payload::<Image>(&found[0]).tensor().clone();
        let error = difference(&found, &expected.contiguous().unwrap());
        assert!(error < BOUND, "{name}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_are_cut_and_turned() {
    let bench = Bench::new();
    let picture = Tensor::arange(0f32, 6.0, &Device::Cpu).unwrap().reshape((1, 2, 3, 1)).unwrap();
    bench.give("picture", &picture);
    let cases = [
        ("ImageRotate", json!({"rotation": "90 degrees"}), vec![3.0, 0.0, 4.0, 1.0, 5.0, 2.0]),
        ("ImageRotate", json!({"rotation": "180 degrees"}), vec![5.0, 4.0, 3.0, 2.0, 1.0, 0.0]),
        ("ImageRotate", json!({"rotation": "270 degrees"}), vec![2.0, 5.0, 1.0, 4.0, 0.0, 3.0]),
        ("ImageFlip", json!({"flip_method": "x-axis: vertically"}), vec![3.0, 4.0, 5.0, 0.0, 1.0, 2.0]),
        ("ImageFlip", json!({"flip_method": "y-axis: horizontally"}), vec![2.0, 1.0, 0.0, 5.0, 4.0, 3.0]),
        ("ImageCrop", json!({"width": 9, "height": 1, "x": 1, "y": 1}), vec![4.0, 5.0]),
    ];
    for (class, mut inputs, expected) in cases {
        inputs["image"] = json!(["1", 0]);
        let found = bench
            .run(json!({
                "1": node("Given", json!({"name": "picture"})),
                "2": node(class, inputs),
                "3": node("Catch", json!({"value": ["2", 0]})),
            }))
            .await;
        assert_eq!(payload::<Image>(&found[0]).to_vec().unwrap(), expected, "{class}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn latents_are_added_to_and_cut() {
    let bench = Bench::new();
    let empty = json!({"width": 32, "height": 16, "batch_size": 1});
    let found = bench
        .run(json!({
            "a": node("EmptyLatentImage", empty),
            "b": node("LatentMultiply", json!({"samples": ["a", 0], "multiplier": 3.0})),
            "c": node("LatentSubtract", json!({"samples1": ["b", 0], "samples2": ["a", 0]})),
            "d": node("LatentConcat", json!({"samples1": ["c", 0], "samples2": ["a", 0], "dim": "x"})),
            "e": node("LatentCut", json!({"samples": ["d", 0], "dim": "x", "index": -3, "amount": 9})),
            "f": node("LatentBatch", json!({"samples1": ["e", 0], "samples2": ["e", 0]})),
            "g": node("Catch", json!({"value": ["f", 0]})),
        }))
        .await;
    let latent = payload::<Latent>(&found[0]);
    assert_eq!(latent.samples.dims(), [2, 4, 2, 3]);
    assert_eq!(latent.batch_index, Some(vec![0, 0]));
}
