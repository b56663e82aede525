//! Where a sampler's random numbers come from.

use candle_core::{DType, Device, Tensor};

use crate::rng::{BrownianTree, Generator};
use crate::{Error, Result};

/// The noise that a latent starts from: `torch.randn` of the latent's shape.
///
/// With `batch_index` (a latent batch that was taken out of a larger one), item `i` gets the noise that it
/// would have had as item `batch_index[i]` of the larger batch; repeated indices share theirs.
pub fn prepare_noise(latent: &Tensor, seed: u64, batch_index: Option<&[usize]>) -> Result<Tensor> {
    let mut generator = Generator::new(seed);
    let Some(batch_index) = batch_index else {
        return generator.randn(latent.dims(), latent.device());
    };
    let [batch, rest @ ..] = latent.dims() else {
        return Err(Error::Shape {
            what: "latent",
            found: latent.dims().to_vec(),
            expected: "a batch axis".into(),
        });
    };
    if batch_index.len() != *batch {
        return Err(Error::Shape {
            what: "batch_index",
            found: vec![batch_index.len()],
            expected: format!("one index for each of the latent's {batch} items"),
        });
    }
    let item_shape: Vec<usize> = std::iter::once(1).chain(rest.iter().copied()).collect();
    let last = batch_index.iter().copied().max().unwrap_or(0);
    let mut items = vec![None; batch_index.len()];
    for index in 0..=last {
        // Drawn even when nobody asks for it: the draws before an item decide its noise.
        let noise = generator.randn(item_shape.as_slice(), latent.device())?;
        for (item, _) in items.iter_mut().zip(batch_index).filter(|(_, wanted)| **wanted == index) {
            *item = Some(noise.clone());
        }
    }
    let items: Vec<Tensor> = items.into_iter().flatten().collect();
    Ok(Tensor::cat(&items, 0)?)
}

/// The noise that a sampler adds between two sigmas.
pub(crate) trait NoiseSource {
    /// Noise of unit variance for the step from `sigma` to `sigma_next`.
    fn noise(&mut self, sigma: f64, sigma_next: f64) -> Result<Tensor>;
}

/// Independent normal noise at every step.
pub(crate) struct Independent {
    generator: Generator,
    shape: Vec<usize>,
    device: Device,
}

impl Independent {
    /// The stream of a job's seed, from its start.
    pub(crate) fn new(x: &Tensor, seed: u64) -> Self {
        let generator = Generator::new(seed);
        Self { generator, shape: x.dims().to_vec(), device: x.device().clone() }
    }
}

impl NoiseSource for Independent {
    fn noise(&mut self, _: f64, _: f64) -> Result<Tensor> {
        self.generator.randn(self.shape.as_slice(), &self.device)
    }
}

/// Increments of one Brownian path, so that steps of different sizes see the same randomness.
pub(crate) struct Brownian {
    seed: u64,
    low: f64,
    high: f64,
    shape: Vec<usize>,
    device: Device,
    /// Made when noise is first wanted: a schedule of one step has no interval, and wants none.
    tree: Option<BrownianTree>,
}

impl Brownian {
    /// The path over all sigmas above zero.
    pub(crate) fn new(x: &Tensor, sigmas: &[f64], seed: u64) -> Self {
        let low = sigmas.iter().copied().filter(|sigma| *sigma > 0.0).fold(f64::INFINITY, f64::min);
        let high = sigmas.iter().copied().fold(0.0, f64::max);
        Self { seed, low, high, shape: x.dims().to_vec(), device: x.device().clone(), tree: None }
    }
}

impl NoiseSource for Brownian {
    fn noise(&mut self, sigma: f64, sigma_next: f64) -> Result<Tensor> {
        let tree = match self.tree.take() {
            Some(tree) => tree,
            None => BrownianTree::new(self.seed, self.low, self.high, self.shape.as_slice(), &self.device)?,
        };
        brownian_noise(self.tree.insert(tree), sigma, sigma_next)
    }
}

/// The increment of `tree` from `sigma` to `sigma_next`, scaled to unit variance.
///
/// Sigmas are rounded to f32 first: that is how the reference stores them, and the tree's grid of six
/// decimals is fine enough to see the difference.
pub fn brownian_noise(tree: &BrownianTree, sigma: f64, sigma_next: f64) -> Result<Tensor> {
    let (from, to) = (sigma as f32, sigma_next as f32);
    let increment = tree.increment(f64::from(from), f64::from(to))?.to_dtype(DType::F32)?;
    Ok((increment / f64::from((to - from).abs().sqrt()))?)
}
