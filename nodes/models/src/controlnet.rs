//! ControlNet (Zhang et al. 2023): a UNet's first half that reads a hint, and what it adds to the UNet it guides.

use std::sync::Arc;

use candle_core::Tensor;

use crate::{
    Error, LoadOptions, Params, Result,
    denoiser::{Input, Prompt, Residuals, Session},
    ops::{Act, Activation, Attention, Conv, ConvShape, Dims, Epilogue, LayerNorm, Linear, Norm, Ops, Out},
    params::{Loader, load},
    source::Source,
    timestep,
    unet::{Embedder, Run, Stage, context_channels, load_stages},
};

/// A network that looks at every step: what it makes of a hint, and what it adds to the denoiser that it guides.
pub trait ControlNetwork: Send + Sync {
    /// Bytes of its weights.
    fn bytes(&self) -> usize;

    /// Channels that it expects of the latent.
    fn input_channels(&self) -> usize;

    /// Channels of a text token.
    fn context_channels(&self) -> usize;

    /// Channels of the pooled text and sizes, where it reads any.
    fn y_channels(&self) -> Option<usize>;

    /// How many kinds of hints it tells apart; 0 of a network for one kind.
    fn kinds(&self) -> usize {
        0
    }

    /// How hints come to it.
    fn sees(&self) -> Sees {
        Sees::Pixels
    }

    /// Pixels in 0 to 1 as the network was trained on them, before an autoencoder reads them.
    ///
    /// # Errors
    /// Where the values cannot be computed.
    fn prepared(&self, pixels: &Tensor) -> Result<Tensor> {
        Ok(pixels.clone())
    }

    /// Reads a hint: pixels `[n, 3, 8h, 8w]` in 0 to 1 for latents of `h × w`, or a latent `[n, c, h, w]`, as
    /// [`sees`](Self::sees) says; of a kind, where the network tells them apart.
    ///
    /// # Errors
    /// Where shape or kind are not the network's.
    fn hint(&self, seen: &Tensor, kind: Option<usize>) -> Result<Hint>;

    /// What it adds to the denoiser that is called with the same input, times `strength`.
    ///
    /// # Errors
    /// Where the input is not the network's, or the hint not of the latent's size.
    fn residuals(
        &self,
        session: &mut Session,
        hint: &Hint,
        input: Input<'_>,
        kind: Option<usize>,
        strength: f32,
    ) -> Result<Residuals>;
}

/// How hints come to a control network.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Sees {
    /// As pixels, eight along a side of a latent's cell.
    Pixels,
    /// As a latent, `(values - shift) · scale` of what the autoencoder makes of the pixels.
    Latent {
        /// Taken from the autoencoder's values.
        shift: f64,
        /// What they are multiplied with then.
        scale: f64,
        /// Whether a mask follows the channels: 1 where the hint is to be kept.
        masked: bool,
    },
}

/// A control network of a UNet, ready to run.
pub struct ControlNet {
    ops: Ops,
    embedder: Embedder,
    hint: Vec<(Arc<Conv>, ConvShape)>,
    input: Vec<Stage>,
    zeros: Vec<Arc<Linear>>,
    middle: Stage,
    middle_out: Arc<Linear>,
    layers: usize,
    channels: usize,
    context_channels: usize,
    union: Option<Union>,
    params: Params,
}

/// What tells one network several kinds of hints (`controlnet-union`, xinsir 2024).
struct Union {
    /// One row a kind.
    tasks: Vec<Vec<f32>>,
    layers: Vec<UnionLayer>,
    out: Arc<Linear>,
    /// Kinds as numbers, embedded and added to the timestep's.
    kinds: [Arc<Linear>; 2],
}

struct UnionLayer {
    norm1: Arc<Norm>,
    qkv: Arc<Linear>,
    attended: Arc<Linear>,
    norm2: Arc<Norm>,
    expand: Arc<Linear>,
    contract: Arc<Linear>,
}

/// Numbers that a kind is embedded in.
const KIND: usize = 256;
/// Heads of the layers that read hints.
const UNION_HEADS: usize = 8;

/// A hint as the network's first layers see it: the same at every step.
pub struct Hint(pub(crate) Act);

impl ControlNet {
    /// Loads tensors in the single-file naming, without the `control_model.` before them.
    pub fn load<'a>(ops: &'a Ops, source: &'a dyn Source, options: LoadOptions<'a>) -> Result<Self> {
        let (net, params) = load(ops, source, "ControlNet", options, |w| {
            let mut layers = 0;
            let embedder = Embedder::load(w)?;
            let (input, middle) = load_stages(w, &mut layers)?;
            let zeros =
                (0..input.len()).map(|i| w.linear(&format!("zero_convs.{i}.0"))).collect::<Result<_>>()?;
            let (hint, middle_out) = (load_hint(&w.at("input_hint_block"))?, w.linear("middle_block_out.0")?);
            let channels = w.shape("input_blocks.0.0.weight")?.get(1).copied().unwrap_or(0);
            let (context_channels, params) = (context_channels(source)?, Params::default());
            let ops = ops.clone();
            let union = if w.has("task_embedding") { Some(Union::load(w)?) } else { None };
            Ok(Self {
                ops,
                embedder,
                hint,
                input,
                zeros,
                middle,
                middle_out,
                layers,
                channels,
                context_channels,
                union,
                params,
            })
        })?;
        Ok(Self { params, ..net })
    }
}

impl ControlNetwork for ControlNet {
    fn kinds(&self) -> usize {
        self.union.as_ref().map_or(0, |union| union.tasks.len())
    }

    fn bytes(&self) -> usize {
        self.params.bytes()
    }

    fn input_channels(&self) -> usize {
        self.channels
    }

    fn context_channels(&self) -> usize {
        self.context_channels
    }

    fn y_channels(&self) -> Option<usize> {
        self.embedder.label.as_ref().map(|label| label[0].input)
    }

    fn hint(&self, pixels: &Tensor, kind: Option<usize>) -> Result<Hint> {
        let x = read_hint(&self.ops, &self.hint, pixels)?;
        match (&self.union, kind) {
            (Some(union), Some(kind)) => Ok(Hint(union.read(&self.ops, x, kind)?)),
            _ => Ok(Hint(x)),
        }
    }

    fn residuals(
        &self,
        session: &mut Session,
        hint: &Hint,
        input: Input<'_>,
        kind: Option<usize>,
        strength: f32,
    ) -> Result<Residuals> {
        let ops = &self.ops;
        let x = ops.from_nchw(input.x)?;
        hint.check("ControlNet", x.dims())?;
        let d = x.dims();
        let prompt: &mut Prompt = session.prompt(ops, input.context, self.layers)?;
        let mut stages = self.input.iter().chain([&self.middle]);
        stages.try_for_each(|stage| stage.prepare(ops, prompt))?;
        let kinds = self.union.as_ref().map(|union| union.embed(ops, d.n, kind)).transpose()?;
        let embedding = self.embedder.forward_with(ops, input.timesteps, input.y, kinds)?;
        let run = &mut Run::new(&embedding, prompt, (d.h, d.w));
        let scaled = Epilogue { scale: Some(strength), ..Epilogue::default() };
        let mut residuals = Residuals::default();
        let mut h = x;
        for (i, (stage, zero)) in self.input.iter().zip(&self.zeros).enumerate() {
            h = stage.forward(ops, &[&h], run, None)?;
            if i == 0 {
                h = ops.add(&h, &hint.0, 1.0)?;
            }
            residuals.output.push(Some(Arc::new(ops.linear(zero, &h, scaled)?)));
        }
        let h = self.middle.forward(ops, &[&h], run, None)?;
        residuals.middle = Some(Arc::new(ops.linear(&self.middle_out, &h, scaled)?));
        Ok(residuals)
    }
}

impl Union {
    fn load(w: &Loader<'_>) -> Result<Self> {
        let shape = w.shape("task_embedding")?;
        let width = shape.get(1).copied().unwrap_or(1).max(1);
        let list = w.at("transformer_layes");
        let count = list.count(|i| format!("{i}.ln_1.weight"));
        let layer = |i: usize| {
            let w = list.at(i);
            // The original has one tensor for three matrices, which a conversion renames.
            let (weight, bias) = if w.has("attn.in_proj_weight") {
                (w.name("attn.in_proj_weight"), w.name("attn.in_proj_bias"))
            } else {
                (w.name("attn.in_proj.weight"), w.name("attn.in_proj.bias"))
            };
            Ok(UnionLayer {
                norm1: w.norm("ln_1")?,
                qkv: w.linear_from(&[weight], &[bias], None)?,
                attended: w.linear("attn.out_proj")?,
                norm2: w.norm("ln_2")?,
                expand: w.linear("mlp.c_fc")?,
                contract: w.linear("mlp.c_proj")?,
            })
        };
        Ok(Self {
            tasks: w.values("task_embedding")?.chunks_exact(width).map(<[f32]>::to_vec).collect(),
            layers: (0..count).map(layer).collect::<Result<_>>()?,
            out: w.linear("spatial_ch_projs")?,
            kinds: [w.linear("control_add_embedding.linear_1")?, w.linear("control_add_embedding.linear_2")?],
        })
    }

    /// The hint with what its mean and its kind say added everywhere.
    fn read(&self, ops: &Ops, hint: Act, kind: usize) -> Result<Act> {
        let d = hint.dims();
        let task = self.tasks.get(kind).ok_or_else(|| Error::Input {
            model: "ControlNet",
            input: "type",
            found: kind.to_string(),
            expected: format!("one of the {} kinds that this network was trained for", self.tasks.len()),
        })?;
        let values = ops.download(&hint)?;
        let mut means = Vec::with_capacity(d.n * d.c);
        for sample in values.chunks_exact((d.positions() * d.c).max(1)) {
            let mut mean = vec![0f64; d.c];
            for row in sample.chunks_exact(d.c) {
                mean.iter_mut().zip(row).for_each(|(m, v)| *m += f64::from(*v));
            }
            let of = |(m, task): (f64, &f32)| (m / d.positions() as f64) as f32 + task;
            means.extend(mean.into_iter().zip(task).map(of));
        }
        let mut x = ops.upload(Dims::tokens(d.n, 1, d.c), &means)?;
        let norm = |x: &Act, norm: &Norm| {
            ops.layer_norm(x, LayerNorm { norm: Some(norm), eps: 1e-5, modulation: None, out: Out::Operand })
        };
        for layer in &self.layers {
            let qkv = ops.linear(&layer.qkv, &norm(&x, &layer.norm1)?, Epilogue::operand())?;
            let all = Attention::new(UNION_HEADS, qkv.chunk(0, 3), qkv.chunk(1, 3), qkv.chunk(2, 3));
            let a = ops.attention(all)?;
            x = ops.linear(&layer.attended, &a, Epilogue::residual(&x))?;
            let a = norm(&x, &layer.norm2)?;
            let quick = Epilogue::activation(Activation::QuickGelu, Out::Operand);
            let wide = ops.linear(&layer.expand, &a, quick)?;
            x = ops.linear(&layer.contract, &wide, Epilogue::residual(&x))?;
        }
        let added = ops.download(&ops.linear(&self.out, &x, Epilogue::default())?)?;
        let mut values = values;
        for (sample, added) in
            values.chunks_exact_mut((d.positions() * d.c).max(1)).zip(added.chunks_exact(d.c))
        {
            sample.chunks_exact_mut(d.c).for_each(|row| row.iter_mut().zip(added).for_each(|(v, a)| *v += a));
        }
        ops.upload(d, &values)
    }

    /// What kinds add to the timestep: a number for each, which is 1 for the hint's kind.
    fn embed(&self, ops: &Ops, n: usize, kind: Option<usize>) -> Result<Act> {
        let flags: Vec<f32> = (0..self.tasks.len()).map(|i| f32::from(Some(i) == kind)).collect();
        let numbers = timestep::embedding(&flags, KIND, 10_000.0);
        let x = ops.upload(Dims::tokens(n, 1, numbers.len()), &numbers.repeat(n))?;
        let [first, second] = &self.kinds;
        let h = ops.linear(first, &x, Epilogue::activation(Activation::Silu, Out::Operand))?;
        ops.linear(second, &h, Epilogue::default())
    }
}

impl Hint {
    /// Whether the hint has as many cells as what the network sees beside it.
    pub(crate) fn check(&self, model: &'static str, d: Dims) -> Result<()> {
        let h = self.0.dims();
        if (d.n, d.h, d.w) == (h.n, h.h, h.w) {
            return Ok(());
        }
        Err(Error::Input {
            model,
            input: "hint",
            found: format!("{} × {} × {} cells", h.n, h.h, h.w),
            expected: format!("{} × {} × {}, as the latent", d.n, d.h, d.w),
        })
    }
}

/// Convolutions that read a hint's pixels, with how each walks them.
pub(crate) type HintReader = Vec<(Arc<Conv>, ConvShape)>;

/// Convolutions with activations between them; every second one from the third on halves.
fn load_hint(w: &Loader<'_>) -> Result<HintReader> {
    load_hint_reader(w, |i, last| i >= 2 && i.is_multiple_of(2) && i < last)
}

/// As many convolutions as there are, numbered with the activations between them; `halves` is told the place of one
/// and that of the last.
pub(crate) fn load_hint_reader(w: &Loader<'_>, halves: impl Fn(usize, usize) -> bool) -> Result<HintReader> {
    let convs: Vec<_> = (0..)
        .step_by(2)
        .take_while(|i| w.has(&format!("{i}.weight")))
        .map(|i| w.conv(&i.to_string()))
        .collect::<Result<_>>()?;
    let last = convs.len().saturating_sub(1);
    let shape = |i: usize, conv: &Conv| {
        if halves(i, last) { ConvShape::half() } else { ConvShape::same(conv.kernel[0]) }
    };
    Ok(convs.into_iter().enumerate().map(|(i, conv)| (conv.clone(), shape(i, &conv))).collect())
}

/// What the convolutions make of pixels; the last one has no activation.
pub(crate) fn read_hint(ops: &Ops, reader: &HintReader, pixels: &Tensor) -> Result<Act> {
    let mut x = ops.from_nchw(pixels)?;
    let last = reader.len().saturating_sub(1);
    for (i, (conv, shape)) in reader.iter().enumerate() {
        let activation = if i < last { Activation::Silu } else { Activation::None };
        x = ops.conv(conv, &[&x], *shape, Epilogue::activation(activation, Out::Stream))?;
    }
    Ok(x)
}
