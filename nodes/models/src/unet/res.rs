//! The residual block, and the steps between resolutions.

use std::sync::Arc;

use crate::{
    Result,
    ops::{Act, Conv, ConvShape, Epilogue, GroupNorm, Linear, Norm, Ops, Out},
    params::Loader,
};

/// All normalisations before convolutions have 32 groups.
pub(crate) const GROUPS: usize = 32;

/// GroupNorm, SiLU, convolution, twice; the timestep is added between (Ho et al. 2020).
pub(crate) struct Res {
    norm1: Arc<Norm>,
    conv1: Arc<Conv>,
    embed: Arc<Linear>,
    norm2: Arc<Norm>,
    conv2: Arc<Conv>,
    skip: Option<Arc<Conv>>,
}

impl Res {
    pub(crate) fn load(w: &Loader<'_>) -> Result<Self> {
        Ok(Self {
            norm1: w.norm("in_layers.0")?,
            conv1: w.conv("in_layers.2")?,
            embed: w.linear("emb_layers.1")?,
            norm2: w.norm("out_layers.0")?,
            conv2: w.conv("out_layers.3")?,
            skip: if w.has("skip_connection.weight") { Some(w.conv("skip_connection")?) } else { None },
        })
    }

    /// `x` is one activation, or the stream and a skip connection side by side; `embedding` is already activated.
    pub(crate) fn forward(&self, ops: &Ops, x: &[&Act], embedding: &Act) -> Result<Act> {
        let norm = GroupNorm { groups: GROUPS, eps: 1e-5, silu: true, out: Out::Operand };
        let a = ops.group_norm(x, &self.norm1, norm)?;
        let time = ops.linear(&self.embed, embedding, Epilogue::default())?;
        let same = ConvShape::same(3);
        let h =
            ops.conv(&self.conv1, &[&a], same, Epilogue { add: Some(time.cols()), ..Epilogue::default() })?;
        drop(a);
        let a = ops.group_norm(&[&h], &self.norm2, norm)?;
        drop(h);
        match &self.skip {
            Some(skip) => {
                let x = ops.conv(skip, x, ConvShape::same(1), Epilogue::default())?;
                ops.conv(&self.conv2, &[&a], same, Epilogue::residual(&x))
            }
            None => ops.conv(&self.conv2, &[&a], same, Epilogue::residual(x[0])),
        }
    }
}

/// A convolution after doubling, to the size of the skip connection that follows.
pub(crate) fn upsample(ops: &Ops, conv: &Conv, x: &Act, to: Option<(usize, usize)>) -> Result<Act> {
    let d = x.dims();
    match to {
        // An odd size was halved upwards: the doubled one is a row or column too large.
        Some((h, w)) if (h, w) != (2 * d.h, 2 * d.w) => {
            let resized = ops.resize_nearest(x, h, w)?;
            ops.conv(conv, &[&resized], ConvShape::same(3), Epilogue::default())
        }
        _ => ops.conv(conv, &[x], ConvShape { upsample: true, ..ConvShape::same(3) }, Epilogue::default()),
    }
}
