//! What sampling costs beside the model: `cargo bench -p ebb-sampling`. Latents are those of pictures of 512 and
//! 1024 pixels.

use candle_core::{Device, Tensor};
use divan::Bencher;
use ebb_sampling::guidance::{Conditioning, Guidance, Hooks, Model, ModelCall};
use ebb_sampling::noise::brownian_noise;
use ebb_sampling::rng::{BrownianTree, Generator};
use ebb_sampling::{Job, LatentFormat, ModelSampling, Result, SampledModel, Sampler, Scheduler, sample};

fn main() {
    divan::main();
}

fn shape(pixels: usize) -> (usize, usize, usize, usize) {
    (1, 4, pixels / 8, pixels / 8)
}

#[divan::bench(args = [512, 1024])]
fn normal_noise(bencher: Bencher<'_, '_>, pixels: usize) {
    bencher.bench_local(|| Generator::new(1).randn(shape(pixels), &Device::Cpu));
}

#[divan::bench(args = [512, 1024])]
fn brownian_steps(bencher: Bencher<'_, '_>, pixels: usize) {
    let sigmas = Scheduler::Karras.sigmas(&ModelSampling::eps(), 20).expect("a schedule");
    bencher.bench_local(|| -> Result<()> {
        let tree = BrownianTree::new(1, 0.03, 14.6, shape(pixels), &Device::Cpu)?;
        for pair in sigmas.windows(2).take(4) {
            brownian_noise(&tree, pair[0], pair[1])?;
        }
        Ok(())
    });
}

#[divan::bench]
fn beta_schedule() -> Result<Vec<f64>> {
    Scheduler::Beta.sigmas(&ModelSampling::eps(), 30)
}

/// A model that costs nothing.
struct Free;

impl Model for Free {
    fn predict(&mut self, call: &ModelCall<'_>) -> Result<Tensor> {
        Ok(call.x.clone())
    }
}

/// Twenty steps with guidance.
#[divan::bench(args = ["euler", "dpmpp_2m", "uni_pc", "dpm_adaptive", "deis", "sa_solver", "dpmpp_2m_sde"])]
fn twenty_steps(bencher: Bencher<'_, '_>, name: &str) {
    let sampling = ModelSampling::eps();
    let sampler: Sampler = name.parse().expect("a sampler");
    let sigmas = Scheduler::Karras.sigmas(&sampling, 20).expect("a schedule");
    let noise = Generator::new(1).randn(shape(512), &Device::Cpu).expect("noise");
    let latent = noise.zeros_like().expect("zeros");
    let prompt = || {
        Conditioning::prompt(Tensor::zeros((1, 77, 768), noise.dtype(), &Device::Cpu).expect("prompt"), None)
    };
    let guidance = Guidance::Cfg { positive: vec![prompt()], negative: vec![prompt()], scale: 7.0 };
    bencher.bench_local(|| {
        let sampled = SampledModel {
            model: &mut Free,
            sampling: &sampling,
            latent_format: &LatentFormat::SD1,
            hooks: &Hooks::default(),
        };
        let (guidance, sampler, sigmas, noise, latent) = (&guidance, &sampler, &sigmas, &noise, &latent);
        sample(sampled, &Job { guidance, sampler, sigmas, noise, latent, denoise_mask: None, seed: 1 }, &())
    });
}
