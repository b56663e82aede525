//! Times a denoiser's steps on a single-file SD 1 checkpoint, and its autoencoder:
//!
//! ```text
//! cargo run --release -p ebb-models --example step -- FILE [SIZE] [STEPS] [f32|bf16]
//! cargo run --release -p ebb-models --example step -- FILE [SIZE] check
//! ```
//!
//! `check` compares one call of the UNet in both precisions with candle's operators in f32, as plain and with every
//! eleventh channel that convolutions read thirty times the others, and fails beyond the project's bounds. It holds the
//! UNet in f32 beside. Otherwise prints seconds to load, seconds of each step of a guided pair, what the pool allocated
//! afresh in it, and peaks.

#[path = "step/check.rs"]
mod check;
#[path = "step/outliers.rs"]
mod outliers;

use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use ebb_kernels::{Kernels, Pool, Threads};
use ebb_models::LoadOptions;
use ebb_models::denoiser::{Denoiser, Input, Session};
use ebb_models::ops::{Ops, Precision};
use ebb_models::source::Prefixed;
use ebb_models::unet::Unet;
use ebb_models::vae::Vae;
use ebb_weights::{ModelFile, WeightSource};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let file = args.next().ok_or("which file?")?;
    let size: usize = args.next().map_or(Ok(256), |s| s.parse())?;
    let rest: Vec<String> = args.collect();
    if rest.first().is_some_and(|a| a == "check") {
        return check::check(&file, size);
    }
    let mut args = rest.into_iter();
    let steps: usize = args.next().map_or(Ok(4), |s| s.parse())?;
    let precision = match args.next().as_deref() {
        Some("bf16") => Precision::Bf16,
        _ => Precision::F32,
    };
    let pool = Pool::new();
    let ops = Ops::cpu(Kernels::new(Threads::new(0)?, pool.clone())?, precision);
    let source = WeightSource::of_file(&ModelFile::open(file)?);

    let start = Instant::now();
    let unet = Unet::load(&ops, &Prefixed::new(&source, "model.diffusion_model."), LoadOptions::default())?;
    println!("UNet: {:.2} s to load, {} MB", start.elapsed().as_secs_f64(), unet.bytes() / 1_000_000);
    let cells = size / 8;
    let x = Tensor::randn(0f32, 1f32, (2, unet.input_channels(), cells, cells), &Device::Cpu)?;
    let context = Tensor::randn(0f32, 1f32, (2, 77, unet.context_channels()), &Device::Cpu)?;
    let y = match unet.y_channels() {
        Some(channels) => Some(Tensor::zeros((2, channels), DType::F32, &Device::Cpu)?),
        None => None,
    };
    let mut session = Session::new();
    let input = Input { y: y.as_ref(), ..Input::new(&x, &[500.0, 500.0], &context) };
    // The same code on the backend that only counts.
    let meta = ops.counting();
    let counted =
        Unet::load(&meta, &Prefixed::new(&source, "model.diffusion_model."), LoadOptions::default())?;
    println!("weights: {} MB predicted", counted.bytes() / 1_000_000);
    meta.reset_peak();
    counted.denoise(&mut Session::new(), input)?;
    let estimate = meta.peak_bytes().unwrap_or(0);
    pool.reset_peak();
    for step in 0..steps {
        let fresh = pool.stats().fresh_allocations;
        let start = Instant::now();
        unet.denoise(&mut session, input)?;
        let seconds = start.elapsed().as_secs_f64();
        println!("step {step}: {seconds:.3} s, {} buffers allocated", pool.stats().fresh_allocations - fresh);
    }
    report("denoise", &pool, estimate);
    drop((unet, session));
    pool.trim();

    let vae = Vae::load(&ops, &Prefixed::new(&source, "first_stage_model."), LoadOptions::default())?;
    let latent = Tensor::randn(0f32, 1f32, (1, vae.latent_channels(), cells, cells), &Device::Cpu)?;
    let meta = ops.counting();
    let counted = Vae::load(&meta, &Prefixed::new(&source, "first_stage_model."), LoadOptions::default())?;
    meta.reset_peak();
    counted.decode(&latent)?;
    let estimate = meta.peak_bytes().unwrap_or(0);
    pool.reset_peak();
    let start = Instant::now();
    vae.decode(&latent)?;
    println!("decode: {:.3} s", start.elapsed().as_secs_f64());
    report("decode", &pool, estimate);
    Ok(())
}

fn report(what: &str, pool: &Pool, estimate: usize) {
    let peak = pool.stats().peak;
    let share = 100.0 * peak as f64 / estimate as f64;
    println!(
        "{what}: peak {} MB, {share:.0}% of the estimate; pool holds {} MB",
        peak / 1_000_000,
        pool.stats().held / 1_000_000
    );
}
