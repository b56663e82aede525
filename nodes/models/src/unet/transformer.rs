//! The spatial transformer: self-attention over pixels, cross-attention to the prompt, a gated feed-forward.

use std::sync::Arc;

use super::res::GROUPS;
use crate::{
    Result,
    denoiser::Prompt,
    ops::{Act, Attention, Epilogue, GroupNorm, LayerNorm, Linear, Norm, Ops, Out},
    params::Loader,
};

/// Normalisation, projection, blocks, projection, and the residual around it all (Rombach et al. 2022).
pub(crate) struct Transformer {
    norm: Arc<Norm>,
    input: Arc<Linear>,
    blocks: Vec<Block>,
    output: Arc<Linear>,
}

struct Block {
    norm1: Arc<Norm>,
    qkv: Arc<Linear>,
    out1: Arc<Linear>,
    norm2: Arc<Norm>,
    q: Arc<Linear>,
    kv: Arc<Linear>,
    out2: Arc<Linear>,
    norm3: Arc<Norm>,
    expand: Arc<Linear>,
    contract: Arc<Linear>,
    heads: usize,
    /// Which cross-attention of the model this is, for the prompt's keys and values.
    layer: usize,
}

impl Transformer {
    /// `layers` numbers the model's cross-attentions in the order they are loaded.
    pub(crate) fn load(w: &Loader<'_>, layers: &mut usize) -> Result<Self> {
        // A checkpoint doesn't tell its heads. Models with matrices for projections (SD 2, SDXL) have 64 channels
        // a head, those with 1×1 convolutions (SD 1) eight heads.
        let linear = w.shape("proj_in.weight")?.len() == 2;
        let input = w.linear("proj_in")?;
        let heads = if linear { (input.output / 64).max(1) } else { 8 };
        let blocks = w.count(|i| format!("transformer_blocks.{i}.attn1.to_q.weight"));
        let mut block = |i: usize| {
            *layers += 1;
            Block::load(&w.at(format!("transformer_blocks.{i}")), heads, *layers - 1)
        };
        Ok(Self {
            norm: w.norm("norm")?,
            blocks: (0..blocks).map(&mut block).collect::<Result<_>>()?,
            output: w.linear("proj_out")?,
            input,
        })
    }

    /// Computes keys and values of a prompt that has none yet: before a step and not in the middle of it, so that the
    /// first step leaves memory as every later one finds it.
    pub(crate) fn prepare(&self, ops: &Ops, prompt: &mut Prompt) -> Result<()> {
        self.blocks.iter().try_for_each(|block| block.keys_values(ops, prompt).map(|_| ()))
    }

    pub(crate) fn forward(&self, ops: &Ops, x: &Act, prompt: &mut Prompt) -> Result<Act> {
        let norm = GroupNorm { groups: GROUPS, eps: 1e-6, silu: false, out: Out::Operand };
        let a = ops.group_norm(&[x], &self.norm, norm)?;
        let mut h = ops.linear(&self.input, &a, Epilogue::default())?;
        drop(a);
        for block in &self.blocks {
            h = block.forward(ops, h, prompt)?;
        }
        ops.linear(&self.output, &h, Epilogue::residual(x))
    }
}

impl Block {
    fn load(w: &Loader<'_>, heads: usize, layer: usize) -> Result<Self> {
        Ok(Self {
            norm1: w.norm("norm1")?,
            qkv: w.fused(&["attn1.to_q", "attn1.to_k", "attn1.to_v"])?,
            out1: w.linear("attn1.to_out.0")?,
            norm2: w.norm("norm2")?,
            q: w.linear("attn2.to_q")?,
            kv: w.fused(&["attn2.to_k", "attn2.to_v"])?,
            out2: w.linear("attn2.to_out.0")?,
            norm3: w.norm("norm3")?,
            expand: w.geglu("ff.net.0.proj")?,
            contract: w.linear("ff.net.2")?,
            heads,
            layer,
        })
    }

    /// Keys and values of the prompt, computed once.
    fn keys_values<'p>(&self, ops: &Ops, prompt: &'p mut Prompt) -> Result<&'p Act> {
        Ok(match &mut prompt.keys_values[self.layer] {
            Some(kv) => kv,
            none => none.insert(ops.linear(&self.kv, &prompt.context, Epilogue::operand())?),
        })
    }

    fn forward(&self, ops: &Ops, x: Act, prompt: &mut Prompt) -> Result<Act> {
        let norm = |x: &Act, norm: &Norm| {
            ops.layer_norm(x, LayerNorm { norm: Some(norm), eps: 1e-5, modulation: None, out: Out::Operand })
        };

        let a = norm(&x, &self.norm1)?;
        let qkv = ops.linear(&self.qkv, &a, Epilogue::operand())?;
        drop(a);
        let a =
            ops.attention(Attention::new(self.heads, qkv.chunk(0, 3), qkv.chunk(1, 3), qkv.chunk(2, 3)))?;
        drop(qkv);
        let x = ops.linear(&self.out1, &a, Epilogue::residual(&x))?;
        drop(a);

        let a = norm(&x, &self.norm2)?;
        let q = ops.linear(&self.q, &a, Epilogue::operand())?;
        drop(a);
        let kv = self.keys_values(ops, prompt)?;
        let a = ops.attention(Attention::new(self.heads, q.cols(), kv.chunk(0, 2), kv.chunk(1, 2)))?;
        drop(q);
        let x = ops.linear(&self.out2, &a, Epilogue::residual(&x))?;
        drop(a);

        let a = norm(&x, &self.norm3)?;
        let wide = ops.linear(&self.expand, &a, Epilogue::operand())?;
        drop(a);
        ops.linear(&self.contract, &wide, Epilogue::residual(&x))
    }
}
