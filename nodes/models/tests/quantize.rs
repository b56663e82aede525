//! What each block type costs: the demo model's UNet, quantised, against itself in the file's own numbers.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use candle_core::{Device, Tensor};
use ebb_kernels::{Kernels, Pool, Threads};
use ebb_models::LoadOptions;
use ebb_models::denoiser::{Denoiser, Input, Session};
use ebb_models::ops::{Ops, Precision};
use ebb_models::quantize::{TYPES, quantize};
use ebb_models::source::Prefixed;
use ebb_models::unet::Unet;
use ebb_weights::{DType, ModelFile, WeightSource};

const PREFIX: &str = "model.diffusion_model.";

fn tensor(shape: &[usize], step: f64) -> Tensor {
    let count = shape.iter().product::<usize>();
    let values: Vec<f32> = (0..count).map(|i| (i as f64 * step).sin() as f32).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

fn predict(file: &Arc<ModelFile>) -> Vec<f32> {
    let ops = Ops::cpu(Kernels::new(Threads::new(2).unwrap(), Pool::new()).unwrap(), Precision::F32);
    let source = Prefixed::new(WeightSource::of_file(file), PREFIX);
    let unet = Unet::load(&ops, &source, LoadOptions::default()).unwrap();
    let x = tensor(&[1, unet.input_channels(), 16, 16], 0.37);
    let context = tensor(&[1, 77, unet.context_channels()], 0.11);
    let out = unet.denoise(&mut Session::new(), Input::new(&x, &[500.0], &context)).unwrap();
    out.flatten_all().unwrap().to_vec1().unwrap()
}

/// Root mean square of the difference over that of the first.
fn relative(a: &[f32], b: &[f32]) -> f64 {
    let square = |v: f32| f64::from(v).powi(2);
    let error: f64 = a.iter().zip(b).map(|(a, b)| square(a - b)).sum();
    (error / a.iter().map(|a| square(*a)).sum::<f64>()).sqrt()
}

#[test]
fn each_type_stays_within_its_error() {
    let folder = tempfile::tempdir().unwrap();
    let demo =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/checkpoints/tiny-emoji-sd1.safetensors");
    let file = ModelFile::open(&demo).unwrap();
    let exact = predict(&file);
    for dtype in TYPES {
        // About three times what was measured: docs/memory.md has the table.
        let bound = match dtype {
            DType::Q8_0 | DType::Q6K => 0.01,
            DType::Q5K | DType::Q5_1 | DType::Q5_0 | DType::Q4K => 0.05,
            DType::Q4_1 | DType::Q4_0 => 0.1,
            _ => 0.14,
        };
        let out = folder.path().join("out.gguf");
        let written = quantize(&file, &out, dtype, &mut |_, _| ControlFlow::Continue(())).unwrap();
        assert!(written.quantised > 0 && written.quantised < written.tensors);
        let error = relative(&exact, &predict(&ModelFile::open(&out).unwrap()));
        println!("{dtype}: {:.2} MiB, {error:.5}", written.bytes as f64 / f64::from(1 << 20));
        assert!(error > 1e-6, "{dtype}: nothing was quantised");
        assert!(error < bound, "{dtype}: error {error}");
    }
}

#[test]
fn a_stopped_one_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let demo =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/checkpoints/tiny-emoji-sd1.safetensors");
    let file = ModelFile::open(&demo).unwrap();
    let out = folder.path().join("out.gguf");
    let stop = |done, _| if done == 10 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
    let ended = quantize(&file, &out, DType::Q8_0, &mut { stop });
    assert!(matches!(ended, Err(ebb_models::Error::Cancelled)), "{ended:?}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    assert!(quantize(&file, &out, DType::F16, &mut |_, _| ControlFlow::Continue(())).is_err());
}
