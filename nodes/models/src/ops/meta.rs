//! The backend that only counts: every activation is a number of bytes that lives as long as its handle.
//!
//! A model's own code runs on it, so that an estimate can't drift away from what the model really does.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{
    Act, Activation, Attention, Cols, Conv, ConvShape, Data, Dims, Epilogue, GroupNorm, HeadNorm, LayerNorm,
    Linear, Norm, Out, Parts, Precision,
    weights::{ConvData, LinearData},
};
use ebb_kernels::{DType, PackedConv, PackedLinear, Planned, PoolPlan, ProductSize, Storage, Workspace};

use crate::{Result, source::Stored};

/// Bytes that count until they are dropped.
pub(crate) struct Block {
    place: Planned,
    dtype: DType,
    pool: Arc<Mutex<PoolPlan>>,
}

fn lock(pool: &Mutex<PoolPlan>) -> MutexGuard<'_, PoolPlan> {
    pool.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Block {
    fn drop(&mut self) {
        lock(&self.pool).give(&self.place);
    }
}

pub(super) struct Meta {
    precision: Precision,
    /// What operators take while they run.
    workspace: Workspace,
    pool: Arc<Mutex<PoolPlan>>,
    operations: AtomicU64,
}

/// What a network that computes takes beside the pool: the stacks of the threads that work on it, small tensors, and the
/// gaps that these leave in the heap, and a large page that is given whole. As measured: 0.2 to 4.3 MB, for models of 17 MB and of 2 GB
/// alike.
const BESIDE: usize = 6 << 20;

impl Meta {
    pub(super) fn new(precision: Precision, workspace: Workspace) -> Self {
        Self { precision, workspace, pool: Arc::default(), operations: AtomicU64::new(0) }
    }

    /// Another of the same kind, with nothing counted yet.
    pub(super) fn another(&self) -> Self {
        self.in_precision(self.precision)
    }

    pub(super) fn in_precision(&self, precision: Precision) -> Self {
        Self::new(precision, self.workspace)
    }

    pub(super) fn peak(&self) -> usize {
        lock(&self.pool).peak()
    }

    pub(super) fn peak_pages(&self) -> usize {
        lock(&self.pool).peak_pages() + BESIDE
    }

    pub(super) fn reset_peak(&self) {
        lock(&self.pool).reset_peak();
    }

    /// Multiplications and additions of products so far.
    pub(super) fn operations(&self) -> u64 {
        self.operations.load(Ordering::Relaxed)
    }

    /// Counts a product of `rows` rows by a matrix.
    fn multiplies(&self, rows: usize, depth: usize, outputs: usize) {
        self.operations.fetch_add(2 * rows as u64 * depth as u64 * outputs as u64, Ordering::Relaxed);
    }

    fn act(&self, dims: Dims, out: Out) -> Act {
        let dtype = if out == Out::Operand { self.precision.of_kernels().dtype() } else { DType::F32 };
        let place = lock(&self.pool).take(dims.len() * dtype.size());
        Act { dims, data: Data::Meta(Block { place, dtype, pool: self.pool.clone() }) }
    }

    /// Counts what an operator takes while it runs, beside its result.
    fn runs_with(&self, bytes: &[usize]) {
        let mut pool = lock(&self.pool);
        let taken: Vec<_> = bytes.iter().filter(|b| **b > 0).map(|b| pool.take(*b)).collect();
        taken.iter().for_each(|place| pool.give(place));
    }

    /// What the kernels would store: never wider than the file.
    fn storage(&self, parts: &Parts) -> Storage {
        match (self.precision, parts.stored) {
            (Precision::Bf16, _) | (_, Stored::Bf16) => Storage::Bf16,
            (_, Stored::F32) => Storage::F32,
            (_, Stored::F16) => Storage::F16,
        }
    }

    pub(super) fn pack_linear(
        &self,
        parts: Parts,
        bias: Option<Vec<f32>>,
        [output, input]: [usize; 2],
        glu: Option<Activation>,
    ) -> Result<Linear> {
        let precision = self.precision.of_kernels();
        let storage = match &parts.blocks {
            Some(blocks) => PackedLinear::storage_of(&blocks.kinds, precision),
            None => self.storage(&parts),
        };
        let bytes = PackedLinear::bytes_for(output, input, glu.is_some(), bias.is_some(), storage)?;
        Ok(Linear { input, output, glu, bytes, data: LinearData::Meta(storage) })
    }

    pub(super) fn pack_conv(&self, weight: Parts, bias: Option<Vec<f32>>, shape: [usize; 4]) -> Result<Conv> {
        let [output, input, kh, kw] = shape;
        let storage = self.storage(&weight);
        let bytes = PackedConv::bytes_for(output, input, [kh, kw], bias.is_some(), storage)?;
        Ok(Conv { input, output, kernel: [kh, kw], bytes, data: ConvData::Meta(storage) })
    }

    pub(super) fn upload(&self, dims: Dims, _values: &[f32]) -> Result<Act> {
        Ok(self.act(dims, Out::Stream))
    }

    pub(super) fn download(&self, x: &Act) -> Result<Vec<f32>> {
        Ok(vec![0.0; x.dims.len()])
    }

    pub(super) fn linear(&self, linear: &Linear, x: &Act, e: Epilogue<'_>) -> Result<Act> {
        let y = self.act(x.dims.with_c(linear.result()), e.out);
        let LinearData::Meta(storage) = linear.data else { return Ok(y) };
        self.multiplies(x.dims.rows(), linear.input, linear.output);
        self.runs_with(&self.workspace.product(ProductSize {
            rows: x.dims.rows(),
            input_rows: x.dims.rows(),
            inputs: &[(linear.input, dtype(x))],
            outputs: linear.output,
            taps: 1,
            storage,
            precision: self.precision.of_kernels(),
            tiles: None,
        }));
        Ok(y)
    }

    pub(super) fn conv(&self, conv: &Conv, x: &[&Act], shape: ConvShape, e: Epilogue<'_>) -> Result<Act> {
        let d = x[0].dims;
        let (h, w) = shape.output(d.h, d.w, conv.kernel);
        let y = self.act(Dims { n: d.n, h, w, c: conv.output }, e.out);
        let ConvData::Meta(storage) = conv.data else { return Ok(y) };
        let inputs: Vec<_> = x.iter().map(|x| (x.dims.c, dtype(x))).collect();
        self.multiplies(y.dims.rows(), conv.kernel[0] * conv.kernel[1] * conv.input, conv.output);
        let plain = conv.kernel == [3, 3] && shape.stride == 1 && shape.pad == [1; 4];
        self.runs_with(&self.workspace.product(ProductSize {
            rows: y.dims.rows(),
            input_rows: d.rows(),
            inputs: &inputs,
            outputs: conv.output,
            taps: conv.kernel[0] * conv.kernel[1],
            storage,
            precision: self.precision.of_kernels(),
            tiles: plain.then(|| d.n * h.div_ceil(4) * w.div_ceil(4)),
        }));
        Ok(y)
    }

    pub(super) fn attention(&self, a: Attention<'_>) -> Result<Act> {
        let (q, k) = (a.q.act.dims, a.k.act.dims);
        let y = self.act(q.with_c(a.v.len), Out::Operand);
        let head = a.q.len / a.heads;
        // Scores, and weighted values.
        self.multiplies(2 * q.rows(), a.q.len, k.positions());
        self.runs_with(&self.workspace.attention(q.n, k.positions(), a.heads, head, dtype(a.k.act)));
        Ok(y)
    }

    pub(super) fn group_norm(&self, x: &[&Act], _norm: &Norm, how: GroupNorm) -> Result<Act> {
        let d = x[0].dims;
        let y = self.act(d.with_c(x.iter().map(|x| x.dims.c).sum()), how.out);
        self.runs_with(&self.workspace.group_norm(d.n, d.positions(), y.dims.c));
        Ok(y)
    }

    pub(super) fn layer_norm(&self, x: &Act, how: LayerNorm<'_>) -> Result<Act> {
        Ok(self.act(x.dims, how.out))
    }

    pub(super) fn rms_norm(&self, x: &Act, _norm: &Norm, _eps: f32, out: Out) -> Result<Act> {
        Ok(self.act(x.dims, out))
    }

    pub(super) fn head_norm(&self, _x: &mut Act, _how: HeadNorm<'_>) -> Result<()> {
        Ok(())
    }

    pub(super) fn activate(&self, x: &Act, _activation: Activation, out: Out) -> Result<Act> {
        Ok(self.act(x.dims, out))
    }

    pub(super) fn prelu(&self, x: &Act, _slope: &Norm) -> Result<Act> {
        Ok(self.act(x.dims, Out::Stream))
    }

    pub(super) fn add(&self, a: &Act, _b: &Act, _scale: f32) -> Result<Act> {
        Ok(self.act(a.dims, Out::Stream))
    }

    pub(super) fn concat_channels(&self, x: &[&Act]) -> Result<Act> {
        Ok(self.act(x[0].dims.with_c(x.iter().map(|x| x.dims.c).sum()), Out::Stream))
    }

    pub(super) fn concat_tokens(&self, x: &[&Act], out: Out) -> Result<Act> {
        let d = x[0].dims;
        Ok(self.act(Dims::tokens(d.n, x.iter().map(|x| x.dims.positions()).sum(), d.c), out))
    }

    pub(super) fn slice(&self, x: Cols<'_>, _start: usize, len: usize) -> Result<Act> {
        Ok(self.act(Dims::tokens(x.act.dims.n, len, x.len), Out::Operand))
    }

    pub(super) fn gather(&self, x: &Act, index: &[u32]) -> Result<Act> {
        Ok(self.act(Dims::tokens(x.dims.n, index.len(), x.dims.c), Out::Stream))
    }

    pub(super) fn resize_nearest(&self, x: &Act, h: usize, w: usize) -> Result<Act> {
        Ok(self.act(Dims { h, w, ..x.dims }, Out::Stream))
    }

    pub(super) fn pixel_shuffle(&self, x: &Act, factor: usize) -> Result<Act> {
        let Dims { n, h, w, c } = x.dims;
        Ok(self.act(Dims { n, h: h * factor, w: w * factor, c: c / (factor * factor) }, Out::Stream))
    }
}

/// The element type of an activation.
fn dtype(x: &Act) -> DType {
    match &x.data {
        Data::Meta(block) => block.dtype,
        _ => DType::F32,
    }
}
