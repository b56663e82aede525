//! CLIP's text encoders: OpenAI's ViT-L, and OpenCLIP's H and bigG (Radford et al. 2021; Cherti et al. 2022).
//!
//! Both namings are read: the one of the transformers library (`text_model.encoder.layers.…`) and OpenCLIP's own
//! (`transformer.resblocks.…`).

mod layer;

use std::sync::Arc;

use candle_core::{Device, Tensor};

use crate::{
    Error, LoadOptions, Params, Result,
    ops::{Act, Cols, Dims, Epilogue, LayerNorm, Linear, Norm, Ops, Out, Table},
    params::load,
    source::Source,
    text::{Encoded, Encoder, Token},
};
use layer::Layer;

/// Which of the text encoders: their shapes can't tell the function of the feed-forward or the layer to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// OpenAI ViT-L: SD 1, and the first encoder of SDXL, SD 3 and Flux.
    L,
    /// OpenCLIP ViT-H: SD 2.
    H,
    /// OpenCLIP ViT-bigG: SDXL and SD 3.
    G,
}

/// What is read from the encoder, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// The layer whose output is the context, counted from the end: −1 is the last.
    pub layer: i32,
    /// Whether the final normalisation is applied to that layer too.
    pub normalised: bool,
    /// Whether the pooled vector goes through the text projection.
    pub projected: bool,
}

impl Reading {
    /// SD 1: the last layer, normalised.
    pub const LAST: Self = Self { layer: -1, normalised: true, projected: true };
    /// SD 2: the one before the last, normalised.
    pub const PENULTIMATE: Self = Self { layer: -2, normalised: true, projected: true };
    /// SDXL and SD 3: the one before the last as it is.
    pub const HIDDEN: Self = Self { layer: -2, normalised: false, projected: true };

    /// The same reading of another layer (clip skip).
    #[must_use]
    pub fn at_layer(self, layer: i32) -> Self {
        Self { layer, ..self }
    }

    /// The same reading with the pooled vector as it is before the text projection (SD 3's and Flux's ViT-L).
    #[must_use]
    pub fn unprojected(self) -> Self {
        Self { projected: false, ..self }
    }
}

/// The end-of-text token, at which the pooled vector is read.
pub const END: u32 = 49407;
/// The start-of-text token.
pub const START: u32 = 49406;
/// Channels of an attention head, of every CLIP text encoder.
const HEAD: usize = 64;

/// A text encoder ready to run.
pub struct Clip {
    ops: Ops,
    kind: Kind,
    tokens: Arc<Table>,
    positions: Arc<Table>,
    layers: Vec<Layer>,
    norm: Arc<Norm>,
    projection: Option<Arc<Linear>>,
    params: Params,
}

impl Clip {
    /// Loads an encoder from tensors that begin with `text_model.` or with `transformer.resblocks.`.
    pub fn load<'a>(
        ops: &'a Ops,
        source: &'a dyn Source,
        kind: Kind,
        options: LoadOptions<'a>,
    ) -> Result<Self> {
        let (clip, params) = load(ops, source, "CLIP text encoder", options, |w| {
            let open = w.has("token_embedding.weight");
            let (tokens, positions, norm) = if open {
                (w.table("token_embedding.weight")?, w.table("positional_embedding")?, w.norm("ln_final")?)
            } else {
                let text = w.at("text_model");
                let embeddings = text.at("embeddings");
                let tokens = embeddings.table("token_embedding.weight")?;
                (tokens, embeddings.table("position_embedding.weight")?, text.norm("final_layer_norm")?)
            };
            let layers = if open {
                let blocks = w.at("transformer.resblocks");
                let count = blocks.count(|i| format!("{i}.ln_1.weight"));
                (0..count).map(|i| Layer::load_open(&blocks.at(i), kind)).collect::<Result<Vec<_>>>()?
            } else {
                let blocks = w.at("text_model.encoder.layers");
                let count = blocks.count(|i| format!("{i}.layer_norm1.weight"));
                (0..count).map(|i| Layer::load(&blocks.at(i), kind)).collect::<Result<Vec<_>>>()?
            };
            // OpenCLIP multiplies from the left, transformers from the right. SD 1's files have none: the identity.
            let projection = if w.has("text_projection.weight") {
                Some(w.linear("text_projection")?)
            } else if w.has("text_projection") {
                Some(w.linear_transposed("text_projection")?)
            } else {
                None
            };
            let params = Params::default();
            Ok(Self { ops: ops.clone(), kind, tokens, positions, layers, norm, projection, params })
        })?;
        Ok(Self { params, ..clip })
    }

    /// Bytes of its weights.
    pub fn bytes(&self) -> usize {
        self.params.bytes()
    }

    /// Its prepared weights.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// How many layers it has.
    pub fn layers(&self) -> usize {
        self.layers.len()
    }

    /// Channels of a token.
    pub fn width(&self) -> usize {
        self.tokens.width
    }

    /// Looks tokens up, or takes their vectors as given, and adds their positions.
    fn embed(&self, chunks: &[Vec<Token>]) -> Result<Act> {
        let wrong =
            |input, found, expected| Error::Input { model: "CLIP text encoder", input, found, expected };
        let (length, width) = (chunks[0].len(), self.tokens.width);
        if length > self.positions.rows || chunks.iter().any(|c| c.len() != length) {
            let expected = format!("chunks of one length, at most {}", self.positions.rows);
            return Err(wrong("tokens", format!("{length}"), expected));
        }
        let mut values = Vec::with_capacity(chunks.len() * length * width);
        let mut position = Vec::with_capacity(width);
        for chunk in chunks {
            for (i, token) in chunk.iter().enumerate() {
                match token {
                    Token::Id(id) if self.tokens.append(*id as usize, &mut values) => {}
                    Token::Vector(v) if v.len() == width => values.extend_from_slice(v),
                    Token::Id(id) => {
                        return Err(wrong("token", id.to_string(), format!("below {}", self.tokens.rows)));
                    }
                    Token::Vector(v) => {
                        let expected = format!("{width} values, as this encoder's embeddings have");
                        return Err(wrong("embedding", format!("{} values", v.len()), expected));
                    }
                }
                position.clear();
                self.positions.append(i, &mut position);
                let row = values.len() - width;
                values[row..].iter_mut().zip(&position).for_each(|(v, p)| *v += p);
            }
        }
        self.ops.upload(Dims::tokens(chunks.len(), length, width), &values)
    }

    fn normalise(&self, x: &Act) -> Result<Act> {
        let how = LayerNorm { norm: Some(&self.norm), eps: 1e-5, modulation: None, out: Out::Stream };
        self.ops.layer_norm(x, how)
    }

    /// Encodes chunks in one batch: `[n, tokens, width]` of the layer to read, and `[n, pooled]`.
    pub fn encode(&self, chunks: &[Vec<Token>], reading: Reading) -> Result<(Tensor, Tensor)> {
        let depth = self.layers.len();
        // A layer that is not there is the last one, as in the reference.
        let read = usize::try_from(reading.layer.unsigned_abs())
            .ok()
            .filter(|&l| l > 0 && l <= depth)
            .map_or(depth, |l| depth + 1 - l);
        let mut x = self.embed(chunks)?;
        let mut context = None;
        for (i, layer) in self.layers.iter().enumerate() {
            x = layer.forward(&self.ops, x)?;
            if i + 1 == read {
                let y = if reading.normalised {
                    self.normalise(&x)?
                } else {
                    self.ops.slice(x.cols(), 0, x.dims().w)?
                };
                context = Some(self.ops.to_tokens(&y)?);
            }
        }
        let last = self.normalise(&x)?;
        let context = match context {
            Some(context) => context,
            None => self.ops.to_tokens(&last)?,
        };
        Ok((context, self.pool(&last, chunks, reading)?))
    }

    /// The normalised last layer at each chunk's first end-of-text token.
    fn pool(&self, last: &Act, chunks: &[Vec<Token>], reading: Reading) -> Result<Tensor> {
        let (length, width) = (last.dims().w, last.dims().c);
        let all = self.ops.download(last)?;
        let mut rows = Vec::with_capacity(chunks.len() * width);
        for (n, chunk) in chunks.iter().enumerate() {
            let end = chunk.iter().position(|t| matches!(t, Token::Id(END))).unwrap_or(length - 1);
            rows.extend_from_slice(&all[(n * length + end) * width..][..width]);
        }
        match (&self.projection, reading.projected) {
            (Some(projection), true) => {
                let x = self.ops.upload(Dims::tokens(chunks.len(), 1, width), &rows)?;
                let y = self.ops.linear(projection, &x, Epilogue::default())?;
                Ok(self.ops.to_tokens(&y)?.squeeze(1)?)
            }
            _ => Ok(Tensor::from_vec(rows, (chunks.len(), width), &Device::Cpu)?),
        }
    }
}

/// A text encoder and what a family reads from it.
pub struct ClipReader<'a> {
    /// The encoder.
    pub clip: &'a Clip,
    /// What is read.
    pub reading: Reading,
}

impl Encoder for ClipReader<'_> {
    fn empty(&self, length: usize) -> Vec<Token> {
        let pad = if self.clip.kind == Kind::L { END } else { 0 };
        let special = [START, END];
        (0..length).map(|i| Token::Id(special.get(i).copied().unwrap_or(pad))).collect()
    }

    fn encode(&self, chunks: &[Vec<Token>]) -> Result<Encoded> {
        let (context, pooled) = self.clip.encode(chunks, self.reading)?;
        Ok(Encoded { context, pooled: Some(pooled) })
    }
}

/// Columns of all of an activation's channels, by thirds.
fn thirds(x: &Act) -> [Cols<'_>; 3] {
    [x.chunk(0, 3), x.chunk(1, 3), x.chunk(2, 3)]
}
