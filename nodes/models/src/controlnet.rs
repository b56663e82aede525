//! ControlNet (Zhang et al. 2023): a UNet's first half that reads a hint, and what it adds to the UNet it guides.

use std::sync::Arc;

use candle_core::Tensor;

use crate::{
    Error, LoadOptions, Params, Result,
    denoiser::{Input, Prompt, Residuals, Session},
    ops::{Act, Activation, Conv, ConvShape, Epilogue, Linear, Ops, Out},
    params::{Loader, load},
    source::Source,
    unet::{Embedder, Run, Stage, context_channels, load_stages},
};

/// A control network ready to run.
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
    params: Params,
}

/// A hint as the network's first layers see it: the same at every step.
pub struct Hint(Act);

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
                params,
            })
        })?;
        Ok(Self { params, ..net })
    }

    /// Bytes of its weights.
    pub fn bytes(&self) -> usize {
        self.params.bytes()
    }

    /// Channels that it expects of the latent.
    pub fn input_channels(&self) -> usize {
        self.channels
    }

    /// Channels of a text token.
    pub fn context_channels(&self) -> usize {
        self.context_channels
    }

    /// Channels of the pooled text and sizes, where it reads any.
    pub fn y_channels(&self) -> Option<usize> {
        self.embedder.label.as_ref().map(|label| label[0].input)
    }

    /// Reads a hint, `[n, 3, 8h, 8w]` in 0 to 1 for latents of `h × w`.
    pub fn hint(&self, pixels: &Tensor) -> Result<Hint> {
        let mut x = self.ops.from_nchw(pixels)?;
        let last = self.hint.len().saturating_sub(1);
        for (i, (conv, shape)) in self.hint.iter().enumerate() {
            let activation = if i < last { Activation::Silu } else { Activation::None };
            x = self.ops.conv(conv, &[&x], *shape, Epilogue::activation(activation, Out::Stream))?;
        }
        Ok(Hint(x))
    }

    /// What it adds to the UNet that is called with the same input, times `strength`.
    pub fn residuals(
        &self,
        session: &mut Session,
        hint: &Hint,
        input: Input<'_>,
        strength: f32,
    ) -> Result<Residuals> {
        let ops = &self.ops;
        let x = ops.from_nchw(input.x)?;
        let (d, h) = (x.dims(), hint.0.dims());
        if (d.n, d.h, d.w) != (h.n, h.h, h.w) {
            return Err(Error::Input {
                model: "ControlNet",
                input: "hint",
                found: format!("{} × {} × {} cells", h.n, h.h, h.w),
                expected: format!("{} × {} × {}, as the latent", d.n, d.h, d.w),
            });
        }
        let prompt: &mut Prompt = session.prompt(ops, input.context, self.layers)?;
        let mut stages = self.input.iter().chain([&self.middle]);
        stages.try_for_each(|stage| stage.prepare(ops, prompt))?;
        let embedding = self.embedder.forward(ops, input.timesteps, input.y)?;
        let run = &mut Run { embedding: &embedding, prompt };
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

/// Convolutions with activations between them; every second one from the third on halves.
fn load_hint(w: &Loader<'_>) -> Result<Vec<(Arc<Conv>, ConvShape)>> {
    let convs: Vec<_> = (0..)
        .step_by(2)
        .take_while(|i| w.has(&format!("{i}.weight")))
        .map(|i| w.conv(&i.to_string()))
        .collect::<Result<_>>()?;
    let last = convs.len().saturating_sub(1);
    let halves = |i: usize| i >= 2 && i.is_multiple_of(2) && i < last;
    let shape = |i: usize| if halves(i) { ConvShape::half() } else { ConvShape::same(3) };
    Ok(convs.into_iter().enumerate().map(|(i, conv)| (conv, shape(i))).collect())
}
