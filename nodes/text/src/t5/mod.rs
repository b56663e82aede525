//! T5's vocabulary: the likeliest cut of a text into pieces (a unigram model).
//!
//! The vocabulary is not part of this program: it comes from a `tokenizer.json`, a `spiece.model`,
//! or the metadata of a GGUF file. The `tokenizers` library computes with it.

mod spiece;

use tokenizers::models::unigram::Unigram;
use tokenizers::normalizers::Precompiled;
use tokenizers::pre_tokenizers::metaspace::{Metaspace, PrependScheme};
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::whitespace::WhitespaceSplit;
use tokenizers::{AddedToken, Tokenizer};

use crate::{Result, TextError, Vocabulary};

/// A vocabulary of T5 or of a relative of it.
pub struct T5Vocabulary {
    tokenizer: Tokenizer,
}

/// A vocabulary as it stands in files: its pieces, the likeliness of each, and what else is needed.
#[derive(Clone, Debug, Default)]
pub struct UnigramPieces {
    /// The pieces with the logarithm of their likeliness; a piece's place is its token.
    pub pieces: Vec<(String, f64)>,
    /// The token of what is in no piece.
    pub unknown: usize,
    /// Tokens that are found in a text by their spelling: `</s>`.
    pub special: Vec<String>,
    /// Sentencepiece's compiled rules for cleaning a text; as it is without them.
    pub rules: Option<Vec<u8>>,
}

impl T5Vocabulary {
    /// From the `tokenizer.json` of the `tokenizers` library.
    ///
    /// # Errors
    /// Where it is not such a file.
    pub fn from_tokenizer_json(json: &[u8]) -> Result<Self> {
        let mut tokenizer = Tokenizer::from_bytes(json).map_err(unusable)?;
        // A file may bring its own habits of cutting; chunks are cut by their encoder's rules.
        tokenizer.with_truncation(None).map_err(unusable)?;
        tokenizer.with_padding(None);
        Ok(Self { tokenizer })
    }

    /// From sentencepiece's `spiece.model`.
    ///
    /// # Errors
    /// Where it is not such a file, or not a unigram model.
    pub fn from_spiece(model: &[u8]) -> Result<Self> {
        Self::from_pieces(spiece::read(model)?)
    }

    /// From pieces, as a GGUF file's metadata hold them.
    ///
    /// # Errors
    /// Where there are none, or the rules are broken.
    pub fn from_pieces(parts: UnigramPieces) -> Result<Self> {
        let UnigramPieces { pieces, unknown, special, rules } = parts;
        if unknown >= pieces.len() {
            let said = format!("token {unknown} for unknown pieces of a vocabulary of {}", pieces.len());
            return Err(TextError::Tokenizer(said));
        }
        if let Some((piece, score)) = pieces.iter().find(|(_, score)| !score.is_finite()) {
            return Err(TextError::Tokenizer(format!("the piece '{piece}' has likeliness {score}")));
        }
        let model = Unigram::from(pieces, Some(unknown), false).map_err(unusable)?;
        let mut tokenizer = Tokenizer::new(model);
        if let Some(rules) = rules {
            let rules = Precompiled::from(&rules).map_err(unusable)?;
            tokenizer.with_normalizer(Some(rules)).map_err(unusable)?;
        }
        let spaces = Metaspace::new('▁', PrependScheme::Always, true);
        let cut = Sequence::new(vec![WhitespaceSplit.into(), spaces.into()]);
        tokenizer.with_pre_tokenizer(Some(cut));
        let special: Vec<AddedToken> = special.into_iter().map(|s| AddedToken::from(s, true)).collect();
        tokenizer.add_special_tokens(special).map_err(unusable)?;
        Ok(Self { tokenizer })
    }

    /// Whether a token is among them, by its spelling.
    pub fn has(&self, token: &str) -> bool {
        self.tokenizer.token_to_id(token).is_some()
    }

    /// A text's tokens as they are, without any that the vocabulary would add.
    ///
    /// # Errors
    /// Where the vocabulary cannot cut it.
    pub fn ids(&self, text: &str) -> Result<Vec<u32>> {
        Ok(self.tokenizer.encode(text, false).map_err(unusable)?.get_ids().to_vec())
    }

    /// The number of its tokens.
    pub fn len(&self) -> usize {
        self.tokenizer.get_vocab_size(true)
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl std::fmt::Debug for T5Vocabulary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "T5Vocabulary of {} tokens", self.len())
    }
}

fn unusable(error: impl std::fmt::Display) -> TextError {
    TextError::Tokenizer(error.to_string())
}

impl Vocabulary for T5Vocabulary {
    fn encode(&self, text: &str) -> Vec<u32> {
        match self.tokenizer.encode(text, false) {
            Ok(found) => found.get_ids().to_vec(),
            Err(error) => {
                // No text makes the library fail with a vocabulary that was checked above.
                tracing::error!("the tokenizer failed: {error}");
                Vec::new()
            }
        }
    }
}

#[cfg(test)]
mod tests;
