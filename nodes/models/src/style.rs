//! Style models: what CLIP sees in a picture, as tokens of a prompt.

use std::sync::Arc;

use candle_core::Tensor;

use crate::{
    LoadOptions, Params, Result,
    ops::{Act, Activation, Attention, Dims, Epilogue, LayerNorm, Linear, Norm, Ops, Out},
    params::{Loader, load},
    source::Source,
};

/// A style model ready to run.
pub struct StyleModel {
    ops: Ops,
    kind: Kind,
    params: Params,
}

enum Kind {
    /// Flux Redux: two matrices with SiLU between.
    Redux { up: Arc<Linear>, down: Arc<Linear> },
    /// T2I's style adapter: tokens of its own look at the picture's, through a few layers.
    Adapter { tokens: Vec<f32>, before: Arc<Norm>, layers: Vec<Layer>, after: Arc<Norm>, out: Arc<Linear> },
}

struct Layer {
    norm1: Arc<Norm>,
    qkv: Arc<Linear>,
    attended: Arc<Linear>,
    norm2: Arc<Norm>,
    expand: Arc<Linear>,
    contract: Arc<Linear>,
}

/// Heads of the style adapter, whatever its width.
const HEADS: usize = 8;

fn norm(norm: &Norm, out: Out) -> LayerNorm<'_> {
    LayerNorm { norm: Some(norm), eps: 1e-5, modulation: None, out }
}

impl Layer {
    fn load(w: &Loader<'_>) -> Result<Self> {
        Ok(Self {
            norm1: w.norm("ln_1")?,
            qkv: w.linear_from(&[w.name("attn.in_proj_weight")], &[w.name("attn.in_proj_bias")], None)?,
            attended: w.linear("attn.out_proj")?,
            norm2: w.norm("ln_2")?,
            expand: w.linear("mlp.c_fc")?,
            contract: w.linear("mlp.c_proj")?,
        })
    }

    fn forward(&self, ops: &Ops, x: Act) -> Result<Act> {
        let a = ops.layer_norm(&x, norm(&self.norm1, Out::Operand))?;
        let qkv = ops.linear(&self.qkv, &a, Epilogue::operand())?;
        let a = ops.attention(Attention::new(HEADS, qkv.chunk(0, 3), qkv.chunk(1, 3), qkv.chunk(2, 3)))?;
        let x = ops.linear(&self.attended, &a, Epilogue::residual(&x))?;
        let a = ops.layer_norm(&x, norm(&self.norm2, Out::Operand))?;
        let wide = ops.linear(&self.expand, &a, Epilogue::activation(Activation::QuickGelu, Out::Operand))?;
        ops.linear(&self.contract, &wide, Epilogue::residual(&x))
    }
}

impl StyleModel {
    /// Loads `redux_up` and `redux_down`, or a style adapter's tensors.
    pub fn load<'a>(ops: &'a Ops, source: &'a dyn Source, options: LoadOptions<'a>) -> Result<Self> {
        let (kind, params) = load(ops, source, "style model", options, |w| {
            if w.has("redux_up.weight") {
                return Ok(Kind::Redux { up: w.linear("redux_up")?, down: w.linear("redux_down")? });
            }
            let list = w.at("transformer_layes");
            let count = list.count(|i| format!("{i}.ln_1.weight"));
            Ok(Kind::Adapter {
                tokens: w.values("style_embedding")?,
                before: w.norm("ln_pre")?,
                layers: (0..count).map(|i| Layer::load(&list.at(i))).collect::<Result<_>>()?,
                after: w.norm("ln_post")?,
                out: w.linear_transposed("proj")?,
            })
        })?;
        Ok(Self { ops: ops.clone(), kind, params })
    }

    /// Bytes of its weights.
    pub fn bytes(&self) -> usize {
        self.params.bytes()
    }

    /// Tokens for what CLIP saw last, `[n, tokens, channels]`.
    pub fn tokens(&self, seen: &Tensor) -> Result<Tensor> {
        let ops = &self.ops;
        let x = ops.from_tokens(seen)?;
        let y = match &self.kind {
            Kind::Redux { up, down } => {
                let wide = ops.linear(up, &x, Epilogue::activation(Activation::Silu, Out::Operand))?;
                ops.linear(down, &wide, Epilogue::default())?
            }
            Kind::Adapter { tokens, before, layers, after, out } => {
                let d = x.dims();
                let count = tokens.len() / d.c.max(1);
                let own = ops.upload(Dims::tokens(d.n, count, d.c), &tokens.repeat(d.n))?;
                let both = ops.concat_stream(&[&x, &own])?;
                let mut h = ops.layer_norm(&both, norm(before, Out::Stream))?;
                for layer in layers {
                    h = layer.forward(ops, h)?;
                }
                let own = ops.slice(h.cols(), d.positions(), count)?;
                let own = ops.layer_norm(&own, norm(after, Out::Operand))?;
                ops.linear(out, &own, Epilogue::default())?
            }
        };
        ops.to_tokens(&y)
    }
}
