//! Every scaling of `images.safetensors` against ours.

use std::collections::HashMap;

use candle_core::{Device, Tensor};
use ebb_nodes::pixels::{self, Crop, Method};

fn parse(key: &str) -> Option<(bool, Method, usize, usize, Crop)> {
    let parts: Vec<&str> = key.split('.').collect();
    let (image, crop) = match parts.as_slice() {
        ["image_scale", _, _, crop] => (true, crop.parse().unwrap()),
        ["latent_upscale", _, _] => (false, Crop::Disabled),
        _ => return None,
    };
    let (width, height) = parts[2].split_once('x').unwrap();
    Some((image, parts[1].parse().unwrap(), width.parse().unwrap(), height.parse().unwrap(), crop))
}

#[test]
fn every_scaling_matches_the_reference() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/reference/math/images.safetensors");
    let tensors: HashMap<String, Tensor> = candle_core::safetensors::load(file, &Device::Cpu).unwrap();
    let mut checked = 0;
    for (key, expected) in &tensors {
        let Some((image, method, width, height, crop)) = parse(key) else { continue };
        let ours = if image {
            pixels::image(&tensors["input"], width, height, method, crop).unwrap()
        } else {
            pixels::latent(&tensors["latent"], width, height, method, crop).unwrap()
        };
        assert_eq!(ours.dims(), expected.dims(), "{key}");
        let difference = (ours - expected).unwrap().abs().unwrap().flatten_all().unwrap();
        let worst = difference.max(0).unwrap().to_scalar::<f32>().unwrap();
        // Lanczos works on 8 bits: equal means equal.
        let bound = if method == Method::Lanczos { 1e-6 } else { 2e-5 };
        assert!(worst <= bound, "{key}: {worst} > {bound}");
        checked += 1;
    }
    assert_eq!(checked, 45, "the kit has 30 image and 15 latent scalings");
}
