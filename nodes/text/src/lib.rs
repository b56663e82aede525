//! Prompts to tokens: emphasis, chunks, textual inversion.
