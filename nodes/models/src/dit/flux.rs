//! Flux (Black Forest Labs 2024, `black-forest-labs/flux`): blocks with weights for text and picture apart, then
//! blocks that treat both as one sequence; positions are rotations.

use std::sync::Arc;

use candle_core::Tensor;

use super::{EPS, Embedder, Modulated, Modulation, check, controlled, pad_to_patches};
use crate::{
    Error, LoadOptions, Params, Result,
    denoiser::{Denoiser, Input, Places, References, Session},
    ops::{
        Act, Activation, Attention, Conv, ConvShape, Dims, Epilogue, HeadNorm, Linear, Mask, Norm, Ops, Out,
        Rope,
    },
    params::{Loader, load},
    source::Source,
};

/// Channels of an attention head, and how many of them rotate with index, row and column.
const HEAD: usize = 128;
const AXES: [usize; 3] = [16, 56, 56];
const THETA: f64 = 10_000.0;
/// Cells along a side of a patch.
pub(super) const PATCH: usize = 2;
/// Timesteps are 0 to 1, guidance is a small number: both are embedded in thousandths.
const UNITS: f32 = 1000.0;

/// The transformer ready to run.
pub struct Flux {
    ops: Ops,
    trunk: Trunk,
    last_modulation: Modulation,
    last: Arc<Linear>,
    params: Params,
}

/// What the transformer and its control networks are made of alike.
pub(super) struct Trunk {
    pub(super) picture: Arc<Linear>,
    pub(super) text: Arc<Linear>,
    time: Embedder,
    pub(super) pooled: Embedder,
    guidance: Option<Embedder>,
    pub(super) double: Vec<Double>,
    pub(super) single: Vec<Single>,
}

pub(super) struct Double {
    picture: Half,
    text: Half,
}

struct Half {
    modulation: Modulation,
    qkv: Arc<Linear>,
    norms: (Arc<Norm>, Arc<Norm>),
    out: Arc<Linear>,
    expand: Arc<Linear>,
    contract: Arc<Linear>,
}

pub(super) struct Single {
    modulation: Modulation,
    qkv: Arc<Linear>,
    expand: Arc<Linear>,
    norms: (Arc<Norm>, Arc<Norm>),
    /// Over attention and feed-forward side by side.
    out: Arc<Conv>,
}

fn norms(w: &Loader<'_>) -> Result<(Arc<Norm>, Arc<Norm>)> {
    Ok((w.gain("query_norm.scale")?, w.gain("key_norm.scale")?))
}

/// Normalises queries and keys, and rotates them where positions are given.
fn treat(
    ops: &Ops,
    qkv: &mut Act,
    norms: Option<&(Arc<Norm>, Arc<Norm>)>,
    rope: Option<&Rope>,
) -> Result<()> {
    let width = qkv.dims().c / 3;
    for (i, start) in [0, width].into_iter().enumerate() {
        let norm = norms.map(|(q, k)| (if i == 0 { &**q } else { &**k }, EPS));
        ops.head_norm(qkv, HeadNorm { start, heads: width / HEAD, size: HEAD, norm, rope })?;
    }
    Ok(())
}

fn attend(ops: &Ops, qkv: &Act, mask: Option<&Mask>) -> Result<Act> {
    let heads = qkv.dims().c / 3 / HEAD;
    let plain = Attention::new(heads, qkv.chunk(0, 3), qkv.chunk(1, 3), qkv.chunk(2, 3));
    ops.attention(Attention { mask, ..plain })
}

/// What every block of one call reads.
pub(super) struct Call<'a> {
    pub(super) condition: &'a Act,
    pub(super) rope: &'a Rope,
    pub(super) mask: Option<&'a Mask>,
}

impl Half {
    fn load(w: &Loader<'_>, side: &str, width: usize) -> Result<Self> {
        Ok(Self {
            modulation: Modulation::load(w, &format!("{side}_mod.lin"), width)?,
            qkv: w.linear(&format!("{side}_attn.qkv"))?,
            norms: norms(&w.at(format!("{side}_attn.norm")))?,
            out: w.linear(&format!("{side}_attn.proj"))?,
            expand: w.linear(&format!("{side}_mlp.0"))?,
            contract: w.linear(&format!("{side}_mlp.2"))?,
        })
    }

    fn qkv(&self, ops: &Ops, x: &Act, m: &Modulated) -> Result<Act> {
        let mut qkv = ops.linear(&self.qkv, &m.norm(ops, x, 0)?, Epilogue::operand())?;
        treat(ops, &mut qkv, Some(&self.norms), None)?;
        Ok(qkv)
    }

    fn finish(&self, ops: &Ops, x: &Act, attended: &Act, m: &Modulated) -> Result<Act> {
        let x = m.gated(ops, &self.out, attended, 2, x)?;
        let a = m.norm(ops, &x, 3)?;
        let wide = ops.linear(&self.expand, &a, Epilogue::activation(Activation::GeluTanh, Out::Operand))?;
        m.gated(ops, &self.contract, &wide, 5, &x)
    }
}

impl Double {
    pub(super) fn forward(&self, ops: &Ops, text: Act, picture: Act, call: &Call<'_>) -> Result<(Act, Act)> {
        let Call { condition, rope, mask } = *call;
        let text_m = self.text.modulation.forward(ops, condition)?;
        let picture_m = self.picture.modulation.forward(ops, condition)?;
        let text_qkv = self.text.qkv(ops, &text, &text_m)?;
        let picture_qkv = self.picture.qkv(ops, &picture, &picture_m)?;
        let mut joint = ops.concat_tokens(&[&text_qkv, &picture_qkv])?;
        drop((text_qkv, picture_qkv));
        treat(ops, &mut joint, None, Some(rope))?;
        let attended = attend(ops, &joint, mask)?;
        drop(joint);
        let texts = text.dims().positions();
        let part = ops.slice(attended.cols(), 0, texts)?;
        let text = self.text.finish(ops, &text, &part, &text_m)?;
        let part = ops.slice(attended.cols(), texts, picture.dims().positions())?;
        drop(attended);
        Ok((text, self.picture.finish(ops, &picture, &part, &picture_m)?))
    }
}

impl Single {
    fn load(w: &Loader<'_>, width: usize) -> Result<Self> {
        let rows = w.shape("linear1.weight")?[0];
        let mut parts = w.linear_rows("linear1", &[3 * width, rows.saturating_sub(3 * width)])?.into_iter();
        let missing = || Error::MissingTensor { what: "Flux", name: w.name("linear1.weight") };
        Ok(Self {
            modulation: Modulation::load(w, "modulation.lin", width)?,
            qkv: parts.next().ok_or_else(missing)?,
            expand: parts.next().ok_or_else(missing)?,
            norms: norms(&w.at("norm"))?,
            out: w.conv_1x1("linear2")?,
        })
    }

    pub(super) fn forward(&self, ops: &Ops, x: Act, call: &Call<'_>) -> Result<Act> {
        let Call { condition, rope, mask } = *call;
        let m = self.modulation.forward(ops, condition)?;
        let a = m.norm(ops, &x, 0)?;
        let mut qkv = ops.linear(&self.qkv, &a, Epilogue::operand())?;
        treat(ops, &mut qkv, Some(&self.norms), Some(rope))?;
        let attended = attend(ops, &qkv, mask)?;
        drop(qkv);
        let wide = ops.linear(&self.expand, &a, Epilogue::activation(Activation::GeluTanh, Out::Operand))?;
        drop(a);
        let gated = Epilogue { gate: Some(m.part(2)), ..Epilogue::residual(&x) };
        ops.conv(&self.out, &[&attended, &wide], ConvShape::same(1), gated)
    }
}

impl Trunk {
    pub(super) fn load(w: &Loader<'_>) -> Result<Self> {
        let picture = w.linear("img_in")?;
        let width = picture.output;
        let (double, single) = (w.at("double_blocks"), w.at("single_blocks"));
        let doubles = double.count(|i| format!("{i}.img_attn.qkv.weight"));
        let singles = single.count(|i| format!("{i}.linear1.weight"));
        let embedder = |name: &str| Embedder::load(&w.at(name), "in_layer", "out_layer");
        let load_double = |i: usize| {
            let w = double.at(i);
            Ok(Double { picture: Half::load(&w, "img", width)?, text: Half::load(&w, "txt", width)? })
        };
        Ok(Self {
            picture,
            text: w.linear("txt_in")?,
            time: embedder("time_in")?,
            pooled: embedder("vector_in")?,
            guidance: if w.has("guidance_in.in_layer.weight") {
                Some(embedder("guidance_in")?)
            } else {
                None
            },
            double: (0..doubles).map(load_double).collect::<Result<_>>()?,
            single: (0..singles).map(|i| Single::load(&single.at(i), width)).collect::<Result<_>>()?,
        })
    }

    /// What every block is conditioned on, activated.
    pub(super) fn condition(&self, ops: &Ops, input: &Input<'_>) -> Result<Act> {
        let in_units = |numbers: &[f32]| numbers.iter().map(|t| t * UNITS).collect::<Vec<_>>();
        let mut sum = self.time.add_numbers(ops, &in_units(input.timesteps), None)?;
        if let (Some(guidance), Some(numbers)) = (&self.guidance, input.guidance) {
            sum = guidance.add_numbers(ops, &in_units(numbers), Some(sum))?;
        }
        if let Some(y) = input.y {
            let y = y.narrow(1, 0, self.pooled.first.input)?.unsqueeze(1)?;
            sum = self.pooled.add(ops, &ops.from_tokens(&y)?, Some(sum))?;
        }
        ops.activate(&sum, Activation::Silu, Out::Operand)
    }
}

impl Flux {
    /// Loads tensors in the original naming, without a `model.diffusion_model.` before them.
    pub fn load<'a>(ops: &'a Ops, source: &'a dyn Source, options: LoadOptions<'a>) -> Result<Self> {
        let (model, params) = load(ops, source, "Flux", options, |w| {
            let trunk = Trunk::load(w)?;
            Ok(Self {
                ops: ops.clone(),
                last_modulation: Modulation::load(w, "final_layer.adaLN_modulation.1", trunk.picture.output)?,
                last: w.linear("final_layer.linear")?,
                trunk,
                params: Params::default(),
            })
        })?;
        Ok(Self { params, ..model })
    }

    /// Whether it reads a guidance.
    pub fn reads_guidance(&self) -> bool {
        self.trunk.guidance.is_some()
    }

    /// The picture's tokens, then those of the references. `size` is the picture's in patches.
    fn with_references(
        &self,
        picture: Act,
        references: References<'_>,
        size: (usize, usize),
        positions: &mut Vec<[usize; 3]>,
    ) -> Result<Act> {
        let ops = &self.ops;
        let n = picture.dims().n;
        let mut tokens = vec![picture];
        let (mut bottom, mut right) = (0, 0);
        for (i, latent) in references.latents.iter().enumerate() {
            let (own, _, height, width) = latent.dims4()?;
            let latent = match own {
                _ if own == n => latent.clone(),
                1 => latent.repeat((n, 1, 1, 1))?,
                _ => latent.narrow(0, 0, 1)?.repeat((n, 1, 1, 1))?,
            };
            let x = ops.from_nchw(&patches(&pad_to_patches(&latent, PATCH)?)?)?;
            let Dims { h, w, .. } = x.dims();
            // In cells of the latent, as the reference counts them.
            let (plane, top, left) = match references.places {
                Places::Index => (i + 1, 0, 0),
                Places::Diagonal => {
                    let place = (0, size.0 * PATCH + bottom, size.1 * PATCH + right);
                    (bottom, right) = (bottom + height, right + width);
                    place
                }
                Places::Offset => {
                    let (top, left) = if height + bottom > width + right { (0, right) } else { (bottom, 0) };
                    (bottom, right) = (bottom.max(height + top), right.max(width + left));
                    (1, top, left)
                }
            };
            let in_patches = |cells: usize| (cells + PATCH / 2) / PATCH;
            let (top, left) = (in_patches(top), in_patches(left));
            positions.extend((0..h * w).map(|i| [plane, top + i / w, left + i % w]));
            tokens.push(ops.linear(&self.trunk.picture, &x, Epilogue::default())?);
        }
        ops.concat_stream(&tokens.iter().collect::<Vec<_>>())
    }
}

impl Denoiser for Flux {
    fn denoise(&self, session: &mut Session, input: Input<'_>) -> Result<Tensor> {
        let ops = &self.ops;
        check("Flux", &input, self.input_channels(), self.trunk.text.input, self.trunk.pooled.first.input)?;
        let (_, _, height, width) = input.x.dims4()?;
        let patches = patches(&pad_to_patches(input.x, PATCH)?)?;
        let x = ops.from_nchw(&patches)?;
        let Dims { n, h, w, .. } = x.dims();
        let mut picture = ops.linear(&self.trunk.picture, &x, Epilogue::default())?;
        drop(x);
        let mut positions: Vec<[usize; 3]> = (0..h * w).map(|i| [0, i / w, i % w]).collect();
        if !input.references.latents.is_empty() {
            picture = self.with_references(picture, input.references, (h, w), &mut positions)?;
        }
        let condition = self.trunk.condition(ops, &input)?;
        let prompt = session.prompt(ops, input.context, 0)?;
        let mut text = ops.linear(&self.trunk.text, &prompt.context, Epilogue::default())?;
        let texts = text.dims().positions();
        let rope = rope(texts, &positions);
        let pictures = positions.len();
        let bias = input.references.attention_bias;
        let mask = bias.map(|bias| widened(bias, texts, pictures)).transpose()?;
        let call = &Call { condition: &condition, rope: &rope, mask: mask.as_ref() };
        let skipped = input.changes.map(|changes| &changes.skipped);
        let is_left_out = |list: &[usize], i: usize| list.contains(&i);
        for (i, block) in self.trunk.double.iter().enumerate() {
            if skipped.is_none_or(|skipped| !is_left_out(&skipped.double, i)) {
                (text, picture) = block.forward(ops, text, picture, call)?;
            }
            let added = input.control.and_then(|control| control.input.get(i)?.as_deref());
            picture = controlled(ops, "Flux", picture, 0, added)?;
        }
        let mut both = ops.concat_stream(&[&text, &picture])?;
        drop((text, picture));
        for (i, block) in self.trunk.single.iter().enumerate() {
            if skipped.is_none_or(|skipped| !is_left_out(&skipped.single, i)) {
                both = block.forward(ops, both, call)?;
            }
            let added = input.control.and_then(|control| control.output.get(i)?.as_deref());
            both = controlled(ops, "Flux", both, texts, added)?;
        }
        let picture = ops.slice(both.cols(), texts, h * w)?;
        drop(both);
        let last = self.last_modulation.forward(ops, &condition)?;
        let y = ops.linear(&self.last, &last.norm(ops, &picture, 0)?, Epilogue::default())?;
        let y = ops.to_nchw(&ops.pixel_shuffle(&y.with_positions(h, w), PATCH)?)?;
        debug_assert_eq!(y.dim(0)?, n);
        Ok(y.narrow(2, 0, height)?.narrow(3, 0, width)?.contiguous()?)
    }

    fn params(&self) -> &Params {
        &self.params
    }

    fn context_channels(&self) -> usize {
        self.trunk.text.input
    }

    fn y_channels(&self) -> Option<usize> {
        Some(self.trunk.pooled.first.input)
    }

    fn input_channels(&self) -> usize {
        self.trunk.picture.input / (PATCH * PATCH)
    }
}

/// Patches as channels: `[n, c · 4, h / 2, w / 2]`.
pub(super) fn patches(x: &Tensor) -> Result<Tensor> {
    let (n, c, h, w) = x.dims4()?;
    let (h, w) = (h / PATCH, w / PATCH);
    let x = x.reshape(vec![n, c, h, PATCH, w, PATCH])?.permute(vec![0, 1, 3, 5, 2, 4])?;
    Ok(x.contiguous()?.reshape((n, c * PATCH * PATCH, h, w))?)
}

/// A bias over `texts` tokens and one position for the picture, for as many positions as the picture has.
fn widened(bias: &Tensor, texts: usize, pictures: usize) -> Result<Mask> {
    let (n, rows, columns) = bias.dims3()?;
    let expected = format!("{0} × {0}, as the prompt has tokens and one for the picture", texts + 1);
    if (rows, columns) != (texts + 1, texts + 1) {
        let found = format!("{rows} × {columns}");
        return Err(Error::Input { model: "Flux", input: "attention_mask", found, expected });
    }
    let values = bias.to_dtype(candle_core::DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
    let size = texts + pictures;
    let mut wide = Vec::with_capacity(n * size * size);
    for sample in values.chunks_exact(rows * columns) {
        for i in 0..size {
            let row = &sample[i.min(texts) * columns..][..columns];
            wide.extend((0..size).map(|k| row[k.min(texts)]));
        }
    }
    Ok(Mask { values: Arc::new(wide), dims: [n, 1, size, size] })
}

/// Angles of text tokens (all at position 0) and of patches, by row and column. In f64, as the reference has it.
pub(super) fn rope(texts: usize, positions: &[[usize; 3]]) -> Rope {
    let (mut cos, mut sin) = (Vec::new(), Vec::new());
    let mut push = |position: [usize; 3]| {
        for (axis, at) in AXES.into_iter().zip(position) {
            for i in 0..axis / 2 {
                let angle = at as f64 / THETA.powf(2.0 * i as f64 / axis as f64);
                cos.push(angle.cos() as f32);
                sin.push(angle.sin() as f32);
            }
        }
    };
    (0..texts).for_each(|_| push([0; 3]));
    positions.iter().for_each(|position| push(*position));
    Rope { cos, sin }
}
