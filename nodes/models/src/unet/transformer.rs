//! The spatial transformer: self-attention over pixels, cross-attention to the prompt, a gated feed-forward.

use std::sync::Arc;

use super::{Run, res::GROUPS};
use crate::{
    Result,
    changes::Changes,
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

    pub(crate) fn forward(&self, ops: &Ops, x: &Act, run: &mut Run<'_>) -> Result<Act> {
        let norm = GroupNorm { groups: GROUPS, eps: 1e-6, silu: false, out: Out::Operand };
        let a = ops.group_norm(&[x], &self.norm, norm)?;
        let mut h = ops.linear(&self.input, &a, Epilogue::default())?;
        drop(a);
        for (i, block) in self.blocks.iter().enumerate() {
            h = block.forward(ops, h, run, i == 0)?;
        }
        run.transformer += 1;
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

    /// Keys and values where hypernetworks change what they are made from: the first that knows a width decides.
    fn changed_keys_values(&self, ops: &Ops, context: &Act, changes: &Changes) -> Result<Option<Act>> {
        let mut inputs: Option<[Act; 2]> = None;
        for (network, strength) in &changes.hypernetworks {
            let next = match &inputs {
                None => network.apply(ops, context, *strength)?,
                // The next network changes keys' and values' inputs apart.
                Some([keys, values]) => match network.apply(ops, keys, *strength)? {
                    Some([keys, _]) => {
                        network.apply(ops, values, *strength)?.map(|[_, values]| [keys, values])
                    }
                    None => None,
                },
            };
            inputs = next.or(inputs);
        }
        let Some([keys, values]) = inputs else { return Ok(None) };
        let tokens = context.dims().positions();
        let (k, v) = (
            ops.linear(&self.kv, &keys, Epilogue::operand())?,
            ops.linear(&self.kv, &values, Epilogue::operand())?,
        );
        let (k, v) = (ops.slice(k.chunk(0, 2), 0, tokens)?, ops.slice(v.chunk(1, 2), 0, tokens)?);
        Ok(Some(ops.concat_channels(&[&k, &v])?))
    }

    /// Self-attention with what nodes change of it.
    fn changed_self_attention(
        &self,
        ops: &Ops,
        normed: &Act,
        changes: &Changes,
        run: &Run<'_>,
        first: bool,
    ) -> Result<Act> {
        let qkv = ops.linear(&self.qkv, normed, Epilogue::operand())?;
        let (mut k, mut v) = (None, None);
        for (network, strength) in &changes.hypernetworks {
            let (from_k, from_v) = (k.as_ref().unwrap_or(normed), v.as_ref().unwrap_or(normed));
            let next_k = network.apply(ops, from_k, *strength)?.map(|[k, _]| k);
            let next_v = network.apply(ops, from_v, *strength)?.map(|[_, v]| v);
            (k, v) = (next_k.or(k), next_v.or(v));
        }
        let other = |x: Option<Act>| x.map(|x| ops.linear(&self.qkv, &x, Epilogue::operand())).transpose();
        let (other_k, other_v) = (other(k)?, other(v)?);
        let k = other_k.as_ref().unwrap_or(&qkv).chunk(1, 3);
        let v = other_v.as_ref().unwrap_or(&qkv).chunk(2, 3);
        let place = (run.is_middle, first);
        changes.self_attention(ops, [qkv.chunk(0, 3), k, v], self.heads, normed, run.cells, place)
    }

    fn forward(&self, ops: &Ops, x: Act, run: &mut Run<'_>, first: bool) -> Result<Act> {
        let norm = |x: &Act, norm: &Norm| {
            ops.layer_norm(x, LayerNorm { norm: Some(norm), eps: 1e-5, modulation: None, out: Out::Operand })
        };

        let a = norm(&x, &self.norm1)?;
        let a = match run.changes {
            Some(changes) => self.changed_self_attention(ops, &a, changes, run, first)?,
            None => {
                let qkv = ops.linear(&self.qkv, &a, Epilogue::operand())?;
                drop(a);
                ops.attention(Attention::new(self.heads, qkv.chunk(0, 3), qkv.chunk(1, 3), qkv.chunk(2, 3)))?
            }
        };
        let mut x = ops.linear(&self.out1, &a, Epilogue::residual(&x))?;
        drop(a);
        if let Some(fuser) = run.changes.and_then(|changes| changes.fuser.as_ref()) {
            x = fuser.apply(ops, x, run.transformer)?;
        }

        let a = norm(&x, &self.norm2)?;
        let q = ops.linear(&self.q, &a, Epilogue::operand())?;
        drop(a);
        if let Some(changes) = run.changes.filter(|changes| !changes.hypernetworks.is_empty())
            && let Some(kv) = self.changed_keys_values(ops, &run.prompt.context, changes)?
        {
            run.prompt.keys_values[self.layer] = Some(kv);
        }
        let kv = self.keys_values(ops, run.prompt)?;
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
