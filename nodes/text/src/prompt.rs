//! The whole way from a prompt to chunks.

use std::sync::Arc;

use crate::chunk::{Chunk, ChunkRules, Token, WeightedToken};
use crate::emphasis::{self, Segment};
use crate::inversion::{self, Embeddings, Piece};
use crate::{Embedding, Result};

/// Words to numbers.
pub trait Vocabulary: Send + Sync {
    /// The tokens of a text, without those that begin or end it.
    fn encode(&self, text: &str) -> Vec<u32>;
}

/// A prompt with its emphasis and embeddings as the chunks that an encoder reads. Without
/// `embeddings`, `embedding:name` is words like any other.
///
/// `width` is that of the encoder's token table: vectors of another width are left out, and the
/// chunk is filled up in their stead.
///
/// # Errors
/// Where parentheses nest too deep, or an embedding is there and cannot be read.
pub fn tokenize(
    prompt: &str,
    vocabulary: &dyn Vocabulary,
    rules: &ChunkRules,
    embeddings: Option<(&dyn Embeddings, usize)>,
) -> Result<Vec<Chunk>> {
    groups_to_chunks(&emphasis::segments(prompt)?, vocabulary, rules, embeddings)
}

/// As [`tokenize`], with parentheses and weights as plain text.
///
/// # Errors
/// Where an embedding is there and cannot be read.
pub fn tokenize_plain(
    prompt: &str,
    vocabulary: &dyn Vocabulary,
    rules: &ChunkRules,
    embeddings: Option<(&dyn Embeddings, usize)>,
) -> Result<Vec<Chunk>> {
    let whole = Segment { text: prompt.replace("\\)", ")").replace("\\(", "("), weight: 1.0 };
    groups_to_chunks(&[whole], vocabulary, rules, embeddings)
}

fn groups_to_chunks(
    segments: &[Segment],
    vocabulary: &dyn Vocabulary,
    rules: &ChunkRules,
    embeddings: Option<(&dyn Embeddings, usize)>,
) -> Result<Vec<Chunk>> {
    let mut groups = Vec::new();
    for segment in segments {
        let weight = segment.weight as f32;
        let words = |text: &str| -> Vec<WeightedToken> {
            let token = |id| WeightedToken { token: Token::Id(id), weight };
            vocabulary.encode(text).into_iter().map(token).collect()
        };
        for piece in inversion::pieces(&segment.text) {
            match (piece, embeddings) {
                (Piece::Words(text), _) => groups.push(words(text)),
                (Piece::Named { text }, None) => groups.push(words(&format!("embedding:{text}"))),
                (Piece::Named { text }, Some((known, _))) => {
                    let (found, rest) = inversion::resolve(text, known)?;
                    match found {
                        Some(embedding) => groups.push(vectors(&embedding, weight)),
                        None => {
                            tracing::warn!("an embedding that the prompt names is not there and is left out")
                        }
                    }
                    if !rest.is_empty() {
                        groups.push(words(&rest));
                    }
                }
            }
        }
    }
    let mut chunks = rules.cut(&groups);
    if let Some((_, width)) = embeddings {
        chunks.iter_mut().for_each(|chunk| drop_misfits(chunk, width, rules.pad));
    }
    Ok(chunks)
}

fn vectors(embedding: &Embedding, weight: f32) -> Vec<WeightedToken> {
    embedding
        .values
        .chunks_exact(embedding.width.max(1))
        .map(|v| WeightedToken { token: Token::Vector(Arc::from(v)), weight })
        .collect()
}

/// Vectors of another encoder's width cannot be used. They are taken out after the cut, so that
/// the words stand in the chunks where they would with them, as in ComfyUI.
fn drop_misfits(chunk: &mut Chunk, width: usize, pad: u32) {
    let length = chunk.len();
    chunk.retain(|t| !matches!(&t.token, Token::Vector(v) if v.len() != width));
    if chunk.len() < length {
        tracing::warn!("an embedding was made for another text encoder (its width is not {width}); left out");
        chunk.resize(length, WeightedToken::plain(pad));
    }
}
