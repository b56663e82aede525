//! T5's encoder, in its 1.1 form with a gated GELU (Raffel et al. 2020): SD 3 and Flux.

use std::sync::Arc;

use candle_core::Tensor;

use crate::{
    Error, LoadOptions, Params, Result,
    ops::{Act, Activation, Attention, Dims, Epilogue, Linear, Mask, Norm, Ops, Out, Table},
    params::{Loader, load},
    source::Source,
    text::{Encoded, Encoder, Token},
};

/// Channels of an attention head.
const HEAD: usize = 64;
/// Distances of the relative attention bias: buckets, and where the last one begins.
const BUCKETS: usize = 32;
const MAX_DISTANCE: f64 = 128.0;
const EPS: f32 = 1e-6;
/// The token that ends a text.
const END: u32 = 1;

/// The encoder ready to run.
pub struct T5 {
    ops: Ops,
    tokens: Arc<Table>,
    bias: Arc<Table>,
    layers: Vec<Layer>,
    norm: Arc<Norm>,
    params: Params,
}

struct Layer {
    norm1: Arc<Norm>,
    qkv: Arc<Linear>,
    out: Arc<Linear>,
    norm2: Arc<Norm>,
    expand: Arc<Linear>,
    contract: Arc<Linear>,
}

impl Layer {
    fn load(w: &Loader<'_>) -> Result<Self> {
        let a = w.at("layer.0.SelfAttention");
        let f = w.at("layer.1.DenseReluDense");
        // The gate comes second in a gated product.
        let halves = [f.name("wi_1.weight"), f.name("wi_0.weight")];
        Ok(Self {
            norm1: w.gain("layer.0.layer_norm.weight")?,
            qkv: a.fused(&["q", "k", "v"])?,
            out: a.linear("o")?,
            norm2: w.gain("layer.1.layer_norm.weight")?,
            expand: f.linear_from(&halves, &[], Some(Activation::GeluTanh))?,
            contract: f.linear("wo")?,
        })
    }

    fn forward(&self, ops: &Ops, x: Act, bias: &Mask) -> Result<Act> {
        let a = ops.rms_norm(&x, &self.norm1, EPS, Out::Operand)?;
        let qkv = ops.linear(&self.qkv, &a, Epilogue::operand())?;
        let heads = qkv.dims().c / 3 / HEAD;
        let attention = Attention::new(heads, qkv.chunk(0, 3), qkv.chunk(1, 3), qkv.chunk(2, 3));
        // T5 folds the scale of the scores into its weights.
        let a = ops.attention(Attention { scale: Some(1.0), mask: Some(bias), ..attention })?;
        let x = ops.linear(&self.out, &a, Epilogue::residual(&x))?;
        let a = ops.rms_norm(&x, &self.norm2, EPS, Out::Operand)?;
        let wide = ops.linear(&self.expand, &a, Epilogue::operand())?;
        ops.linear(&self.contract, &wide, Epilogue::residual(&x))
    }
}

impl T5 {
    /// Loads an encoder whose tensors begin with `shared.weight` and `encoder.block.`.
    pub fn load<'a>(ops: &'a Ops, source: &'a dyn Source, options: LoadOptions<'a>) -> Result<Self> {
        let (t5, params) = load(ops, source, "T5 encoder", options, |w| {
            let blocks = w.at("encoder.block");
            let count = blocks.count(|i| format!("{i}.layer.0.layer_norm.weight"));
            if count == 0 {
                return Err(Error::MissingTensor {
                    what: "T5 encoder",
                    name: blocks.name("0.layer.0.layer_norm.weight"),
                });
            }
            Ok(Self {
                ops: ops.clone(),
                tokens: w.table("shared.weight")?,
                bias: blocks.table("0.layer.0.SelfAttention.relative_attention_bias.weight")?,
                layers: (0..count).map(|i| Layer::load(&blocks.at(i))).collect::<Result<_>>()?,
                norm: w.gain("encoder.final_layer_norm.weight")?,
                params: Params::default(),
            })
        })?;
        Ok(Self { params, ..t5 })
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

    /// Encodes chunks of one length: `[n, tokens, width]`.
    pub fn forward(&self, chunks: &[Vec<Token>]) -> Result<Tensor> {
        self.forward_to(chunks, -1)
    }

    /// As [`forward`](Self::forward), of a layer counted from the end (−1 is the last), normalised as the last one
    /// is. A layer that is not there is the last, as in the reference.
    pub fn forward_to(&self, chunks: &[Vec<Token>], layer: i32) -> Result<Tensor> {
        let wrong = |input, found, expected| Error::Input { model: "T5 encoder", input, found, expected };
        let (length, width) = (chunks[0].len(), self.tokens.width);
        let mut values = Vec::with_capacity(chunks.len() * length * width);
        for token in chunks.iter().flatten() {
            match token {
                Token::Id(id) if self.tokens.append(*id as usize, &mut values) => {}
                Token::Vector(v) if v.len() == width => values.extend_from_slice(v),
                Token::Id(id) => {
                    return Err(wrong("token", id.to_string(), format!("below {}", self.tokens.rows)));
                }
                Token::Vector(v) => {
                    return Err(wrong("embedding", format!("{} values", v.len()), format!("{width}")));
                }
            }
        }
        let mut x = self.ops.upload(Dims::tokens(chunks.len(), length, width), &values)?;
        let bias = self.relative_bias(length)?;
        let depth = self.layers.len();
        let left_out = usize::try_from(-1 - i64::from(layer)).ok().filter(|&n| n < depth).unwrap_or(0);
        for layer in &self.layers[..depth - left_out] {
            x = layer.forward(&self.ops, x, &bias)?;
        }
        self.ops.to_tokens(&self.ops.rms_norm(&x, &self.norm, EPS, Out::Stream)?)
    }

    /// What every layer adds to its scores, by the distance between query and key.
    fn relative_bias(&self, length: usize) -> Result<Mask> {
        let heads = self.bias.width;
        let mut table = Vec::with_capacity(self.bias.rows * heads);
        (0..self.bias.rows).for_each(|i| {
            self.bias.append(i, &mut table);
        });
        if self.bias.rows != BUCKETS {
            return Err(Error::Shape {
                name: "relative_attention_bias.weight".into(),
                found: vec![self.bias.rows, heads],
                expected: format!("[{BUCKETS}, heads]"),
            });
        }
        let mut values = Vec::with_capacity(heads * length * length);
        for head in 0..heads {
            for query in 0..length {
                values.extend((0..length).map(|key| table[bucket(query, key) * heads + head]));
            }
        }
        Ok(Mask { values: Arc::new(values), dims: [1, heads, length, length] })
    }
}

/// Half of the buckets are for keys after the query; in each half, near distances have a bucket of their own and
/// far ones share logarithmically (Raffel et al. 2020, §2.1).
fn bucket(query: usize, key: usize) -> usize {
    let half = BUCKETS / 2;
    let side = if key > query { half } else { 0 };
    let distance = query.abs_diff(key);
    let exact = half / 2;
    if distance < exact {
        return side + distance;
    }
    let scale = (distance as f64 / exact as f64).ln() / (MAX_DISTANCE / exact as f64).ln();
    side + (exact + (scale * (half - exact) as f64) as usize).min(half - 1)
}

/// T5 and the layer that is read from it.
pub struct T5Reader<'a> {
    /// The encoder.
    pub t5: &'a T5,
    /// The layer, counted from the end.
    pub layer: i32,
}

impl Encoder for T5Reader<'_> {
    fn empty(&self, length: usize) -> Vec<Token> {
        (0..length).map(|i| Token::Id(if i == 0 { END } else { 0 })).collect()
    }

    fn encode(&self, chunks: &[Vec<Token>]) -> Result<Encoded> {
        Ok(Encoded { context: self.t5.forward_to(chunks, self.layer)?, pooled: None })
    }
}

#[cfg(test)]
mod tests {
    use super::bucket;

    #[test]
    fn near_keys_have_buckets_of_their_own_and_far_ones_share() {
        assert_eq!([bucket(5, 5), bucket(5, 4), bucket(5, 6), bucket(12, 5)], [0, 1, 17, 7]);
        assert_eq!(bucket(8, 0), 8);
        assert_eq!((bucket(1000, 0), bucket(0, 1000)), (15, 31));
    }
}
