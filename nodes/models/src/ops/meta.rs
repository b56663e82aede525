//! The backend that only counts: every activation is a number of bytes that lives as long as its handle.
//!
//! A model's own code runs on it, so that an estimate can't drift away from what the model really does.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use super::{
    Act, Activation, Attention, Cols, Conv, ConvShape, Data, Dims, Epilogue, GroupNorm, HeadNorm, LayerNorm,
    Linear, Norm, Out, Parts, Precision,
    weights::{ConvData, LinearData},
};
use ebb_kernels::{PackedConv, PackedLinear, Storage};

use crate::{Result, source::Stored};

/// Bytes alive now, and the most that were.
#[derive(Default)]
struct Counter {
    live: AtomicUsize,
    peak: AtomicUsize,
}

/// Bytes that count until they are dropped.
pub(crate) struct Block {
    bytes: usize,
    counter: Arc<Counter>,
}

impl Drop for Block {
    fn drop(&mut self) {
        self.counter.live.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

pub(super) struct Meta {
    precision: Precision,
    counter: Arc<Counter>,
}

impl Meta {
    pub(super) fn new(precision: Precision) -> Self {
        Self { precision, counter: Arc::default() }
    }

    pub(super) fn peak(&self) -> usize {
        self.counter.peak.load(Ordering::Relaxed)
    }

    pub(super) fn reset_peak(&self) {
        self.counter.peak.store(self.counter.live.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Counts `bytes` until the block is dropped.
    fn block(&self, bytes: usize) -> Block {
        let live = self.counter.live.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.counter.peak.fetch_max(live, Ordering::Relaxed);
        Block { bytes, counter: self.counter.clone() }
    }

    fn act(&self, dims: Dims, out: Out) -> Act {
        let size = match (out, self.precision) {
            (Out::Operand, Precision::Bf16) => 2,
            _ => 4,
        };
        Act { dims, data: Data::Meta(self.block(dims.len() * size)) }
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
        let bytes =
            PackedLinear::bytes_for(output, input, glu.is_some(), bias.is_some(), self.storage(&parts))?;
        Ok(Linear { input, output, glu, bytes, data: LinearData::Meta })
    }

    pub(super) fn pack_conv(&self, weight: Parts, bias: Option<Vec<f32>>, shape: [usize; 4]) -> Result<Conv> {
        let [output, input, kh, kw] = shape;
        let bytes = PackedConv::bytes_for(output, input, [kh, kw], bias.is_some(), self.storage(&weight))?;
        Ok(Conv { input, output, kernel: [kh, kw], bytes, data: ConvData::Meta })
    }

    pub(super) fn upload(&self, dims: Dims, _values: &[f32]) -> Result<Act> {
        Ok(self.act(dims, Out::Stream))
    }

    pub(super) fn download(&self, x: &Act) -> Result<Vec<f32>> {
        Ok(vec![0.0; x.dims.len()])
    }

    pub(super) fn linear(&self, linear: &Linear, x: &Act, e: Epilogue<'_>) -> Result<Act> {
        Ok(self.act(x.dims.with_c(linear.result()), e.out))
    }

    pub(super) fn conv(&self, conv: &Conv, x: &[&Act], shape: ConvShape, e: Epilogue<'_>) -> Result<Act> {
        let d = x[0].dims;
        let (h, w) = shape.output(d.h, d.w, conv.kernel);
        Ok(self.act(Dims { n: d.n, h, w, c: conv.output }, e.out))
    }

    pub(super) fn attention(&self, a: Attention<'_>) -> Result<Act> {
        Ok(self.act(a.q.act.dims.with_c(a.v.len), Out::Operand))
    }

    pub(super) fn group_norm(&self, x: &[&Act], _norm: &Norm, how: GroupNorm) -> Result<Act> {
        Ok(self.act(x[0].dims.with_c(x.iter().map(|x| x.dims.c).sum()), how.out))
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

    pub(super) fn resize_nearest(&self, x: &Act, h: usize, w: usize) -> Result<Act> {
        Ok(self.act(Dims { h, w, ..x.dims }, Out::Stream))
    }

    pub(super) fn pixel_shuffle(&self, x: &Act, factor: usize) -> Result<Act> {
        let Dims { n, h, w, c } = x.dims;
        Ok(self.act(Dims { n, h: h * factor, w: w * factor, c: c / (factor * factor) }, Out::Stream))
    }
}
