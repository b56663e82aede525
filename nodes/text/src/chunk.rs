//! Tokens to the chunks of fixed length that a text encoder reads.

use std::sync::Arc;

/// A token: a number of the vocabulary, or a vector that stands in the place of one.
#[derive(Clone, Debug, PartialEq)]
pub enum Token {
    /// A row of the encoder's token table.
    Id(u32),
    /// A vector of a textual inversion.
    Vector(Arc<[f32]>),
}

/// A token and what it weighs.
#[derive(Clone, Debug, PartialEq)]
pub struct WeightedToken {
    /// The token.
    pub token: Token,
    /// How much more than 1 (or less) it counts.
    pub weight: f32,
}

impl WeightedToken {
    pub(crate) fn plain(id: u32) -> Self {
        Self { token: Token::Id(id), weight: 1.0 }
    }
}

/// The tokens that an encoder reads at once.
pub type Chunk = Vec<WeightedToken>;

/// How an encoder wants its tokens cut and padded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkRules {
    /// The token that begins each chunk, if one does.
    pub start: Option<u32>,
    /// The token that ends each chunk.
    pub end: u32,
    /// The token that fills a chunk up.
    pub pad: u32,
    /// The tokens of a chunk at most, start and end included; `None` where all goes into one.
    pub max_length: Option<usize>,
    /// Fillers behind the end of the last chunk, whatever its length.
    pub min_padding: usize,
    /// The tokens that the last chunk has at least.
    pub min_length: usize,
}

impl ChunkRules {
    /// CLIP-L: 77 tokens, filled up with the end token.
    pub const CLIP_L: Self = Self {
        start: Some(49406),
        end: 49407,
        pad: 49407,
        max_length: Some(77),
        min_padding: 0,
        min_length: 77,
    };
    /// OpenCLIP-G of SDXL and SD3: 77 tokens, filled up with 0.
    pub const CLIP_G: Self = Self { pad: 0, ..Self::CLIP_L };
    /// OpenCLIP-H of SD 2.x: as [`CLIP_G`](Self::CLIP_G).
    pub const CLIP_H: Self = Self::CLIP_G;
    /// T5-XXL of SD3 and SD3.5: one chunk of at least 77.
    pub const T5_SD3: Self =
        Self { start: None, end: 1, pad: 0, max_length: None, min_padding: 0, min_length: 77 };
    /// T5-XXL of Flux: one chunk of at least 256.
    pub const T5_FLUX: Self = Self { min_length: 256, ..Self::T5_SD3 };

    /// The same with another least length of the last chunk.
    pub const fn with_min_length(self, min_length: usize) -> Self {
        Self { min_length, ..self }
    }

    /// Cuts groups of tokens into chunks. A group (a stretch of one weight, or an embedding) of
    /// fewer than eight tokens is kept whole: where it does not fit, the next chunk begins with it.
    pub fn cut(&self, groups: &[Vec<WeightedToken>]) -> Vec<Chunk> {
        const LARGE: usize = 8;
        let room = self.max_length.map_or(usize::MAX, |max| max - 1);
        let begin = || self.start.map(WeightedToken::plain).into_iter().collect::<Chunk>();
        let mut chunks = Vec::new();
        let mut chunk = begin();
        for group in groups {
            let large = group.len() >= LARGE;
            let mut rest = &group[..];
            while rest.len() > room - chunk.len() {
                if large {
                    let (now, later) = rest.split_at(room - chunk.len());
                    chunk.extend_from_slice(now);
                    rest = later;
                }
                self.close(&mut chunk, self.max_length.unwrap_or(0));
                chunks.push(std::mem::replace(&mut chunk, begin()));
            }
            chunk.extend_from_slice(rest);
        }
        let padded = chunk.len() + 1 + self.min_padding;
        self.close(&mut chunk, self.min_length.max(padded));
        chunks.push(chunk);
        chunks
    }

    fn close(&self, chunk: &mut Chunk, length: usize) {
        chunk.push(WeightedToken::plain(self.end));
        let length = length.max(chunk.len());
        chunk.resize(length, WeightedToken::plain(self.pad));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn group(ids: std::ops::Range<u32>) -> Vec<WeightedToken> {
        ids.map(WeightedToken::plain).collect()
    }

    fn ids(chunk: &Chunk) -> Vec<u32> {
        chunk.iter().map(|t| if let Token::Id(id) = t.token { id } else { u32::MAX }).collect()
    }

    #[test]
    fn a_small_group_moves_to_the_next_chunk_and_a_large_one_is_cut() {
        let rules = ChunkRules {
            start: Some(100),
            end: 101,
            pad: 102,
            max_length: Some(12),
            min_padding: 0,
            min_length: 12,
        };
        let chunks = rules.cut(&[group(0..7), group(10..17)]);
        assert_eq!(ids(&chunks[0]), [100, 0, 1, 2, 3, 4, 5, 6, 101, 102, 102, 102]);
        assert_eq!(ids(&chunks[1]), [100, 10, 11, 12, 13, 14, 15, 16, 101, 102, 102, 102]);
        let chunks = rules.cut(&[group(0..7), group(10..18)]);
        assert_eq!(ids(&chunks[0]), [100, 0, 1, 2, 3, 4, 5, 6, 10, 11, 12, 101]);
        assert_eq!(ids(&chunks[1])[..7], [100, 13, 14, 15, 16, 17, 101]);
    }

    #[test]
    fn t5_is_one_chunk_of_any_length() {
        assert_eq!(ChunkRules::T5_SD3.cut(&[]).len(), 1);
        assert_eq!(ChunkRules::T5_SD3.cut(&[])[0].len(), 77);
        let long = ChunkRules::T5_FLUX.cut(&[group(0..1000)]);
        assert_eq!((long.len(), long[0].len()), (1, 1001));
        assert_eq!(long[0].last(), Some(&WeightedToken::plain(1)));
        let short = ChunkRules { min_padding: 2, min_length: 0, ..ChunkRules::T5_FLUX };
        assert_eq!(ids(&short.cut(&[group(5..8)])[0]), [5, 6, 7, 1, 0, 0]);
        let filled = ChunkRules { min_length: 8, ..short };
        assert_eq!(ids(&filled.cut(&[group(5..8)])[0]), [5, 6, 7, 1, 0, 0, 0, 0]);
    }

    proptest! {
        #[test]
        fn chunks_hold_every_token_once_and_have_their_length(sizes in prop::collection::vec(0u32..40, 0..12)) {
            let mut next = 0;
            let groups: Vec<_> = sizes.iter().map(|n| { next += n; group(next - n..next) }).collect();
            let chunks = ChunkRules::CLIP_L.cut(&groups);
            prop_assert!(chunks.iter().all(|c| c.len() == 77));
            let found: Vec<u32> = chunks.iter().flat_map(ids).filter(|id| *id < 49406).collect();
            prop_assert_eq!(found, (0..next).collect::<Vec<_>>());
        }
    }
}
