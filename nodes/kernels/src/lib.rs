//! CPU kernels over slices and packed weights.
//!
//! Activations are channel-last: images are `[batch, height, width, channels]`, sequences `[rows, channels]`, so that
//! pixels are tokens and nothing is transposed between a convolution and a transformer. The residual stream is f32;
//! what feeds a matrix product may be f32 or bf16.
//!
//! - [`Kernels`] is the handle that operators hang on: worker [`Threads`], a [`Pool`] of counted buffers, and the
//!   [`Path`] of instructions.
//! - [`View`] and [`ViewMut`] are what operators read and write; [`Buf`] is a pooled buffer that gives both;
//!   [`Layout`] says where rows lie when they are not dense.
//! - [`PackedLinear`] and [`PackedConv`] are weights, packed once from a [`Source`] and never larger than it.
//! - Each operator is a method of [`Kernels`] that takes one struct of named arguments: [`Linear`], [`Conv2d`],
//!   [`Attention`], [`GroupNorm`], [`LayerNorm`], [`RmsNorm`], [`HeadNormRope`], [`Softmax`], [`Resize`].
//! - [`Workspace`] says what operators take from the pool while they run, and [`PoolPlan`] what a pool would hold: how
//!   much memory a model needs is known before it runs.
//! - [`Epilogue`] is what a linear layer or a convolution does to its result before it is stored.
//!
//! Sizes are checked at the door: a call that does not fit returns a [`KernelError`] and writes nothing.
//!
//! ```
//! use ebb_kernels::{Activation, Epilogue, Kernels, Linear, LinearSpec, PackedLinear, Pool, Residual, Threads};
//!
//! # fn main() -> Result<(), ebb_kernels::KernelError> {
//! let kernels = Kernels::new(Threads::new(2)?, Pool::new())?;
//! let weight = [1.0f32, 0.0, 0.0, 1.0, 1.0, 1.0]; // three outputs of two inputs
//! let spec = LinearSpec { in_features: 2, bias: Some(&[0.5, 0.0, 0.0]), ..Default::default() };
//! let layer = PackedLinear::new(&[weight.as_slice().into()], spec)?;
//!
//! let x = kernels.pool().copy_f32(&[3.0, -4.0])?;
//! let mut out = kernels.pool().copy_f32(&[100.0, 100.0, 100.0])?;
//! kernels.linear(Linear {
//!     x: x.view(),
//!     rows: 1,
//!     rows_per_sample: 0,
//!     w: &layer,
//!     epilogue: Epilogue { activation: Activation::Relu, residual: Residual::InPlace, ..Default::default() },
//!     x_layout: None,
//!     out: out.view_mut(),
//!     out_layout: None,
//! })?;
//! assert_eq!(out.as_f32(), [103.5, 100.0, 100.0]);
//! # Ok(()) }
//! ```
//!
//! Inside, every kernel is written once over a small vocabulary of vector operations (`simd`), and one implicit matrix
//! product (`gemm`) serves linear layers, convolutions and the score half of attention. `unsafe` is confined to this
//! crate's inner modules: pointers are made from slices whose lengths were checked, and tasks write disjoint parts.

mod activation;
mod attention;
mod conv;
mod elementwise;
mod error;
mod gemm;
pub mod heap;
mod kernels;
mod linear;
mod norm;
mod pack;
mod path;
mod pool;
mod probe;
mod scratch;
mod simd;
mod threads;
mod view;
mod winograd;
mod workspace;

pub use activation::Activation;
pub use attention::{Attention, Heads, Mask};
pub use conv::{Conv2d, Padding, Plane};
pub use elementwise::{Filter, Image, Resize, Softmax};
pub use error::{KernelError, Result};
pub use gemm::{Epilogue, Residual};
pub use kernels::Kernels;
pub use linear::Linear;
pub use norm::{GroupNorm, HeadNormRope, LayerNorm, Modulation, Pairs, RmsNorm, Rope};
pub use pack::{ConvSpec, LinearSpec, PackedConv, PackedLinear, PackedTable, Quant, Storage};
pub use path::Path;
pub use pool::{Buf, Planned, Pool, PoolPlan, PoolStats};
pub use threads::Threads;
pub use view::{DType, Layout, Precision, Rows, Source, Stored, View, ViewMut};
pub use workspace::{ProductSize, Workspace};
