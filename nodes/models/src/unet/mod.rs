//! The UNet of SD 1, SD 2, SDXL and its refiner, from tensors in the single-file (ldm) naming.
//!
//! Which blocks there are, how wide and how deep, is read from the tensors: each entry of `input_blocks`,
//! `middle_block` and `output_blocks` is recognised by the names below it.

mod load;
mod res;
pub mod sizes;
mod transformer;

use std::sync::Arc;

use candle_core::Tensor;

use crate::{
    Error, Params, Result,
    changes::Changes,
    denoiser::{Denoiser, Input, Prompt, Residuals, Session},
    ops::{Act, Activation, Conv, ConvShape, Dims, Epilogue, GroupNorm, Linear, Norm, Ops, Out},
    timestep,
};
pub(crate) use load::{Embedder, Stage, context_channels, load_stages};
use res::{GROUPS, Res, upsample};
use transformer::Transformer;

/// What a UNet's tensors say of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Channels of `x`: 4, or 9 where a mask and a masked image are concatenated.
    pub input_channels: usize,
    /// Channels of the prediction.
    pub output_channels: usize,
    /// Channels of a text token.
    pub context_channels: usize,
    /// Channels of the pooled text and sizes, where there are any.
    pub y_channels: Option<usize>,
}

/// A UNet ready to run.
pub struct Unet {
    config: Config,
    ops: Ops,
    embedder: Embedder,
    input: Vec<Stage>,
    middle: Stage,
    output: Vec<Stage>,
    norm: Arc<Norm>,
    conv: Arc<Conv>,
    layers: usize,
    params: Params,
}

/// One part of a stage.
pub(crate) enum Layer {
    Conv(Arc<Conv>),
    Res(Res),
    Transformer(Transformer),
    Down(Arc<Conv>),
    Up(Arc<Conv>),
}

impl Stage {
    /// See [`Transformer::prepare`].
    pub(crate) fn prepare(&self, ops: &Ops, prompt: &mut Prompt) -> Result<()> {
        self.layers.iter().try_for_each(|layer| match layer {
            Layer::Transformer(t) => t.prepare(ops, prompt),
            _ => Ok(()),
        })
    }

    /// `x` is the stream, and the skip connection where there is one; `to` is the size to double to.
    pub(crate) fn forward(
        &self,
        ops: &Ops,
        x: &[&Act],
        run: &mut Run<'_>,
        to: Option<(usize, usize)>,
    ) -> Result<Act> {
        let mut current: Option<Act> = None;
        for layer in &self.layers {
            let one;
            let input: &[&Act] = match &current {
                Some(act) => {
                    one = [act];
                    &one
                }
                None => x,
            };
            let next = match layer {
                Layer::Conv(conv) => ops.conv(conv, input, ConvShape::same(3), Epilogue::default())?,
                Layer::Res(res) => res.forward(ops, input, run.embedding)?,
                Layer::Transformer(t) => t.forward(ops, input[0], run)?,
                Layer::Down(conv) => ops.conv(conv, input, ConvShape::half(), Epilogue::default())?,
                Layer::Up(conv) => upsample(ops, conv, input[0], to)?,
            };
            current = Some(next);
        }
        current.ok_or_else(|| Error::MissingTensor { what: "UNet", name: "an empty block".into() })
    }
}

/// What every stage of one call reads.
pub(crate) struct Run<'a> {
    /// The activated timestep embedding, one row a sample.
    pub(crate) embedding: &'a Act,
    /// The text and what was computed from it.
    pub(crate) prompt: &'a mut Prompt,
    /// What nodes change.
    pub(crate) changes: Option<&'a Changes>,
    /// Rows and columns of the latent.
    pub(crate) cells: (usize, usize),
    /// Whether the middle block runs.
    pub(crate) is_middle: bool,
    /// How many transformers ran before.
    pub(crate) transformer: usize,
}

impl<'a> Run<'a> {
    /// A run without changes.
    pub(crate) fn new(embedding: &'a Act, prompt: &'a mut Prompt, cells: (usize, usize)) -> Self {
        Self { embedding, prompt, changes: None, cells, is_middle: false, transformer: 0 }
    }
}

impl Embedder {
    /// Timesteps (and pooled text) to one activated row a sample.
    pub(crate) fn forward(&self, ops: &Ops, timesteps: &[f32], y: Option<&Tensor>) -> Result<Act> {
        self.forward_with(ops, timesteps, y, None)
    }

    /// As [`forward`](Self::forward), with something more added to the timestep.
    pub(crate) fn forward_with(
        &self,
        ops: &Ops,
        timesteps: &[f32],
        y: Option<&Tensor>,
        more: Option<Act>,
    ) -> Result<Act> {
        let width = self.time[0].input;
        let n = timesteps.len();
        let x = ops.upload(Dims::tokens(n, 1, width), &timestep::embedding(timesteps, width, 10_000.0))?;
        // One row a sample, not one token after the other.
        let mlp = |[first, second]: &[Arc<Linear>; 2], x: &Act, residual: Option<&Act>| {
            let h = ops.linear(first, x, Epilogue::activation(Activation::Silu, Out::Operand))?;
            ops.linear(second, &h, Epilogue { residual, ..Epilogue::default() })
        };
        let mut sum = mlp(&self.time, &x, more.as_ref())?;
        if let (Some(label), Some(y)) = (&self.label, y) {
            let y = ops.from_tokens(&y.unsqueeze(1)?)?;
            sum = mlp(label, &y, Some(&sum))?;
        }
        ops.activate(&sum, Activation::Silu, Out::Operand)
    }
}

impl Unet {
    /// What its tensors say of it.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Channels of the first block.
    fn width(&self) -> usize {
        self.embedder.time[0].input
    }

    fn check(&self, input: &Input<'_>) -> Result<()> {
        let wrong = |input, found, expected| Err(Error::Input { model: "UNet", input, found, expected });
        let (n, c, _, _) = input.x.dims4()?;
        let (cn, _, cc) = input.context.dims3()?;
        if c != self.config.input_channels {
            return wrong("x", format!("{c} channels"), format!("{}", self.config.input_channels));
        }
        if cn != n || cc != self.config.context_channels {
            return wrong(
                "context",
                format!("{cn} × {cc} channels"),
                format!("{n} × {}", self.config.context_channels),
            );
        }
        if input.timesteps.len() != n {
            return wrong("timesteps", format!("{}", input.timesteps.len()), format!("{n}"));
        }
        match (self.config.y_channels, input.y.map(Tensor::dims)) {
            (Some(c), Some(dims)) if dims != [n, c] => wrong("y", format!("{dims:?}"), format!("[{n}, {c}]")),
            (Some(c), None) => wrong("y", "missing".into(), format!("[{n}, {c}]")),
            _ => Ok(()),
        }
    }

    fn run(
        &self,
        x: Act,
        embedding: &Act,
        prompt: &mut Prompt,
        control: Option<&Residuals>,
        changes: Option<&Changes>,
    ) -> Result<Act> {
        let ops = &self.ops;
        let cells = (x.dims().h, x.dims().w);
        let run = &mut Run { changes, ..Run::new(embedding, prompt, cells) };
        let shrunk = |y: &Act, i: usize, after: bool| -> Result<Option<Act>> {
            let here = changes.into_iter().flat_map(|c| &c.shrink);
            let mut smaller: Option<Act> = None;
            for shrink in here.filter(|s| s.block == i && s.after_skip == after) {
                let now = smaller.as_ref().unwrap_or(y);
                let size = |n: usize| ((n as f64 / shrink.factor).round_ties_even() as usize).max(1);
                let (h, w) = (size(now.dims().h), size(now.dims().w));
                smaller = Some(ops.from_nchw(&(shrink.down)(&ops.to_nchw(now)?, h, w)?)?);
            }
            Ok(smaller)
        };
        let mut skips: Vec<Arc<Act>> = Vec::with_capacity(self.input.len());
        let mut h = Arc::new(x);
        for (i, stage) in self.input.iter().enumerate() {
            let mut y = stage.forward(ops, &[&h], run, None)?;
            if let Some(Some(residual)) = control.and_then(|c| c.input.get(i)) {
                y = ops.add(&y, residual, 1.0)?;
            }
            if let Some(smaller) = shrunk(&y, i, false)? {
                y = smaller;
            }
            h = Arc::new(y);
            skips.push(h.clone());
            if let Some(smaller) = shrunk(&h, i, true)? {
                h = Arc::new(smaller);
            }
        }
        run.is_middle = true;
        let mut y = self.middle.forward(ops, &[&h], run, None)?;
        run.is_middle = false;
        drop(h);
        if let Some(residual) = control.and_then(|c| c.middle.as_ref()) {
            y = ops.add(&y, residual, 1.0)?;
        }
        for stage in &self.output {
            let Some(mut skip) = skips.pop() else {
                return Err(Error::Input {
                    model: "UNet",
                    input: "output_blocks",
                    found: format!("{} blocks", self.output.len()),
                    expected: format!("as many as input_blocks, {}", self.input.len()),
                });
            };
            if let Some(Some(residual)) = control.and_then(|c| c.output.get(skips.len())) {
                skip = Arc::new(ops.add(&skip, residual, 1.0)?);
            }
            if let Some(changes) = changes {
                let width = y.dims().c;
                for free_u in changes.free_u.iter().filter(|f| f.width * self.width() == width) {
                    let (stream, less) = free_u.apply(ops, &y, &skip)?;
                    (y, skip) = (stream, Arc::new(less));
                }
                let (wanted, found) = (skip.dims(), y.dims());
                if let Some(shrink) = changes.shrink.first().filter(|_| wanted.h != found.h) {
                    y = ops.from_nchw(&(shrink.up)(&ops.to_nchw(&y)?, wanted.h, wanted.w)?)?;
                }
            }
            let to = skips.last().map(|s| (s.dims().h, s.dims().w));
            y = stage.forward(ops, &[&y, &skip], run, to)?;
        }
        let norm = GroupNorm { groups: GROUPS, eps: 1e-5, silu: true, out: Out::Operand };
        let a = ops.group_norm(&[&y], &self.norm, norm)?;
        drop(y);
        ops.conv(&self.conv, &[&a], ConvShape::same(3), Epilogue::default())
    }
}

impl Denoiser for Unet {
    fn denoise(&self, session: &mut Session, input: Input<'_>) -> Result<Tensor> {
        self.check(&input)?;
        let prompt = session.prompt(&self.ops, input.context, self.layers)?;
        let mut stages = self.input.iter().chain([&self.middle]).chain(&self.output);
        stages.try_for_each(|stage| stage.prepare(&self.ops, prompt))?;
        let embedding = self.embedder.forward(&self.ops, input.timesteps, input.y)?;
        let x = self.ops.from_nchw(input.x)?;
        let y = self.run(x, &embedding, prompt, input.control, input.changes)?;
        self.ops.to_nchw(&y)
    }

    fn params(&self) -> &Params {
        &self.params
    }

    fn input_channels(&self) -> usize {
        self.config.input_channels
    }

    fn context_channels(&self) -> usize {
        self.config.context_channels
    }

    fn y_channels(&self) -> Option<usize> {
        self.config.y_channels
    }
}
