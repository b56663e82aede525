//! The text encoders of a family, and how their outputs become one conditioning.

use std::sync::Arc;

use candle_core::{D, DType, Device, Tensor};

use super::{Encoded, Token, encode_weighted};
use crate::{
    Error, Result,
    clip::{Clip, ClipReader, Reading},
    t5::{T5, T5Reader},
};

/// How the encoders' outputs are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Composition {
    /// ViT-L alone, last layer.
    Sd1,
    /// ViT-H alone, penultimate layer, normalised.
    Sd2,
    /// ViT-L beside bigG; pooled from bigG.
    Sdxl,
    /// bigG alone; pooled from it.
    SdxlRefiner,
    /// ViT-L beside bigG, widened with zeros, then T5's tokens; both pooled vectors side by side.
    Sd3,
    /// T5's tokens; pooled from ViT-L.
    Flux,
    /// A language model's tokens alone, which is no part of a [`Stack`].
    ZImage,
}

/// Weighted chunks of one encoder.
pub type Chunks = Vec<Vec<(Token, f32)>>;

/// A prompt as every encoder's tokenizer sees it; a family reads those that it has an encoder for.
#[derive(Debug, Clone, Default)]
pub struct Tokens {
    /// For ViT-L.
    pub l: Chunks,
    /// For bigG, or ViT-H.
    pub g: Chunks,
    /// For T5.
    pub t5: Chunks,
}

/// The encoders that are loaded.
#[derive(Clone)]
pub struct Stack {
    /// How they are put together.
    pub composition: Composition,
    /// ViT-L.
    pub l: Option<Arc<Clip>>,
    /// bigG, or ViT-H.
    pub g: Option<Arc<Clip>>,
    /// T5.
    pub t5: Option<Arc<T5>>,
    /// The layer that a clip-skip node asked for, counted from the end; `None` is the family's own.
    pub layer: Option<i32>,
    /// Whether pooled vectors are taken before their projection.
    pub unprojected: bool,
}

/// SD 3 widens CLIP's tokens to T5's width.
const SD3_WIDTH: usize = 4096;

impl Stack {
    /// Encodes a prompt: `[1, tokens, channels]` and, of families that pool, `[1, channels]`.
    pub fn encode(&self, tokens: &Tokens) -> Result<Encoded> {
        match self.composition {
            Composition::Sd1 => self.clip(&self.l, "ViT-L", &tokens.l, Reading::LAST),
            Composition::Sd2 => self.clip(&self.g, "ViT-H", &tokens.g, Reading::PENULTIMATE),
            Composition::SdxlRefiner => self.clip(&self.g, "bigG", &tokens.g, Reading::HIDDEN),
            Composition::Sdxl => {
                let l = self.clip(&self.l, "ViT-L", &tokens.l, Reading::HIDDEN)?;
                let g = self.clip(&self.g, "bigG", &tokens.g, Reading::HIDDEN)?;
                Ok(Encoded { context: beside(&l.context, &g.context)?, pooled: g.pooled })
            }
            Composition::Sd3 => self.sd3(tokens),
            Composition::ZImage => Err(missing("Qwen 3")),
            Composition::Flux => {
                let l = self.clip(&self.l, "ViT-L", &tokens.l, Reading::LAST.unprojected())?;
                let t5 = self.t5.as_deref().ok_or_else(|| missing("T5"))?;
                Ok(Encoded { context: self.t5(t5, &tokens.t5)?.context, pooled: l.pooled })
            }
        }
    }

    fn clip(
        &self,
        clip: &Option<Arc<Clip>>,
        name: &'static str,
        chunks: &Chunks,
        reading: Reading,
    ) -> Result<Encoded> {
        let clip = clip.as_deref().ok_or_else(|| missing(name))?;
        let reading = self.layer.map_or(reading, |layer| reading.at_layer(layer));
        let reading = if self.unprojected { reading.unprojected() } else { reading };
        encode_weighted(&ClipReader { clip, reading }, chunks)
    }

    fn t5(&self, t5: &T5, chunks: &Chunks) -> Result<Encoded> {
        encode_weighted(&T5Reader { t5, layer: self.layer.unwrap_or(-1) }, chunks)
    }

    /// Every one of the three encoders may be missing; zeros take its place in the pooled vector.
    fn sd3(&self, tokens: &Tokens) -> Result<Encoded> {
        let hidden = Reading::HIDDEN;
        let l = self
            .l
            .as_ref()
            .map(|_| self.clip(&self.l, "ViT-L", &tokens.l, hidden.unprojected()))
            .transpose()?;
        let g = self.g.as_ref().map(|_| self.clip(&self.g, "bigG", &tokens.g, hidden)).transpose()?;
        let t5 = self.t5.as_deref().map(|t5| self.t5(t5, &tokens.t5)).transpose()?;
        let zeros = |width: usize| Tensor::zeros((1, width), DType::F32, &Device::Cpu);
        let pooled = |e: &Option<Encoded>, width: usize| match e.as_ref().and_then(|e| e.pooled.clone()) {
            Some(pooled) => Ok(pooled),
            None => zeros(width),
        };
        let pooled = Tensor::cat(&[pooled(&l, 768)?, pooled(&g, 1280)?], 1)?;
        let clips = match (&l, &g) {
            (Some(l), Some(g)) => Some(beside(&l.context, &g.context)?),
            (Some(l), None) => Some(l.context.clone()),
            (None, Some(g)) => Some(g.context.pad_with_zeros(D::Minus1, 768, 0)?),
            (None, None) => None,
        };
        let clips = clips.map(|c| widen(&c, SD3_WIDTH)).transpose()?;
        let context = match (clips, t5) {
            (Some(c), Some(t5)) => Tensor::cat(&[c, t5.context], 1)?,
            (Some(c), None) => c,
            (None, Some(t5)) => t5.context,
            (None, None) => Tensor::zeros((1, 77, SD3_WIDTH), DType::F32, &Device::Cpu)?,
        };
        Ok(Encoded { context, pooled: Some(pooled) })
    }
}

fn missing(encoder: &'static str) -> Error {
    Error::Input {
        model: "text encoders",
        input: "encoder",
        found: format!("no {encoder}"),
        expected: format!("a file that holds {encoder}"),
    }
}

/// Channels side by side, over as many tokens as both have.
fn beside(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let tokens = a.dim(1)?.min(b.dim(1)?);
    Ok(Tensor::cat(&[a.narrow(1, 0, tokens)?, b.narrow(1, 0, tokens)?], 2)?)
}

fn widen(x: &Tensor, width: usize) -> Result<Tensor> {
    let own = x.dim(D::Minus1)?;
    Ok(x.pad_with_zeros(D::Minus1, 0, width.saturating_sub(own))?)
}
