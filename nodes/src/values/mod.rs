//! The values that travel between these nodes.
//!
//! Tensors are f32 on the CPU: images `[batch, height, width, channels]` in 0..1, masks
//! `[batch, height, width]` in 0..1, latents `[batch, channels, height / 8, width / 8]`.

mod autoencoder;
mod clip;
mod conditioning;
mod control;
mod counted;
pub(crate) mod handle;
mod image;
mod language;
mod latent;
mod mask;
pub(crate) mod model;
mod sampler;
mod seen;
mod t5;
pub(crate) mod tensors;
mod upscale_model;
mod vae;
mod ways;

pub use autoencoder::{Autoencoder, Kind as VaeKind};
pub use clip::{Clip, LoadedClip, Prompts};
pub use conditioning::Conditioning;
pub use control::{Control, ControlNet, Guide, LoadedControlNet};
pub(crate) use control::{GuideKind, HINT_SCALE, Read};
pub use handle::{Handle, Loaded, Network};
pub use image::{Image, ImageShape};
pub(crate) use language::Language;
pub use latent::{Latent, LatentShape};
pub use mask::{Mask, MaskShape};
pub(crate) use model::load_progress;
pub use model::{LoadedDenoiser, Model, Patch, Reuse};
pub use sampler::{ChosenSampler, Guider, Noise, Sigmas};
pub use seen::{Boxes, PhraseBox, Shown, VisionOutput};
pub(crate) use t5::T5;
pub use upscale_model::{LoadedUpscaler, UpscaleModel};
pub use vae::{LoadedVae, Vae};

use candle_core::{DType, Device, Tensor};
use ebb_engine::node::NodeError;

/// A tensor library's failure as a node's.
pub(crate) trait OrNode<T> {
    /// Keeps the value; an error becomes the node's.
    fn or_node(self) -> Result<T, NodeError>;
}

impl<T> OrNode<T> for candle_core::Result<T> {
    fn or_node(self) -> Result<T, NodeError> {
        self.map_err(|e| NodeError::failed(format!("tensor operation: {e}")))
    }
}

/// A model crate's failure as a node's: the file is at fault, or the caller stopped.
pub(crate) fn model_error(label: &str, error: ebb_models::Error) -> NodeError {
    match error {
        ebb_models::Error::Cancelled => NodeError::cancelled(),
        ebb_models::Error::Kernel(e @ ebb_kernels::KernelError::OutOfMemory { .. }) => {
            NodeError::memory(format!("{label}: {e}"))
        }
        ebb_models::Error::Candle(e) => NodeError::failed(format!("{label}: tensor operation: {e}")),
        other => NodeError::model(format!("{label}: {other}")),
    }
}

/// Sampling's failure as a node's.
pub(crate) fn sampling_error(error: ebb_sampling::Error) -> NodeError {
    match error {
        ebb_sampling::Error::Cancelled => NodeError::cancelled(),
        other => NodeError::failed(other.to_string()),
    }
}

/// The bytes that a tensor of f32 with these dimensions holds, if that can be counted.
pub(crate) fn f32_bytes(dims: &[usize]) -> Option<u64> {
    dims.iter().try_fold(4u64, |n, &d| n.checked_mul(u64::try_from(d).ok()?))
}

/// The bytes of a tensor's elements.
pub(crate) fn tensor_bytes(tensor: &Tensor) -> u64 {
    (tensor.elem_count() * tensor.dtype().size_in_bytes()) as u64
}

/// A tensor's elements in row-major order.
pub(crate) fn elements(tensor: &Tensor) -> Result<Vec<f32>, NodeError> {
    tensor.to_dtype(DType::F32).and_then(|t| t.flatten_all()).and_then(|t| t.to_vec1()).or_node()
}

/// Rounded to whole numbers, halves to the even one as PyTorch does it; candle's own rounding takes them away from zero.
/// A mask that was scaled to half its size is full of halves.
pub(crate) fn round(tensor: &Tensor) -> Result<Tensor, NodeError> {
    let rounded = elements(tensor)?.into_iter().map(f32::round_ties_even).collect();
    self::tensor(rounded, tensor.dims())
}

/// A CPU tensor of elements in row-major order.
pub(crate) fn tensor(elements: Vec<f32>, dims: &[usize]) -> Result<Tensor, NodeError> {
    Tensor::from_vec(elements, dims, &Device::Cpu).or_node()
}

/// Batches of different length side by side: the shorter one is repeated, as ComfyUI does it.
pub(crate) fn repeat_to_batch(tensor: &Tensor, batch: usize) -> Result<Tensor, NodeError> {
    let have = tensor.dim(0).or_node()?;
    if have == batch {
        return Ok(tensor.clone());
    }
    if have > batch {
        return tensor.narrow(0, 0, batch).or_node();
    }
    let copies = vec![tensor; batch.div_ceil(have.max(1))];
    Tensor::cat(&copies, 0).and_then(|t| t.narrow(0, 0, batch)).or_node()
}
