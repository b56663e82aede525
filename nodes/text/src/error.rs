//! What can be wrong with a prompt or a tokenizer's file.

use thiserror::Error;

/// A result of this crate.
pub type Result<T, E = TextError> = std::result::Result<T, E>;

/// What went wrong with a prompt or a tokenizer's file.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TextError {
    /// Parentheses inside parentheses beyond any use.
    #[error("the prompt nests parentheses more than {limit} deep")]
    TooDeep {
        /// The limit.
        limit: usize,
    },
    /// A textual inversion that is there and cannot be read.
    #[error("embedding:{name}: {reason}")]
    Embedding {
        /// Its name in the prompt.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A tokenizer's file that cannot be used.
    #[error("tokenizer: {0}")]
    Tokenizer(String),
}

impl TextError {
    /// A stable name for scripts and for the HTTP interface.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooDeep { .. } => "prompt_too_deep",
            Self::Embedding { .. } => "embedding_unreadable",
            Self::Tokenizer(_) => "tokenizer_unusable",
        }
    }
}
