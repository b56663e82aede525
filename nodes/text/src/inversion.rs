//! Textual inversion: `embedding:name` in a prompt stands for vectors from a file.

/// Vectors that stand in the place of tokens.
#[derive(Clone, Debug, PartialEq)]
pub struct Embedding {
    /// The values of all vectors, one after the other.
    pub values: Vec<f32>,
    /// The values of one vector.
    pub width: usize,
}

/// Who knows what `embedding:name` stands for.
pub trait Embeddings {
    /// The vectors of a name, or `None` where there is no such embedding.
    ///
    /// # Errors
    /// Where it is there and cannot be read.
    fn find(&self, name: &str) -> crate::Result<Option<Embedding>>;
}

const MARK: &str = "embedding:";

/// A piece of a prompt: words, or vectors and the words that follow them.
#[derive(Debug, PartialEq)]
pub(crate) enum Piece<'a> {
    Words(&'a str),
    Named {
        /// What follows the mark up to the next mark: a name, then perhaps words.
        text: &'a str,
    },
}

/// Cuts a text before each mark that stands after a space or a line's end.
pub(crate) fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut parts = Vec::new();
    let mut start = 0;
    for (at, _) in text.match_indices(MARK).filter(|(at, _)| *at > 0) {
        if matches!(text.as_bytes()[at - 1], b' ' | b'\n') && at > start {
            // The space or line's end goes, too.
            parts.push(&text[start..at - 1]);
            start = at;
        }
    }
    parts.push(&text[start..]);
    parts
        .into_iter()
        .filter(|part| !part.is_empty())
        .map(|part| match part.strip_prefix(MARK) {
            Some(text) => Piece::Named { text },
            None => Piece::Words(part),
        })
        .collect()
}

/// What a name stands for, and the words after it. A comma at a name's end is not part of it unless
/// an embedding is called so.
pub(crate) fn resolve(text: &str, known: &dyn Embeddings) -> crate::Result<(Option<Embedding>, String)> {
    let mut words = text.split_whitespace();
    let Some(name) = words.next() else { return Ok((None, String::new())) };
    let rest = words.collect::<Vec<_>>().join(" ");
    if let Some(found) = known.find(name)? {
        return Ok((Some(found), rest));
    }
    let stripped = name.trim_matches(',');
    if stripped.len() == name.len() {
        return Ok((None, rest));
    }
    let commas = name.len() - stripped.len();
    Ok((known.find(stripped)?, format!("{} {rest}", ",".repeat(commas))))
}
