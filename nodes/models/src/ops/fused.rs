//! Attention in one kernel, where candle has one for a device: FlashAttention on CUDA, Metal's `sdpa`.
//!
//! Neither was ever run here: `docs/kernels.md` says how the code is kept compiling.

use candle_core::Tensor;

use crate::Result;

/// Queries, keys and values, `[batch, heads, tokens, head]`, and how they meet.
#[cfg_attr(
    not(any(feature = "flash-attn", feature = "metal")),
    expect(dead_code, reason = "without a GPU's feature nothing reads what it is given")
)]
pub(super) struct Fused<'a> {
    pub(super) q: &'a Tensor,
    pub(super) k: &'a Tensor,
    pub(super) v: &'a Tensor,
    pub(super) scale: f32,
    pub(super) causal: bool,
}

impl Fused<'_> {
    /// The result, `[batch, heads, tokens, head]`; none where no kernel takes these sizes on this device.
    pub(super) fn run(&self) -> Result<Option<Tensor>> {
        #[cfg(feature = "flash-attn")]
        if let Some(y) = self.flash()? {
            return Ok(Some(y));
        }
        #[cfg(feature = "metal")]
        if let Some(y) = self.metal()? {
            return Ok(Some(y));
        }
        Ok(None)
    }

    #[cfg(feature = "flash-attn")]
    fn flash(&self) -> Result<Option<Tensor>> {
        use candle_core::DType;
        let head = self.q.dim(3)?;
        let takes = matches!(self.q.dtype(), DType::BF16 | DType::F16) && head % 8 == 0 && head <= 256;
        if !(self.q.device().is_cuda() && takes) {
            return Ok(None);
        }
        // It wants tokens before heads.
        let turned = |x: &Tensor| x.transpose(1, 2)?.contiguous();
        let (q, k, v) = (turned(self.q)?, turned(self.k)?, turned(self.v)?);
        let y = candle_flash_attn::flash_attn(&q, &k, &v, self.scale, self.causal)?;
        Ok(Some(y.transpose(1, 2)?.contiguous()?))
    }

    #[cfg(feature = "metal")]
    fn metal(&self) -> Result<Option<Tensor>> {
        let (_, _, queries, head) = self.q.dims4()?;
        let keys = self.k.dim(2)?;
        let takes = [32, 64, 72, 80, 96, 128, 256].contains(&head) && queries > 1;
        if !(self.q.device().is_metal() && takes) || (self.causal && queries > keys) {
            return Ok(None);
        }
        Ok(Some(candle_nn::ops::sdpa(self.q, self.k, self.v, None, self.causal, self.scale, 1.0)?))
    }
}
