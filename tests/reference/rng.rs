//! `math/rng.safetensors`: PyTorch's generator, noise of latent batches, torchsde's Brownian tree.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{Device, Tensor};
use ebb_sampling::noise::{brownian_noise, prepare_noise};
use ebb_sampling::rng::{BrownianTree, Generator};

use crate::support::{AnyResult, Family, Report, max_difference, tensors, values};

pub(crate) const FAMILY: Family = Family { name: "math/rng", files: &["math/rng.safetensors"], check };

/// The last bits of `log` and `cos` differ between maths libraries.
const BOUND: f64 = 1e-6;

fn check(folder: &Path, report: &mut Report) -> AnyResult {
    let mut sequences = BTreeMap::new();
    for (key, expected) in tensors(&folder.join("math/rng.safetensors"))? {
        let error = difference(&key, &expected, &mut sequences);
        report.record_result(&key, error, BOUND);
    }
    Ok(())
}

fn difference(key: &str, expected: &Tensor, sequences: &mut BTreeMap<u64, Generator>) -> AnyResult<f64> {
    let (kind, rest) = key.split_once('.').ok_or("a key without a dot")?;
    match kind {
        "randn" => {
            let (seed, shape) = rest.split_once('.').ok_or("no shape")?;
            let drawn = Generator::new(seed.parse()?).randn(dims(shape)?, &Device::Cpu)?;
            if drawn.elem_count() == expected.elem_count() {
                max_difference(&drawn, expected)
            } else {
                max_difference(&summary(&drawn)?, expected)
            }
        }
        "rand" => {
            let (seed, shape) = rest.split_once('.').ok_or("no shape")?;
            max_difference(&Generator::new(seed.parse()?).rand(dims(shape)?, &Device::Cpu)?, expected)
        }
        // Draws a, b, c5, d of one generator; the file's order of names is their order.
        "sequence" => {
            let (seed, _) = rest.split_once('.').ok_or("no name")?;
            let seed = seed.parse()?;
            let generator = sequences.entry(seed).or_insert_with(|| Generator::new(seed));
            max_difference(&generator.randn(expected.dims(), &Device::Cpu)?, expected)
        }
        "prepare_noise" => {
            let (seed, indices) = rest.split_once(".batch_index_").ok_or("no batch_index")?;
            let indices = indices.split('_').map(str::parse).collect::<Result<Vec<usize>, _>>()?;
            max_difference(&prepare_noise(expected, seed.parse()?, Some(&indices))?, expected)
        }
        "brownian" => brownian(rest, expected),
        _ => Err(format!("unknown kind `{kind}`").into()),
    }
}

/// `SEED.T0-T1.callN.A-B`; the times have decimal points of their own.
fn brownian(rest: &str, expected: &Tensor) -> AnyResult<f64> {
    let (seed, rest) = rest.split_once('.').ok_or("no interval")?;
    let (interval, call) = rest.split_once(".call").ok_or("no call")?;
    let (_, step) = call.split_once('.').ok_or("no step")?;
    let pair = |text: &str| -> AnyResult<(f64, f64)> {
        let (a, b) = text.split_once('-').ok_or("no pair of times")?;
        Ok((f64::from(a.parse::<f32>()?), f64::from(b.parse::<f32>()?)))
    };
    let (start, end) = pair(interval)?;
    let (from, to) = pair(step)?;
    let tree = BrownianTree::new(seed.parse()?, start, end, expected.dims(), &Device::Cpu)?;
    max_difference(&brownian_noise(&tree, from, to)?, expected)
}

fn dims(text: &str) -> AnyResult<Vec<usize>> {
    Ok(text.split('x').map(str::parse).collect::<Result<_, _>>()?)
}

/// First 32, last 32, mean and standard deviation: how the file keeps large draws.
fn summary(drawn: &Tensor) -> AnyResult<Tensor> {
    let drawn = values(drawn)?;
    let count = drawn.len() as f64;
    let mean = drawn.iter().map(|v| f64::from(*v)).sum::<f64>() / count;
    let variance = drawn.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / (count - 1.0);
    let mut kept = [&drawn[..32], &drawn[drawn.len() - 32..]].concat();
    kept.extend([mean as f32, variance.sqrt() as f32]);
    Ok(Tensor::new(kept, &Device::Cpu)?)
}
