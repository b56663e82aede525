//! Qwen 3 as a text encoder (Yang et al. 2025): what a layer near the end makes of a prompt.

use std::sync::Arc;

use candle_core::Tensor;

use crate::{
    Error, LoadOptions, Params, Result,
    ops::{Act, Activation, Attention, Dims, Epilogue, Linear, Norm, Ops, Out, Table},
    params::{Loader, load},
    source::Source,
};

/// Channels of an attention head.
const HEAD: usize = 128;
const EPS: f32 = 1e-6;
const THETA: f64 = 1_000_000.0;

/// The encoder ready to run.
pub struct Qwen3 {
    ops: Ops,
    tokens: Arc<Table>,
    layers: Vec<Layer>,
    params: Params,
}

struct Layer {
    norm1: Arc<Norm>,
    q: Arc<Linear>,
    kv: Arc<Linear>,
    heads: (Arc<Norm>, Arc<Norm>),
    out: Arc<Linear>,
    norm2: Arc<Norm>,
    expand: Arc<Linear>,
    contract: Arc<Linear>,
}

/// Angles of positions, `[positions, HEAD / 2]`.
struct Angles {
    cos: Vec<f32>,
    sin: Vec<f32>,
}

impl Angles {
    fn of(length: usize) -> Self {
        let half = HEAD / 2;
        let angle = |i: usize| (i / half) as f64 / THETA.powf(2.0 * (i % half) as f64 / HEAD as f64);
        let angles: Vec<f64> = (0..length * half).map(angle).collect();
        Self {
            cos: angles.iter().map(|a| a.cos() as f32).collect(),
            sin: angles.iter().map(|a| a.sin() as f32).collect(),
        }
    }

    /// Normalises a head and turns its two halves against each other.
    fn turn(&self, head: &mut [f32], norm: &Norm, position: usize) {
        let square = head.iter().map(|v| v * v).sum::<f32>() / HEAD as f32;
        let factor = 1.0 / (square + EPS).sqrt();
        head.iter_mut().zip(&norm.weight).for_each(|(v, w)| *v *= factor * w);
        let half = HEAD / 2;
        for i in 0..half {
            let (cos, sin) = (self.cos[position * half + i], self.sin[position * half + i]);
            let (a, b) = (head[i], head[half + i]);
            (head[i], head[half + i]) = (a * cos - b * sin, b * cos + a * sin);
        }
    }
}

impl Layer {
    fn load(w: &Loader<'_>) -> Result<Self> {
        let (a, f) = (w.at("self_attn"), w.at("mlp"));
        // The gate comes second in a gated product.
        let halves = [f.name("up_proj.weight"), f.name("gate_proj.weight")];
        Ok(Self {
            norm1: w.norm("input_layernorm")?,
            q: a.linear("q_proj")?,
            kv: a.fused(&["k_proj", "v_proj"])?,
            heads: (a.norm("q_norm")?, a.norm("k_norm")?),
            out: a.linear("o_proj")?,
            norm2: w.norm("post_attention_layernorm")?,
            expand: f.linear_from(&halves, &[], Some(Activation::Silu))?,
            contract: f.linear("down_proj")?,
        })
    }

    fn forward(&self, ops: &Ops, x: Act, angles: &Angles) -> Result<Act> {
        let d = x.dims();
        let tokens = d.positions();
        let a = ops.rms_norm(&x, &self.norm1, EPS, Out::Operand)?;
        let (q, kv) =
            (ops.linear(&self.q, &a, Epilogue::default())?, ops.linear(&self.kv, &a, Epilogue::default())?);
        drop(a);
        let (width, shared) = (q.dims().c, kv.dims().c / 2);
        // Several heads share keys and values; a prompt is short enough to repeat them.
        let times = width / shared.max(1);
        let (mut queries, pairs) = (ops.download(&q)?, ops.download(&kv)?);
        for (row, values) in queries.chunks_exact_mut(width).enumerate() {
            values.chunks_exact_mut(HEAD).for_each(|head| angles.turn(head, &self.heads.0, row % tokens));
        }
        let (mut keys, mut values) = (Vec::with_capacity(queries.len()), Vec::with_capacity(queries.len()));
        for (row, pair) in pairs.chunks_exact(2 * shared).enumerate() {
            for head in pair[..shared].chunks_exact(HEAD) {
                let mut head = head.to_vec();
                angles.turn(&mut head, &self.heads.1, row % tokens);
                keys.extend(head.repeat(times));
            }
            pair[shared..].chunks_exact(HEAD).for_each(|head| values.extend(head.repeat(times)));
        }
        let dims = Dims::tokens(d.n, tokens, width);
        let (q, k, v) = (ops.upload(dims, &queries)?, ops.upload(dims, &keys)?, ops.upload(dims, &values)?);
        let all = Attention::new(width / HEAD, q.cols(), k.cols(), v.cols());
        let a = ops.attention(Attention { causal: true, ..all })?;
        let x = ops.linear(&self.out, &a, Epilogue::residual(&x))?;
        let a = ops.rms_norm(&x, &self.norm2, EPS, Out::Operand)?;
        let wide = ops.linear(&self.expand, &a, Epilogue::operand())?;
        ops.linear(&self.contract, &wide, Epilogue::residual(&x))
    }
}

impl Qwen3 {
    /// Loads tensors in the transformers library's naming, `model.layers.…`. The last layer and what follows it are
    /// not read: nothing looks at them.
    pub fn load<'a>(ops: &'a Ops, source: &'a dyn Source, options: LoadOptions<'a>) -> Result<Self> {
        let (model, params) = load(ops, source, "Qwen 3", options, |w| {
            let model = w.at("model");
            let list = model.at("layers");
            let count = list.count(|i| format!("{i}.self_attn.q_proj.weight"));
            if count < 2 {
                let name = list.name("1.self_attn.q_proj.weight");
                return Err(Error::MissingTensor { what: "Qwen 3", name });
            }
            Ok(Self {
                ops: ops.clone(),
                tokens: model.table("embed_tokens.weight")?,
                layers: (0..count - 1).map(|i| Layer::load(&list.at(i))).collect::<Result<_>>()?,
                params: Params::default(),
            })
        })?;
        Ok(Self { params, ..model })
    }

    /// Bytes of its weights.
    pub fn bytes(&self) -> usize {
        self.params.bytes()
    }

    /// Channels of a token.
    pub fn width(&self) -> usize {
        self.tokens.width
    }

    /// The layer before the last, as it is: `[1, tokens, width]`.
    pub fn encode(&self, tokens: &[u32]) -> Result<Tensor> {
        let mut values = Vec::with_capacity(tokens.len() * self.tokens.width);
        for token in tokens {
            if !self.tokens.append(*token as usize, &mut values) {
                let expected = format!("below {}", self.tokens.rows);
                let found = token.to_string();
                return Err(Error::Input { model: "Qwen 3", input: "token", found, expected });
            }
        }
        let angles = Angles::of(tokens.len());
        let dims = Dims::tokens(1, tokens.len(), self.tokens.width);
        let mut x = self.ops.upload(dims, &values)?;
        for layer in &self.layers {
            x = layer.forward(&self.ops, x, &angles)?;
        }
        self.ops.to_tokens(&x)
    }
}
