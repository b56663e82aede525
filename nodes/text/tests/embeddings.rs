//! Embeddings in prompts, with a table of them in memory.

use ebb_text::{ChunkRules, ClipVocabulary, Embedding, Embeddings, Token, tokenize};

/// Knows `style` (two vectors of 3) and `wide` (one of 5).
struct Known;

impl Embeddings for Known {
    fn find(&self, name: &str) -> ebb_text::Result<Option<Embedding>> {
        Ok(match name {
            "style" => Some(Embedding { values: vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0], width: 3 }),
            "wide" => Some(Embedding { values: vec![9.0; 5], width: 5 }),
            _ => None,
        })
    }
}

fn tokens(prompt: &str) -> Vec<(Token, f32)> {
    let chunks = tokenize(prompt, &ClipVocabulary, &ChunkRules::CLIP_L, Some((&Known, 3))).unwrap();
    assert_eq!((chunks.len(), chunks[0].len()), (1, 77));
    chunks[0][1..]
        .iter()
        .map(|t| (t.token.clone(), t.weight))
        .take_while(|(t, _)| *t != Token::Id(49407))
        .collect()
}

fn vector(values: [f32; 3]) -> Token {
    Token::Vector(values.into())
}

#[test]
fn an_embedding_stands_in_the_place_of_its_name() {
    const CAT: Token = Token::Id(2368);
    const COMMA: Token = Token::Id(267);
    let style = [(vector([1.0, 2.0, 3.0]), 1.0), (vector([4.0, 5.0, 6.0]), 1.0)];
    let with = |after: &[(Token, f32)]| [&[(CAT, 1.0)][..], &style, after].concat();
    assert_eq!(tokens("cat embedding:style"), with(&[]));
    assert_eq!(tokens("cat embedding:style cat"), with(&[(CAT, 1.0)]));
    assert_eq!(tokens("cat\nembedding:style, cat"), with(&[(COMMA, 1.0), (CAT, 1.0)]));
    assert_eq!(tokens("cat embedding:none embedding:style"), with(&[]), "a missing one is left out");
    let weighed = tokens("(embedding:style:1.5)");
    assert!(weighed.iter().all(|(_, w)| *w == 1.5) && weighed.len() == 2, "{weighed:?}");
}

#[test]
fn an_embedding_of_another_width_is_left_out() {
    assert_eq!(tokens("cat embedding:wide cat").len(), 2);
}
