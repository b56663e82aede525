//! Prompts to tokens: emphasis, chunks, textual inversion.
//!
//! [`tokenize`] takes a prompt as people write it, `a (red:1.2) apple, embedding:style`, and gives
//! the chunks of weighted tokens that a text encoder reads, in ComfyUI's way of cutting them. Three
//! things vary from encoder to encoder and are handed in:
//!
//! - how words become numbers: a [`Vocabulary`] ([`ClipVocabulary`], [`T5Vocabulary`])
//! - how numbers become chunks: [`ChunkRules`], with a constant for each encoder
//! - what `embedding:name` stands for: an [`Embeddings`], if there is one
//!
//! The modules: `emphasis` reads parentheses and weights, `inversion` finds `embedding:` names,
//! `chunk` cuts and pads, `clip` and `t5` are the two vocabularies.

mod chunk;
mod clip;
mod emphasis;
mod error;
mod inversion;
mod prompt;
mod t5;

pub use chunk::{Chunk, ChunkRules, Token, WeightedToken};
pub use clip::ClipVocabulary;
pub use error::{Result, TextError};
pub use inversion::{Embedding, Embeddings};
pub use prompt::{Vocabulary, tokenize, tokenize_plain};
pub use t5::{T5Vocabulary, UnigramPieces};
