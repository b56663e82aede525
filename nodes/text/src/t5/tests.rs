use proptest::prelude::*;

use super::*;
use crate::{ChunkRules, Token, tokenize};

/// A vocabulary of 600 pieces with T5's rules for cleaning, trained by sentencepiece 0.2.
const MODEL: &[u8] = include_bytes!("../../tests/t5/spiece.model");
/// Texts, and the tokens that sentencepiece gives for them with that vocabulary.
const WORDS: &str = include_str!("../../tests/t5/words.json");

fn words() -> Vec<(String, Vec<u32>)> {
    serde_json::from_str(WORDS).unwrap()
}

#[test]
fn tokens_are_sentencepieces() {
    let vocabulary = T5Vocabulary::from_spiece(MODEL).unwrap();
    assert!(vocabulary.len() >= 600 && !vocabulary.is_empty());
    assert!(words().len() > 15);
    for (text, expected) in words() {
        assert_eq!(vocabulary.encode(&text), expected, "{text:?}");
    }
}

#[test]
fn a_tokenizer_json_gives_the_same() {
    let tokenizer = T5Vocabulary::from_spiece(MODEL).unwrap().tokenizer;
    let json = tokenizer.to_string(false).unwrap();
    let vocabulary = T5Vocabulary::from_tokenizer_json(json.as_bytes()).unwrap();
    for (text, expected) in words() {
        assert_eq!(vocabulary.encode(&text), expected, "{text:?}");
    }
}

#[test]
fn a_prompt_becomes_one_chunk_with_weights() {
    let vocabulary = T5Vocabulary::from_spiece(MODEL).unwrap();
    let chunks = tokenize("a photo (of a cat:1.5)", &vocabulary, &ChunkRules::T5_SD3, None).unwrap();
    assert_eq!((chunks.len(), chunks[0].len()), (1, 77));
    let plain = vocabulary.encode("a photo ").len();
    let weighed = vocabulary.encode("of a cat").len();
    assert!(chunks[0][..plain].iter().all(|t| t.weight == 1.0));
    assert!(chunks[0][plain..plain + weighed].iter().all(|t| t.weight == 1.5));
    assert_eq!(chunks[0][plain + weighed].token, Token::Id(1), "the end");
    assert!(chunks[0][plain + weighed + 1..].iter().all(|t| t.token == Token::Id(0)));
}

#[test]
fn what_is_no_vocabulary_is_refused() {
    assert!(T5Vocabulary::from_spiece(b"").is_err());
    assert!(T5Vocabulary::from_spiece(b"nonsense").is_err());
    assert!(T5Vocabulary::from_tokenizer_json(b"{}").is_err());
    assert!(T5Vocabulary::from_pieces(UnigramPieces::default()).is_err());
    let infinite = UnigramPieces { pieces: vec![("a".into(), f64::NAN)], ..Default::default() };
    assert!(T5Vocabulary::from_pieces(infinite).unwrap_err().to_string().contains("'a'"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_changed_byte_panics(at in any::<usize>(), with: u8) {
        let mut model = MODEL.to_vec();
        // The pieces; behind them lie the compiled rules, a quarter of a million bytes.
        let at = at % 9000;
        model[at] = with;
        let _ = T5Vocabulary::from_spiece(&model);
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,60}") {
        let vocabulary = T5Vocabulary::from_spiece(MODEL).unwrap();
        vocabulary.encode(&text);
    }
}
