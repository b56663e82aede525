//! One layer: causal self-attention and a feed-forward, each after a normalisation.

use std::sync::Arc;

use super::{HEAD, Kind, thirds};
use crate::{
    Result,
    ops::{Act, Activation, Attention, Epilogue, LayerNorm, Linear, Norm, Ops, Out},
    params::Loader,
};

pub(super) struct Layer {
    norm1: Arc<Norm>,
    qkv: Arc<Linear>,
    out: Arc<Linear>,
    norm2: Arc<Norm>,
    expand: Arc<Linear>,
    contract: Arc<Linear>,
    activation: Activation,
}

fn activation(kind: Kind) -> Activation {
    match kind {
        Kind::L => Activation::QuickGelu,
        Kind::H | Kind::G => Activation::Gelu,
    }
}

impl Layer {
    /// The transformers library's names.
    pub(super) fn load(w: &Loader<'_>, kind: Kind) -> Result<Self> {
        Ok(Self {
            norm1: w.norm("layer_norm1")?,
            qkv: w.fused(&["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"])?,
            out: w.linear("self_attn.out_proj")?,
            norm2: w.norm("layer_norm2")?,
            expand: w.linear("mlp.fc1")?,
            contract: w.linear("mlp.fc2")?,
            activation: activation(kind),
        })
    }

    /// OpenCLIP's names.
    pub(super) fn load_open(w: &Loader<'_>, kind: Kind) -> Result<Self> {
        let qkv = w.linear_from(&[w.name("attn.in_proj_weight")], &[w.name("attn.in_proj_bias")], None)?;
        Ok(Self {
            norm1: w.norm("ln_1")?,
            qkv,
            out: w.linear("attn.out_proj")?,
            norm2: w.norm("ln_2")?,
            expand: w.linear("mlp.c_fc")?,
            contract: w.linear("mlp.c_proj")?,
            activation: activation(kind),
        })
    }

    pub(super) fn forward(&self, ops: &Ops, x: Act) -> Result<Act> {
        let norm = |x: &Act, norm: &Norm| {
            ops.layer_norm(x, LayerNorm { norm: Some(norm), eps: 1e-5, modulation: None, out: Out::Operand })
        };
        let a = norm(&x, &self.norm1)?;
        let qkv = ops.linear(&self.qkv, &a, Epilogue::operand())?;
        let [q, k, v] = thirds(&qkv);
        let heads = (q.len / HEAD).max(1);
        let a = ops.attention(Attention { causal: true, ..Attention::new(heads, q, k, v) })?;
        let x = ops.linear(&self.out, &a, Epilogue::residual(&x))?;
        let a = norm(&x, &self.norm2)?;
        let wide = ops.linear(&self.expand, &a, Epilogue::activation(self.activation, Out::Operand))?;
        ops.linear(&self.contract, &wide, Epilogue::residual(&x))
    }
}
