//! The one seam between models and what computes them.
//!
//! Models are written once, against [`Ops`]: activations ([`Act`]) in one layout from the model's first layer to
//! its last (NHWC pixels, which are also tokens), prepared weights ([`Linear`], [`Conv`], [`Norm`]) and a dozen
//! operators whose epilogues fuse what follows them. Three backends sit behind it:
//!
//! * [`Ops::cpu`]: the kernels of `ebb-kernels`, with packed weights and pooled buffers;
//! * [`Ops::candle`]: candle's operators on any of its devices, for GPUs and as a second opinion in tests;
//! * [`Ops::meta`]: shapes only. It runs a model's own code to learn its bytes before anything is loaded.

mod act;
mod args;
mod candle;
mod cpu;
mod device;
mod fused;
mod meta;
mod rows;
mod values;
mod weights;

use std::sync::Arc;

use candle_core::{Device, Tensor};
use ebb_kernels::{Kernels, Workspace};

pub(crate) use act::Data;
pub use act::{Act, Cols, Dims};
pub use args::{Activation, Attention, ConvShape, Epilogue, GroupNorm, HeadNorm, LayerNorm, Mask, Out, Rope};
pub use device::Compute;
pub(crate) use weights::TableValues;
pub use weights::{Conv, Linear, Norm, Table};

pub(crate) use values::with_values;
pub(crate) use weights::{Blocks, ConvData, LinearData, Parts};

use crate::Result;

/// What the matrix products compute in. Sums, norms and the residual stream stay in f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// f32 operands: the reference's numbers.
    #[default]
    F32,
    /// bf16 operands, f32 sums: faster where the processor has it, within the reference's own bf16 error.
    Bf16,
}

/// A backend, shared by everything that one model loads and runs.
#[derive(Clone)]
pub struct Ops(Arc<Backend>);

enum Backend {
    Cpu(cpu::Cpu),
    Candle(candle::Candle),
    Meta(meta::Meta),
}

macro_rules! dispatch {
    ($self:ident, $b:ident => $call:expr) => {
        match &*$self.0 {
            Backend::Cpu($b) => $call,
            Backend::Candle($b) => $call,
            Backend::Meta($b) => $call,
        }
    };
}

/// A tensor of any shape that holds a single zero: what a backend that only counts is given and gives. A real one
/// would take the memory that the count is to tell of beforehand.
///
/// # Errors
/// None that a shape could cause; candle's type says so nowhere.
pub fn blank(dims: &[usize]) -> Result<Tensor> {
    Ok(Tensor::zeros((), candle_core::DType::F32, &Device::Cpu)?.broadcast_as(dims)?)
}

impl Ops {
    /// The kernels, with what they share: workers and a pool of buffers.
    pub fn cpu(kernels: Kernels, precision: Precision) -> Self {
        Self(Arc::new(Backend::Cpu(cpu::Cpu::new(kernels, precision))))
    }

    /// The same workers and memory, with products in another precision.
    #[must_use]
    pub fn in_precision(&self, precision: Precision) -> Self {
        Self(Arc::new(match &*self.0 {
            Backend::Cpu(cpu) => Backend::Cpu(cpu::Cpu::new(cpu.kernels().clone(), precision)),
            Backend::Candle(candle) => Backend::Candle(candle.in_precision(precision)),
            Backend::Meta(meta) => Backend::Meta(meta.in_precision(precision)),
        }))
    }

    /// candle's operators on `device`.
    pub fn candle(device: Device, precision: Precision) -> Self {
        Self(Arc::new(Backend::Candle(candle::Candle::new(device, precision))))
    }

    /// No values at all: weights and activations are counted as the kernels would hold them, with one worker a
    /// processor on this machine's best path. [`Ops::counting`] counts as an existing backend would.
    pub fn meta(precision: Precision) -> Self {
        let workers = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
        Self(Arc::new(Backend::Meta(meta::Meta::new(
            precision,
            Workspace::new(workers, ebb_kernels::Path::best()),
        ))))
    }

    /// A backend that counts what this one would take.
    pub fn counting(&self) -> Self {
        let meta = match &*self.0 {
            Backend::Cpu(cpu) => meta::Meta::new(cpu.precision(), cpu.kernels().workspace()),
            Backend::Candle(candle) => return Self::meta(candle.precision()),
            Backend::Meta(meta) => meta.another(),
        };
        Self(Arc::new(Backend::Meta(meta)))
    }

    /// Gives activation memory that nobody uses back to the system.
    pub fn trim(&self) -> usize {
        match &*self.0 {
            Backend::Cpu(cpu) => cpu.kernels().pool().trim(),
            Backend::Candle(_) | Backend::Meta(_) => 0,
        }
    }

    /// The most bytes that activations and scratch reached over since the last [`Ops::reset_peak`], gaps between
    /// them included: what the process held for them.
    /// `None` where the backend does not count them.
    pub fn peak_bytes(&self) -> Option<usize> {
        match &*self.0 {
            Backend::Cpu(cpu) => Some(cpu.kernels().pool().stats().peak_held),
            Backend::Candle(_) => None,
            Backend::Meta(meta) => Some(meta.peak()),
        }
    }

    /// What the system gives for the peak of a backend that only counts, in whole pages, and for the little that a network
    /// takes beside its pool: what a plan reckons with.
    /// `None` for one that computes.
    pub fn peak_pages(&self) -> Option<usize> {
        match &*self.0 {
            Backend::Cpu(_) | Backend::Candle(_) => None,
            Backend::Meta(meta) => Some(meta.peak_pages()),
        }
    }

    /// Starts a new peak from what is alive now.
    pub fn reset_peak(&self) {
        match &*self.0 {
            Backend::Cpu(cpu) => cpu.kernels().pool().reset_peak(),
            Backend::Candle(_) => {}
            Backend::Meta(meta) => meta.reset_peak(),
        }
    }

    /// Multiplications and additions of matrix products, convolutions and attention so far, as their definitions have
    /// them; `None` where the backend does not count them. For benchmarks.
    pub fn operations(&self) -> Option<u64> {
        match &*self.0 {
            Backend::Meta(meta) => Some(meta.operations()),
            Backend::Cpu(_) | Backend::Candle(_) => None,
        }
    }

    // ---- weights -------------------------------------------------------------------------------------------

    /// Prepares a `[out, in]` matrix. With `glu` its rows are (value, gate) halves and the product yields
    /// `value * glu(gate)`.
    pub(crate) fn pack_linear(
        &self,
        parts: Parts,
        bias: Option<Vec<f32>>,
        shape: [usize; 2],
        glu: Option<Activation>,
    ) -> Result<Linear> {
        dispatch!(self, b => b.pack_linear(parts, bias, shape, glu))
    }

    /// Prepares an OIHW convolution kernel.
    pub(crate) fn pack_conv(&self, weight: Parts, bias: Option<Vec<f32>>, shape: [usize; 4]) -> Result<Conv> {
        dispatch!(self, b => b.pack_conv(weight, bias, shape))
    }

    /// Reads a table of rows into memory that is handed on from weights to weights. Asked for where
    /// [`reads_in_place`](Self::reads_in_place) says so.
    pub(crate) fn pack_table(
        &self,
        file: &dyn crate::source::FileTensor,
    ) -> Result<ebb_kernels::PackedTable> {
        let Backend::Cpu(cpu) = &*self.0 else { return Err(cpu::foreign()) };
        let packed = cpu.kernels().threads().run(|| ebb_kernels::PackedTable::new(file));
        packed.map_err(|e| file.error().unwrap_or(crate::Error::Kernel(e)))
    }

    /// Whether weight values are looked at at all; without it a loader need not read them.
    pub(crate) fn wants_values(&self) -> bool {
        !matches!(&*self.0, Backend::Meta(_))
    }

    /// Whether matrices may stay in the blocks that a file stores them in.
    pub(crate) fn keeps_blocks(&self) -> bool {
        !matches!(&*self.0, Backend::Candle(_))
    }

    /// Whether matrices are packed straight from their files.
    pub(crate) fn reads_in_place(&self) -> bool {
        matches!(&*self.0, Backend::Cpu(_))
    }

    // ---- in and out ----------------------------------------------------------------------------------------

    /// An activation from row-major values (`n`, `h`, `w`, `c`).
    pub fn upload(&self, dims: Dims, values: &[f32]) -> Result<Act> {
        debug_assert_eq!(dims.len(), values.len());
        dispatch!(self, b => b.upload(dims, values))
    }

    /// The values of an activation, row-major (`n`, `h`, `w`, `c`).
    pub fn download(&self, x: &Act) -> Result<Vec<f32>> {
        dispatch!(self, b => b.download(x))
    }

    /// An NCHW tensor as an activation.
    pub fn from_nchw(&self, x: &Tensor) -> Result<Act> {
        let (n, c, h, w) = x.dims4()?;
        let dims = Dims { n, h, w, c };
        if let Backend::Meta(meta) = &*self.0 {
            return meta.upload(dims, &[]);
        }
        match &*self.0 {
            Backend::Cpu(cpu) => with_values(x, |values| cpu.upload_nchw(dims, values)),
            _ => with_values(&x.permute((0, 2, 3, 1))?, |values| self.upload(dims, values)),
        }
    }

    /// An activation as an NCHW f32 tensor on the CPU.
    pub fn to_nchw(&self, x: &Act) -> Result<Tensor> {
        let Dims { n, h, w, c } = x.dims();
        match &*self.0 {
            Backend::Cpu(cpu) => {
                return Ok(Tensor::from_vec(cpu.download_nchw(x)?, (n, c, h, w), &Device::Cpu)?);
            }
            Backend::Meta(_) => return blank(&[n, c, h, w]),
            Backend::Candle(_) => {}
        }
        let nhwc = Tensor::from_vec(self.download(x)?, (n, h, w, c), &Device::Cpu)?;
        Ok(nhwc.permute((0, 3, 1, 2))?.contiguous()?)
    }

    /// An `[n, tokens, c]` tensor as an activation.
    pub fn from_tokens(&self, x: &Tensor) -> Result<Act> {
        let (n, t, c) = x.dims3()?;
        if let Backend::Meta(meta) = &*self.0 {
            return meta.upload(Dims::tokens(n, t, c), &[]);
        }
        with_values(x, |values| self.upload(Dims::tokens(n, t, c), values))
    }

    /// An activation as an `[n, tokens, c]` f32 tensor on the CPU.
    pub fn to_tokens(&self, x: &Act) -> Result<Tensor> {
        let d = x.dims();
        if let Backend::Meta(_) = &*self.0 {
            return blank(&[d.n, d.positions(), d.c]);
        }
        Ok(Tensor::from_vec(self.download(x)?, (d.n, d.positions(), d.c), &Device::Cpu)?)
    }

    // ---- operators -----------------------------------------------------------------------------------------

    /// `x · Wᵀ + b` on every position, then the epilogue.
    pub fn linear(&self, linear: &Linear, x: &Act, epilogue: Epilogue<'_>) -> Result<Act> {
        if let LinearData::Streamed(streamed) = &linear.data {
            let parts = streamed.parts(self)?;
            let shape = [linear.output, linear.input];
            let read = self.pack_linear(parts, streamed.bias.clone(), shape, linear.glu)?;
            return dispatch!(self, b => b.linear(&read, x, epilogue));
        }
        dispatch!(self, b => b.linear(linear, x, epilogue))
    }

    /// A convolution over one activation, or over two side by side in their channels.
    pub fn conv(&self, conv: &Conv, x: &[&Act], shape: ConvShape, epilogue: Epilogue<'_>) -> Result<Act> {
        if let ConvData::Streamed(streamed) = &conv.data {
            let parts = streamed.parts(self)?;
            let [height, width] = conv.kernel;
            let dims = [conv.output, conv.input, height, width];
            let read = self.pack_conv(parts, streamed.bias.clone(), dims)?;
            return dispatch!(self, b => b.conv(&read, x, shape, epilogue));
        }
        dispatch!(self, b => b.conv(conv, x, shape, epilogue))
    }

    /// Scaled dot-product attention over columns of activations.
    pub fn attention(&self, attention: Attention<'_>) -> Result<Act> {
        dispatch!(self, b => b.attention(attention))
    }

    /// Group normalisation of one activation, or of two side by side in their channels.
    pub fn group_norm(&self, x: &[&Act], norm: &Norm, how: GroupNorm) -> Result<Act> {
        dispatch!(self, b => b.group_norm(x, norm, how))
    }

    /// Layer normalisation over channels, optionally modulated per sample: `y · (1 + scale) + shift`.
    pub fn layer_norm(&self, x: &Act, how: LayerNorm<'_>) -> Result<Act> {
        dispatch!(self, b => b.layer_norm(x, how))
    }

    /// Root-mean-square normalisation over channels.
    pub fn rms_norm(&self, x: &Act, norm: &Norm, eps: f32, out: Out) -> Result<Act> {
        dispatch!(self, b => b.rms_norm(x, norm, eps, out))
    }

    /// Normalises and rotates heads in place, in some columns of an activation.
    pub fn head_norm(&self, x: &mut Act, how: HeadNorm<'_>) -> Result<()> {
        dispatch!(self, b => b.head_norm(x, how))
    }

    /// `activation(x)`.
    pub fn activate(&self, x: &Act, activation: Activation, out: Out) -> Result<Act> {
        dispatch!(self, b => b.activate(x, activation, out))
    }

    /// `x` where positive, else `slope · x` with a slope for each channel.
    pub fn prelu(&self, x: &Act, slope: &Norm) -> Result<Act> {
        dispatch!(self, b => b.prelu(x, slope))
    }

    /// `a + scale · b`.
    pub fn add(&self, a: &Act, b: &Act, scale: f32) -> Result<Act> {
        dispatch!(self, k => k.add(a, b, scale))
    }

    /// Activations side by side in their channels.
    pub fn concat_channels(&self, x: &[&Act]) -> Result<Act> {
        dispatch!(self, b => b.concat_channels(x))
    }

    /// Sequences one after the other, sample by sample.
    pub fn concat_tokens(&self, x: &[&Act]) -> Result<Act> {
        dispatch!(self, b => b.concat_tokens(x, Out::Operand))
    }

    /// As [`Ops::concat_tokens`], of the residual stream.
    pub fn concat_stream(&self, x: &[&Act]) -> Result<Act> {
        dispatch!(self, b => b.concat_tokens(x, Out::Stream))
    }

    /// Positions `start..start + len` of every sample, some columns of them.
    pub fn slice(&self, x: Cols<'_>, start: usize, len: usize) -> Result<Act> {
        dispatch!(self, b => b.slice(x, start, len))
    }

    /// Positions of every sample in another order: `index` says for each where it stands now.
    pub(crate) fn gather(&self, x: &Act, index: &[u32]) -> Result<Act> {
        debug_assert_eq!(x.dims().positions(), index.len());
        dispatch!(self, b => b.gather(x, index))
    }

    /// Nearest-neighbour resize.
    pub fn resize_nearest(&self, x: &Act, h: usize, w: usize) -> Result<Act> {
        dispatch!(self, b => b.resize_nearest(x, h, w))
    }

    /// Squares of `factor` positions as channels, channel-major: PyTorch's `pixel_shuffle` and its inverse.
    pub fn pixel_shuffle(&self, x: &Act, factor: usize) -> Result<Act> {
        dispatch!(self, b => b.pixel_shuffle(x, factor))
    }
}
