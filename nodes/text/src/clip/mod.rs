//! CLIP's vocabulary: byte-pair encoding of lower-cased words.
//!
//! The merges are those of the `instant-clip-tokenizer` crate. What comes before them here (the
//! cleaning of the text and its cut into words) is that of the tokenizer that ComfyUI runs, which
//! differs for ideographs and control characters.

mod clean;

use std::sync::LazyLock;

use instant_clip_tokenizer::{Token, Tokenizer};
use regex::Regex;

use crate::Vocabulary;

/// CLIP's 49408 tokens. All instances share one table, read at the first use.
#[derive(Clone, Copy, Debug, Default)]
pub struct ClipVocabulary;

/// Begins a text.
const START: u32 = 49406;
/// Ends a text.
const END: u32 = 49407;

static MERGES: LazyLock<Tokenizer> = LazyLock::new(Tokenizer::new);

/// Words of cleaned text. Contractions are split off, digits stand alone.
#[allow(clippy::unwrap_used, reason = "a constant pattern, compiled in every test of this module")]
static WORD: LazyLock<Regex> = LazyLock::new(|| {
    let words = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+";
    Regex::new(words).unwrap()
});

impl ClipVocabulary {
    /// Reads the table and what texts are cleaned with, some MiB in all: so that a process does so when it starts and not in the
    /// middle of a job.
    pub fn prepare() {
        // A letter of its own, one that composes, and one that goes: every pattern is compiled.
        let _ = Self.encode("a ü \u{200b}1");
    }
}

impl Vocabulary for ClipVocabulary {
    fn encode(&self, text: &str) -> Vec<u32> {
        let mut ids = Vec::new();
        let mut rest = text;
        // The markers count wherever they stand, also in the middle of a word.
        while let Some((at, marker, id)) = first_marker(rest) {
            encode_words(&rest[..at], &mut ids);
            ids.push(id);
            rest = &rest[at + marker..];
        }
        encode_words(rest, &mut ids);
        ids
    }
}

fn first_marker(text: &str) -> Option<(usize, usize, u32)> {
    [("<|startoftext|>", START), ("<|endoftext|>", END)]
        .into_iter()
        .filter_map(|(marker, id)| Some((text.find(marker)?, marker.len(), id)))
        .min()
}

fn encode_words(text: &str, ids: &mut Vec<u32>) {
    let text = clean::clean(text);
    let mut tokens: Vec<Token> = Vec::new();
    for word in WORD.find_iter(&text) {
        match word.as_str() {
            "<|startoftext|>" => ids.push(START),
            "<|endoftext|>" => ids.push(END),
            word => {
                tokens.clear();
                MERGES.encode(word, &mut tokens);
                ids.extend(tokens.drain(..).map(|t| u32::from(t.to_u16())));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Texts and the tokens that the `transformers` library's CLIPTokenizer (4.57, without ftfy,
    /// which is how ComfyUI runs it) gives for them.
    const WORDS: &str = include_str!("../../tests/clip_words.json");

    #[test]
    fn tokens_are_those_of_the_reference() {
        let words: Vec<(String, Vec<u32>)> = serde_json::from_str(WORDS).unwrap();
        assert!(words.len() > 30);
        for (text, expected) in words {
            assert_eq!(ClipVocabulary.encode(&text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_word_of_a_hundred_thousand_letters_is_encoded() {
        assert!(ClipVocabulary.encode(&"ab".repeat(50_000)).len() > 10_000);
    }
}
