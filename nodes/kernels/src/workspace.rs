//! What operators take from the pool while they run, for those who plan memory before anything runs.
//!
//! Every figure comes from the function that sizes the real thing.

use crate::pack::Storage;
use crate::path::Path;
use crate::simd::{LANES, tile_rows};
use crate::view::{DType, Precision};
use crate::{attention, gemm, kernels::Kernels, norm, winograd};

/// How many bytes operators take beside their outputs, with some number of workers on some path.
///
/// Each method returns the buffers that are alive together while the operator runs, in the order in which they are
/// taken; one may be 0 and is then not taken.
#[derive(Debug, Clone, Copy)]
pub struct Workspace {
    workers: usize,
    path: Path,
    winograd: bool,
}

/// The sizes of a linear layer or a convolution.
#[derive(Debug, Clone, Copy)]
pub struct ProductSize<'a> {
    /// Positions of the result, over all samples.
    pub rows: usize,
    /// Positions of the input.
    pub input_rows: usize,
    /// Channels and element type of each input.
    pub inputs: &'a [(usize, DType)],
    /// Rows of the weight.
    pub outputs: usize,
    /// Positions of a convolution's kernel; 1 for a linear layer.
    pub taps: usize,
    /// How the weights are stored.
    pub storage: Storage,
    /// What the layer was packed for.
    pub precision: Precision,
    /// The tiles of 4×4 results over all images, for a convolution that Winograd's form may serve: 3×3, stride 1, one
    /// pixel of zeros around.
    pub tiles: Option<usize>,
}

impl Kernels {
    /// What these kernels' operators take from their pool while they run.
    pub fn workspace(&self) -> Workspace {
        Workspace { workers: self.threads().count(), path: self.path(), winograd: self.uses_winograd() }
    }
}

impl Workspace {
    /// With a number of workers on a path.
    pub fn new(workers: usize, path: Path) -> Self {
        Self { workers, path, winograd: true }
    }

    /// A linear layer or a convolution.
    pub fn product(&self, size: ProductSize<'_>) -> [usize; 4] {
        let ProductSize { rows, input_rows, inputs, outputs, taps, storage, precision, tiles } = size;
        let compute = gemm::compute_type(self.path, precision);
        let k = inputs.iter().map(|x| x.0).sum();
        let tile = tile_rows(self.path);
        if let Some(tiles) = tiles
            && self.winograd
            && winograd::wins(taps, k, outputs, rows, compute)
        {
            let [a, b] = winograd::workspace(k, outputs.div_ceil(LANES), tiles, self.workers, tile);
            return [a, b, 0, 0];
        }
        let staged = gemm::staging(compute, inputs);
        let units: Vec<usize> = staged.iter().map(|x| x.units).collect();
        let copy =
            |i: usize| staged.get(i).map_or(0, |x| if x.copied { input_rows * x.units * 4 } else { 0 });
        let [scratch, zeros] = gemm::workspace(rows, tile, &units, taps, (compute, storage), self.workers);
        [copy(0), copy(1), scratch, zeros]
    }

    /// Attention of `heads` heads of `head_dim` over `keys` keys in each of `batch` samples. `dtype` is that of all
    /// three inputs.
    pub fn attention(
        &self,
        batch: usize,
        keys: usize,
        heads: usize,
        head_dim: usize,
        dtype: DType,
    ) -> [usize; 4] {
        let bf16 = dtype == DType::Bf16 && head_dim.is_multiple_of(2) && self.path.multiplies_bf16();
        // Keys and values are widened where they can't be multiplied as they are.
        let copy = if dtype == DType::Bf16 && !bf16 { batch * keys * heads * head_dim * 4 } else { 0 };
        let rows = tile_rows(self.path);
        let [pairs, scratch] = attention::workspace(keys, batch * heads, head_dim, rows, bf16, self.workers);
        [copy, copy.max(pairs), scratch, 0]
    }

    /// Group normalisation.
    pub fn group_norm(&self, batch: usize, pixels: usize, channels: usize) -> [usize; 2] {
        norm::group_workspace(batch, pixels, channels)
    }
}
