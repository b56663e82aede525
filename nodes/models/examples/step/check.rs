//! A whole UNet in both precisions beside candle's operators in f32.

use std::error::Error;

use candle_core::{Device, Tensor};
use ebb_kernels::{Kernels, Pool, Threads};
use ebb_models::LoadOptions;
use ebb_models::denoiser::{Denoiser, Input, Session};
use ebb_models::ops::{Ops, Precision};
use ebb_models::source::{Prefixed, Source};
use ebb_models::unet::Unet;
use ebb_weights::{ModelFile, WeightSource};

use crate::outliers::Outliers;

/// Fails where a precision is further from candle's f32 than the project's bounds.
pub(crate) fn check(file: &str, size: usize) -> Result<(), Box<dyn Error>> {
    let source = WeightSource::of_file(&ModelFile::open(file)?);
    let plain = Prefixed::new(&source, "model.diffusion_model.");
    let outliers = Outliers(Prefixed::new(&source, "model.diffusion_model."));
    let sources: [(&str, &dyn Source); 2] = [("as stored", &plain), ("outliers", &outliers)];
    let kernels = Kernels::new(Threads::new(0)?, Pool::new())?;
    let mut beyond = false;
    for (what, source) in sources {
        let expected = denoise(&Ops::candle(Device::Cpu, Precision::F32), source, size)?;
        for (precision, bound) in [(Precision::F32, 2e-5), (Precision::Bf16, 1.3e-2)] {
            let found = denoise(&Ops::cpu(kernels.clone(), precision), source, size)?;
            let error = difference(&found, &expected);
            println!("{what}, {precision:?}: relative RMS {error:.2e}, at most {bound:.1e}");
            beyond |= error > bound;
        }
    }
    if beyond { Err("a precision is beyond its bound".into()) } else { Ok(()) }
}

fn denoise(ops: &Ops, source: &dyn Source, size: usize) -> Result<Vec<f32>, Box<dyn Error>> {
    let unet = Unet::load(ops, source, LoadOptions::default())?;
    let wave = |dims: &[usize], step: f32| {
        let values: Vec<f32> = (0..dims.iter().product::<usize>()).map(|i| (i as f32 * step).sin()).collect();
        Tensor::from_vec(values, dims, &Device::Cpu)
    };
    let x = wave(&[2, unet.input_channels(), size / 8, size / 8], 0.731)?;
    let context = wave(&[2, 77, unet.context_channels()], 0.417)?;
    let y = unet.denoise(&mut Session::new(), Input::new(&x, &[600.0, 600.0], &context))?;
    Ok(y.flatten_all()?.to_vec1()?)
}

/// Root mean square of the difference over that of the expectation.
fn difference(found: &[f32], expected: &[f32]) -> f64 {
    let square = |v: f32| f64::from(v) * f64::from(v);
    let error: f64 = found.iter().zip(expected).map(|(a, b)| square(a - b)).sum();
    (error / expected.iter().map(|v| square(*v)).sum::<f64>()).sqrt()
}
