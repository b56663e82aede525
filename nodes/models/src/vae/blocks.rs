//! What both halves of the autoencoder are made of.

use std::sync::Arc;

use crate::{
    Error, Result,
    ops::{Act, Attention, Conv, ConvShape, Epilogue, GroupNorm, Linear, Norm, Ops, Out},
    params::Loader,
};

/// Whether the caller wants no answer any more: asked before each block, since a large picture takes minutes.
pub(super) type Stop<'a> = &'a dyn Fn() -> bool;

pub(super) const GROUPS: usize = 32;
pub(super) const EPS: f32 = 1e-6;

/// Blocks of one resolution, then the step to the next.
pub(super) struct Level {
    blocks: Vec<Res>,
    pub(super) resize: Option<Arc<Conv>>,
}

impl Level {
    pub(super) fn load(w: &Loader<'_>, resize: &str) -> Result<Self> {
        let blocks = w.count(|i| format!("block.{i}.norm1.weight"));
        let conv = format!("{resize}.conv");
        Ok(Self {
            blocks: (0..blocks).map(|i| Res::load(&w.at(format!("block.{i}")))).collect::<Result<_>>()?,
            resize: if w.has(&format!("{conv}.weight")) { Some(w.conv(&conv)?) } else { None },
        })
    }

    pub(super) fn forward(&self, ops: &Ops, mut h: Act, shape: ConvShape, stop: Stop<'_>) -> Result<Act> {
        for block in &self.blocks {
            if stop() {
                return Err(Error::Cancelled);
            }
            h = block.forward(ops, h)?;
        }
        match &self.resize {
            Some(conv) => ops.conv(conv, &[&h], shape, Epilogue::default()),
            None => Ok(h),
        }
    }
}

/// Block, attention over all pixels, block.
pub(super) struct Middle {
    first: Res,
    norm: Arc<Norm>,
    qkv: Arc<Linear>,
    out: Arc<Linear>,
    second: Res,
}

impl Middle {
    pub(super) fn load(w: &Loader<'_>) -> Result<Self> {
        let a = w.at("attn_1");
        Ok(Self {
            first: Res::load(&w.at("block_1"))?,
            norm: a.norm("norm")?,
            qkv: a.fused(&["q", "k", "v"])?,
            out: a.linear("proj_out")?,
            second: Res::load(&w.at("block_2"))?,
        })
    }

    pub(super) fn forward(&self, ops: &Ops, x: Act) -> Result<Act> {
        let h = self.first.forward(ops, x)?;
        let norm = GroupNorm { groups: GROUPS, eps: EPS, silu: false, out: Out::Operand };
        let a = ops.group_norm(&[&h], &self.norm, norm)?;
        let qkv = ops.linear(&self.qkv, &a, Epilogue::operand())?;
        drop(a);
        let a = ops.attention(Attention::new(1, qkv.chunk(0, 3), qkv.chunk(1, 3), qkv.chunk(2, 3)))?;
        drop(qkv);
        let h = ops.linear(&self.out, &a, Epilogue::residual(&h))?;
        drop(a);
        self.second.forward(ops, h)
    }
}

/// GroupNorm, SiLU, convolution, twice.
struct Res {
    norm1: Arc<Norm>,
    conv1: Arc<Conv>,
    norm2: Arc<Norm>,
    conv2: Arc<Conv>,
    skip: Option<Arc<Linear>>,
}

impl Res {
    fn load(w: &Loader<'_>) -> Result<Self> {
        Ok(Self {
            norm1: w.norm("norm1")?,
            conv1: w.conv("conv1")?,
            norm2: w.norm("norm2")?,
            conv2: w.conv("conv2")?,
            skip: if w.has("nin_shortcut.weight") { Some(w.linear("nin_shortcut")?) } else { None },
        })
    }

    fn forward(&self, ops: &Ops, x: Act) -> Result<Act> {
        let norm = GroupNorm { groups: GROUPS, eps: EPS, silu: true, out: Out::Operand };
        let same = ConvShape::same(3);
        let a = ops.group_norm(&[&x], &self.norm1, norm)?;
        let h = ops.conv(&self.conv1, &[&a], same, Epilogue::default())?;
        drop(a);
        let a = ops.group_norm(&[&h], &self.norm2, norm)?;
        drop(h);
        let x = match &self.skip {
            Some(skip) => ops.linear(skip, &x, Epilogue::default())?,
            None => x,
        };
        ops.conv(&self.conv2, &[&a], same, Epilogue::residual(&x))
    }
}
