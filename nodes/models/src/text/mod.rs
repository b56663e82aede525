//! From weighted tokens to conditioning, whatever the encoders.

mod stack;

use std::sync::Arc;

use candle_core::Tensor;

use crate::{Error, Result};
pub use stack::{Chunks, Composition, Stack, Tokens};

/// A token of a prompt.
#[derive(Debug, Clone, PartialEq)]
pub enum Token {
    /// An entry of the vocabulary.
    Id(u32),
    /// A vector in its place: one row of a textual inversion.
    Vector(Arc<[f32]>),
}

/// What an encoder makes of chunks.
pub struct Encoded {
    /// `[chunks, tokens, channels]`.
    pub context: Tensor,
    /// `[chunks, channels]`, of encoders that pool.
    pub pooled: Option<Tensor>,
}

/// A network that encodes chunks of tokens.
pub trait Encoder {
    /// The chunk of a prompt that says nothing, which weights are measured from.
    fn empty(&self, length: usize) -> Vec<Token>;

    /// Encodes chunks of one length in one batch.
    fn encode(&self, chunks: &[Vec<Token>]) -> Result<Encoded>;
}

/// Encodes a prompt's chunks: `[1, all tokens, channels]`, and the first chunk's pooled vector, `[1, channels]`.
///
/// A token's weight moves its output away from, or towards, what the empty prompt has at that position:
/// `empty + weight · (output − empty)`. That is the reference's rule; the prompt itself is encoded unweighted.
pub fn encode_weighted(encoder: &dyn Encoder, chunks: &[Vec<(Token, f32)>]) -> Result<Encoded> {
    let length = chunks.iter().map(Vec::len).max().unwrap_or(0).max(1);
    let weighted = chunks.iter().flatten().any(|(_, w)| *w != 1.0);
    let mut batch: Vec<Vec<Token>> =
        chunks.iter().map(|c| c.iter().map(|(t, _)| t.clone()).collect()).collect();
    if batch.iter().any(|c| c.len() != length) {
        return Err(Error::Input {
            model: "text encoder",
            input: "chunks",
            found: format!("lengths {:?}", batch.iter().map(Vec::len).collect::<Vec<_>>()),
            expected: "one length".into(),
        });
    }
    if weighted || batch.is_empty() {
        batch.push(encoder.empty(length));
    }
    let encoded = encoder.encode(&batch)?;
    let pooled = encoded.pooled.map(|p| p.narrow(0, 0, 1)).transpose()?;
    let (_, tokens, width) = encoded.context.dims3()?;
    if chunks.is_empty() {
        return Ok(Encoded { context: encoded.context, pooled });
    }
    let sections = chunks.len();
    if !weighted {
        let context = encoded.context.reshape((1, sections * tokens, width))?;
        return Ok(Encoded { context, pooled });
    }
    let mut values = encoded.context.flatten_all()?.to_vec1::<f32>()?;
    let empty = values.split_off(sections * tokens * width);
    for (i, row) in values.chunks_exact_mut(width).enumerate() {
        let weight = chunks[i / tokens][i % tokens].1;
        if weight != 1.0 {
            let empty = &empty[(i % tokens) * width..][..width];
            row.iter_mut().zip(empty).for_each(|(v, e)| *v = (*v - e) * weight + e);
        }
    }
    Ok(Encoded {
        context: Tensor::from_vec(values, (1, sections * tokens, width), encoded.context.device())?,
        pooled,
    })
}
