//! SD 3's multimodal transformer: text and picture with weights of their own, one attention over both
//! (Esser et al. 2024). SD 3.5 normalises queries and keys, and its medium size lets the picture attend to itself.

use std::sync::Arc;

use candle_core::Tensor;

use super::{EPS, Embedder, Modulated, Modulation, check, controlled, foreign, pad_to_patches};
use crate::{
    Error, LoadOptions, Params, Result,
    denoiser::{Denoiser, Input, Session},
    ops::{Act, Activation, Attention, Conv, ConvShape, Dims, Epilogue, HeadNorm, Linear, Norm, Ops, Out},
    params::{Loader, load},
    source::Source,
};

/// Channels of an attention head.
const HEAD: usize = 64;
/// Cells along a side of a patch.
pub(super) const PATCH: usize = 2;
/// A convolution that makes one token of each patch.
pub(super) const IN_PATCHES: ConvShape = ConvShape { stride: PATCH, pad: [0; 4], upsample: false };

/// The transformer ready to run.
pub struct Mmdit {
    ops: Ops,
    trunk: Trunk,
    last_modulation: Modulation,
    last: Arc<Linear>,
    params: Params,
}

/// What the transformer and its control networks are made of alike.
pub(super) struct Trunk {
    pub(super) patches: Arc<Conv>,
    /// `[side, side, width]`.
    positions: Vec<f32>,
    side: usize,
    pub(super) time: Embedder,
    pub(super) pooled: Embedder,
    pub(super) context: Arc<Linear>,
    pub(super) blocks: Vec<Joint>,
}

/// One block: text and picture side by side.
pub(super) struct Joint {
    text: Half,
    picture: Half,
}

/// The weights of text or picture in one block.
pub(super) struct Half {
    pub(super) modulation: Modulation,
    pub(super) attention: Projections,
    /// SD 3.5 medium's attention of the picture to itself.
    own: Option<Projections>,
    /// None where the text ends.
    feed: Option<(Arc<Linear>, Arc<Linear>)>,
}

pub(super) struct Projections {
    qkv: Arc<Linear>,
    norms: Option<(Arc<Norm>, Arc<Norm>)>,
    out: Option<Arc<Linear>>,
}

impl Projections {
    fn load(w: &Loader<'_>) -> Result<Self> {
        Ok(Self {
            qkv: w.linear("qkv")?,
            norms: if w.has("ln_q.weight") {
                Some((w.gain("ln_q.weight")?, w.gain("ln_k.weight")?))
            } else {
                None
            },
            out: if w.has("proj.weight") { Some(w.linear("proj")?) } else { None },
        })
    }

    pub(super) fn qkv(&self, ops: &Ops, x: &Act) -> Result<Act> {
        let mut qkv = ops.linear(&self.qkv, x, Epilogue::operand())?;
        let width = qkv.dims().c / 3;
        if let Some((q, k)) = &self.norms {
            for (start, norm) in [(0, q), (width, k)] {
                let how =
                    HeadNorm { start, heads: width / HEAD, size: HEAD, norm: Some((norm, EPS)), rope: None };
                ops.head_norm(&mut qkv, how)?;
            }
        }
        Ok(qkv)
    }
}

pub(super) fn attend(ops: &Ops, qkv: &Act) -> Result<Act> {
    let heads = qkv.dims().c / 3 / HEAD;
    ops.attention(Attention::new(heads, qkv.chunk(0, 3), qkv.chunk(1, 3), qkv.chunk(2, 3)))
}

impl Half {
    pub(super) fn load(w: &Loader<'_>, width: usize) -> Result<Self> {
        let feed = w.has("mlp.fc1.weight");
        Ok(Self {
            modulation: Modulation::load(w, "adaLN_modulation.1", width)?,
            attention: Projections::load(&w.at("attn"))?,
            own: if w.has("attn2.qkv.weight") { Some(Projections::load(&w.at("attn2"))?) } else { None },
            feed: if feed { Some((w.linear("mlp.fc1")?, w.linear("mlp.fc2")?)) } else { None },
        })
    }

    /// After the joint attention: gates, the picture's own attention, the feed-forward.
    pub(super) fn finish(
        &self,
        ops: &Ops,
        x: Act,
        attended: &Act,
        own: Option<Act>,
        m: &Modulated,
    ) -> Result<Act> {
        let (Some(out), Some((expand, contract))) = (&self.attention.out, &self.feed) else { return Ok(x) };
        let mut x = m.gated(ops, out, attended, 2, &x)?;
        if let (Some(Projections { out: Some(out), .. }), Some(own)) = (&self.own, &own) {
            x = m.gated(ops, out, own, 8, &x)?;
        }
        let a = m.norm(ops, &x, 3)?;
        let wide = ops.linear(expand, &a, Epilogue::activation(Activation::GeluTanh, Out::Operand))?;
        m.gated(ops, contract, &wide, 5, &x)
    }
}

impl Joint {
    pub(super) fn forward(&self, ops: &Ops, text: Act, picture: Act, condition: &Act) -> Result<(Act, Act)> {
        let text_m = self.text.modulation.forward(ops, condition)?;
        let picture_m = self.picture.modulation.forward(ops, condition)?;
        let text_qkv = self.text.attention.qkv(ops, &text_m.norm(ops, &text, 0)?)?;
        let picture_qkv = self.picture.attention.qkv(ops, &picture_m.norm(ops, &picture, 0)?)?;
        let joint = ops.concat_tokens(&[&text_qkv, &picture_qkv])?;
        drop((text_qkv, picture_qkv));
        let attended = attend(ops, &joint)?;
        drop(joint);
        let own = match &self.picture.own {
            Some(own) if self.picture.modulation.parts() == 9 => {
                let qkv = own.qkv(ops, &picture_m.norm(ops, &picture, 6)?)?;
                Some(attend(ops, &qkv)?)
            }
            _ => None,
        };
        let (texts, pictures) = (text.dims().positions(), picture.dims().positions());
        let part = ops.slice(attended.cols(), 0, texts)?;
        let text = self.text.finish(ops, text, &part, None, &text_m)?;
        let part = ops.slice(attended.cols(), texts, pictures)?;
        drop(attended);
        Ok((text, self.picture.finish(ops, picture, &part, own, &picture_m)?))
    }
}

impl Trunk {
    pub(super) fn load(w: &Loader<'_>) -> Result<Self> {
        let patches = w.conv("x_embedder.proj")?;
        let width = patches.output;
        let positions = w.values("pos_embed")?;
        let side = ((positions.len() / width) as f64).sqrt().round() as usize;
        if side * side * width != positions.len() {
            let found = w.shape("pos_embed")?;
            return Err(Error::Shape {
                name: "pos_embed".into(),
                found,
                expected: format!("[1, side², {width}]"),
            });
        }
        let list = w.at("joint_blocks");
        let count = list.count(|i| format!("{i}.x_block.attn.qkv.weight"));
        let half = |i: usize, name: &str| Half::load(&list.at(i).at(name), width);
        let blocks = (0..count)
            .map(|i| Ok(Joint { text: half(i, "context_block")?, picture: half(i, "x_block")? }))
            .collect::<Result<_>>()?;
        Ok(Self {
            positions,
            side,
            time: Embedder::load(&w.at("t_embedder"), "mlp.0", "mlp.2")?,
            pooled: Embedder::load(&w.at("y_embedder"), "mlp.0", "mlp.2")?,
            context: w.linear("context_embedder")?,
            blocks,
            patches,
        })
    }

    /// The middle of the learned square of positions, one row a patch.
    fn positions(&self, ops: &Ops, n: usize, h: usize, w: usize) -> Result<Act> {
        let width = self.patches.output;
        if h > self.side || w > self.side {
            let expected = format!("at most {0} × {0} patches", self.side);
            return Err(Error::Input {
                model: "SD3 transformer",
                input: "x",
                found: format!("{h} × {w}"),
                expected,
            });
        }
        let (top, left) = ((self.side - h) / 2, (self.side - w) / 2);
        let mut one = Vec::with_capacity(n * h * w * width);
        for y in 0..h {
            let row = ((top + y) * self.side + left) * width;
            one.extend_from_slice(&self.positions[row..row + w * width]);
        }
        let all = one.repeat(n);
        ops.upload(Dims { n, h, w, c: width }, &all)
    }

    /// The latent's patches at their positions, one token each, with `beside` added where it is given.
    pub(super) fn picture(&self, ops: &Ops, x: &Tensor, beside: Option<&Act>) -> Result<Act> {
        let x = ops.from_nchw(&pad_to_patches(x, PATCH)?)?;
        let Dims { n, h, w, .. } = x.dims();
        let mut under = self.positions(ops, n, h / PATCH, w / PATCH)?;
        if let Some(beside) = beside {
            under = ops.add(&under, beside, 1.0)?;
        }
        ops.conv(&self.patches, &[&x], IN_PATCHES, Epilogue::residual(&under))
    }

    /// What every block is conditioned on, activated; `y` is `[n, 1, channels]`.
    pub(super) fn condition(&self, ops: &Ops, timesteps: &[f32], y: Option<&Tensor>) -> Result<Act> {
        let mut condition = self.time.add_numbers(ops, timesteps, None)?;
        if let Some(y) = y {
            condition = self.pooled.add(ops, &ops.from_tokens(y)?, Some(condition))?;
        }
        ops.activate(&condition, Activation::Silu, Out::Operand)
    }
}

impl Mmdit {
    /// Loads tensors named as in the single file, without the `model.diffusion_model.` before them.
    pub fn load<'a>(ops: &'a Ops, source: &'a dyn Source, options: LoadOptions<'a>) -> Result<Self> {
        let (model, params) = load(ops, source, "SD3 transformer", options, |w| {
            let trunk = Trunk::load(w)?;
            let width = trunk.patches.output;
            Ok(Self {
                ops: ops.clone(),
                last_modulation: Modulation::load(w, "final_layer.adaLN_modulation.1", width)?,
                last: w.linear("final_layer.linear")?,
                trunk,
                params: Params::default(),
            })
        })?;
        Ok(Self { params, ..model })
    }
}

impl Denoiser for Mmdit {
    fn denoise(&self, session: &mut Session, input: Input<'_>) -> Result<Tensor> {
        let ops = &self.ops;
        check(
            "SD3 transformer",
            &input,
            self.trunk.patches.input,
            self.trunk.context.input,
            self.trunk.pooled.first.input,
        )?;
        let (n, _, height, width) = input.x.dims4()?;
        let y = input.y.map(|y| y.narrow(1, 0, self.trunk.pooled.first.input)?.unsqueeze(1)).transpose()?;

        if input.control.is_some_and(|control| !control.input.is_empty()) {
            let expected = "what is added after each of its blocks".into();
            return Err(foreign("SD3 transformer", "what Flux or a UNet reads".into(), expected));
        }
        let mut picture = self.trunk.picture(ops, input.x, None)?;
        let Dims { h, w, .. } = picture.dims();
        let condition = self.trunk.condition(ops, input.timesteps, y.as_ref())?;
        let prompt = session.prompt(ops, input.context, 0)?;
        let mut text = ops.linear(&self.trunk.context, &prompt.context, Epilogue::default())?;
        let skipped = input.changes.map(|changes| changes.skipped.double.as_slice()).unwrap_or_default();
        for (i, block) in self.trunk.blocks.iter().enumerate() {
            if !skipped.contains(&i) {
                (text, picture) = block.forward(ops, text, picture, &condition)?;
            }
            let added = input.control.and_then(|control| control.output.get(i)?.as_deref());
            picture = controlled(ops, "SD3 transformer", picture, 0, added)?;
        }
        drop(text);
        let last = self.last_modulation.forward(ops, &condition)?;
        let y = ops.linear(&self.last, &last.norm(ops, &picture, 0)?, Epilogue::default())?;
        let channels = self.last.output / (PATCH * PATCH);
        // A token's values are its patch's cells, row by row, with the channels of a cell side by side.
        let y = ops.to_tokens(&y)?.reshape(vec![n, h, w, PATCH, PATCH, channels])?;
        let y =
            y.permute(vec![0, 5, 1, 3, 2, 4])?.contiguous()?.reshape((n, channels, h * PATCH, w * PATCH))?;
        Ok(y.narrow(2, 0, height)?.narrow(3, 0, width)?.contiguous()?)
    }

    fn params(&self) -> &Params {
        &self.params
    }

    fn context_channels(&self) -> usize {
        self.trunk.context.input
    }

    fn y_channels(&self) -> Option<usize> {
        Some(self.trunk.pooled.first.input)
    }

    fn input_channels(&self) -> usize {
        self.trunk.patches.input
    }
}
