//! Control networks of SD 3: the transformer's first blocks, which see a latent of the hint beside the noise (InstantX,
//! in the diffusers library), and SD 3.5 large's of Stability AI, whose blocks see the picture alone.

use std::sync::Arc;

use candle_core::Tensor;

use super::{
    Embedder, check,
    mmdit::{Half, IN_PATCHES, PATCH, Trunk, attend},
    pad_to_patches,
};
use crate::{
    Error, LoadOptions, Params, Result,
    controlnet::{ControlNetwork, Hint, Sees},
    denoiser::{Input, Residuals, Session},
    ops::{Act, Activation, Conv, Epilogue, Linear, Ops, Out},
    params::{Loader, load},
    source::Source,
};

/// Channels of an attention head: as many heads as the transformer has blocks.
const HEAD: usize = 64;
/// SD 3's latents: what is taken from the autoencoder's values, and the factor then.
const LATENT: (f64, f64) = (0.0609, 1.5305);
/// Channels of a latent.
const CHANNELS: usize = 16;

fn outputs(w: &Loader<'_>, count: usize) -> Result<Vec<Arc<Linear>>> {
    (0..count).map(|i| w.linear(&format!("controlnet_blocks.{i}"))).collect()
}

/// A latent as tokens.
fn read(ops: &Ops, conv: &Conv, latent: &Tensor) -> Result<Hint> {
    let x = ops.from_nchw(&pad_to_patches(latent, PATCH)?)?;
    if x.dims().c != conv.input {
        return Err(Error::Input {
            model: "SD3 ControlNet",
            input: "hint",
            found: format!("{} channels", x.dims().c),
            expected: conv.input.to_string(),
        });
    }
    Ok(Hint(ops.conv(conv, &[&x], IN_PATCHES, Epilogue::default())?))
}

/// A control network of SD 3 in the diffusers library's layout, ready to run.
pub struct Sd3Control {
    ops: Ops,
    trunk: Trunk,
    hint: Arc<Conv>,
    outputs: Vec<Arc<Linear>>,
    params: Params,
}

impl Sd3Control {
    /// Loads tensors in the original naming: SD 3's own, and those of the control network beside them.
    ///
    /// # Errors
    /// Where tensors are missing or have the wrong shape.
    pub fn load<'a>(ops: &'a Ops, source: &'a dyn Source, options: LoadOptions<'a>) -> Result<Self> {
        let (net, params) = load(ops, source, "SD3 ControlNet", options, |w| {
            let trunk = Trunk::load(w)?;
            Ok(Self {
                ops: ops.clone(),
                hint: w.conv("pos_embed_input.proj")?,
                outputs: outputs(w, trunk.blocks.len())?,
                trunk,
                params: Params::default(),
            })
        })?;
        Ok(Self { params, ..net })
    }
}

impl ControlNetwork for Sd3Control {
    fn bytes(&self) -> usize {
        self.params.bytes()
    }

    fn input_channels(&self) -> usize {
        self.trunk.patches.input
    }

    fn context_channels(&self) -> usize {
        self.trunk.context.input
    }

    fn y_channels(&self) -> Option<usize> {
        Some(self.trunk.pooled.first.input)
    }

    /// They were trained on latents that nothing was taken from.
    fn sees(&self) -> Sees {
        Sees::Latent { shift: 0.0, scale: LATENT.1, masked: self.hint.input > CHANNELS }
    }

    fn hint(&self, seen: &Tensor, _: Option<usize>) -> Result<Hint> {
        read(&self.ops, &self.hint, seen)
    }

    fn residuals(
        &self,
        session: &mut Session,
        hint: &Hint,
        input: Input<'_>,
        _: Option<usize>,
        strength: f32,
    ) -> Result<Residuals> {
        let (ops, trunk) = (&self.ops, &self.trunk);
        let pooled = trunk.pooled.first.input;
        check("SD3 ControlNet", &input, trunk.patches.input, trunk.context.input, pooled)?;
        let mut picture = trunk.picture(ops, input.x, Some(&hint.0))?;
        // They were trained on a pooled prompt of nothing.
        let nothing = Tensor::zeros((input.x.dim(0)?, 1, pooled), input.x.dtype(), input.x.device())?;
        let condition = trunk.condition(ops, input.timesteps, Some(&nothing))?;
        let prompt = session.prompt(ops, input.context, 0)?;
        let mut text = ops.linear(&trunk.context, &prompt.context, Epilogue::default())?;
        let blocks = trunk.blocks.len().max(1);
        // Each speaks for as many of the transformer's blocks, but nothing is added after the very last.
        let each = (trunk.patches.output / HEAD) / blocks;
        let mut residuals = Residuals::default();
        for (i, (block, layer)) in trunk.blocks.iter().zip(&self.outputs).enumerate() {
            (text, picture) = block.forward(ops, text, picture, &condition)?;
            let scaled = Epilogue { scale: Some(strength), ..Epilogue::default() };
            let said = Arc::new(ops.linear(layer, &picture, scaled)?.with_tokens());
            let times = if i + 1 == blocks { each.saturating_sub(1) } else { each };
            residuals.output.extend(std::iter::repeat_n(Some(said), times));
        }
        Ok(residuals)
    }
}

/// A control network of SD 3.5 large in Stability AI's layout, ready to run.
pub struct Sd35LargeControl {
    ops: Ops,
    patches: Arc<Conv>,
    hint: Arc<Conv>,
    time: Embedder,
    /// The transformer's own embedding of the pooled prompt, which its files lack.
    borrowed: Option<Embedder>,
    pooled: Embedder,
    blocks: Vec<Half>,
    outputs: Vec<Arc<Linear>>,
    /// Which kind of hints it was trained for: 0 blurred pictures, 1 edges, 2 depth.
    trained_for: u32,
    params: Params,
}

/// What a network borrows of the transformer that it guides, by its name there and its name here.
pub const BORROWED: [&str; 2] = ["y_embedder.", "orig_y_embedder."];
/// Channels of a pooled prompt.
const POOLED: usize = 2048;
/// Channels of a text token.
const CONTEXT: usize = 4096;

impl Sd35LargeControl {
    /// Loads tensors in the original naming: those of a transformer's embeddings, and blocks of their own.
    ///
    /// # Errors
    /// Where tensors are missing or have the wrong shape.
    pub fn load<'a>(ops: &'a Ops, source: &'a dyn Source, options: LoadOptions<'a>) -> Result<Self> {
        let (net, params) = load(ops, source, "SD3.5 ControlNet", options, |w| {
            let patches = w.conv("x_embedder.proj")?;
            let list = w.at("transformer_blocks");
            let count = list.count(|i| format!("{i}.attn.qkv.weight"));
            let embedder = |name: &str| Embedder::load(&w.at(name), "mlp.0", "mlp.2");
            let borrowed = w.has("orig_y_embedder.mlp.0.weight");
            Ok(Self {
                ops: ops.clone(),
                hint: w.conv("pos_embed_input.proj")?,
                time: embedder("t_embedder")?,
                borrowed: if borrowed { Some(embedder("orig_y_embedder")?) } else { None },
                pooled: embedder("y_embedder")?,
                blocks: (0..count).map(|i| Half::load(&list.at(i), patches.output)).collect::<Result<_>>()?,
                outputs: outputs(w, count)?,
                trained_for: if w.has("control_type") {
                    w.values("control_type")?.first().map_or(0, |kind| kind.round() as u32)
                } else {
                    0
                },
                patches,
                params: Params::default(),
            })
        })?;
        Ok(Self { params, ..net })
    }
}

impl ControlNetwork for Sd35LargeControl {
    fn bytes(&self) -> usize {
        self.params.bytes()
    }

    fn input_channels(&self) -> usize {
        self.patches.input
    }

    fn context_channels(&self) -> usize {
        CONTEXT
    }

    fn y_channels(&self) -> Option<usize> {
        Some(POOLED)
    }

    fn sees(&self) -> Sees {
        Sees::Latent { shift: LATENT.0, scale: LATENT.1, masked: false }
    }

    fn prepared(&self, pixels: &Tensor) -> Result<Tensor> {
        Ok(match self.trained_for {
            1 => pixels.affine(127.5, 0.5)?,
            2 => pixels.affine(-1.0, 1.0)?,
            _ => pixels.clone(),
        })
    }

    fn hint(&self, seen: &Tensor, _: Option<usize>) -> Result<Hint> {
        read(&self.ops, &self.hint, seen)
    }

    fn residuals(
        &self,
        _: &mut Session,
        hint: &Hint,
        input: Input<'_>,
        _: Option<usize>,
        strength: f32,
    ) -> Result<Residuals> {
        let ops = &self.ops;
        let channels = self.borrowed.as_ref().map_or(POOLED, |borrowed| borrowed.first.input);
        let tokens = input.context.dim(2)?;
        check("SD3.5 ControlNet", &input, self.patches.input, tokens, channels)?;
        let x = ops.from_nchw(&pad_to_patches(input.x, PATCH)?)?;
        let picture = ops.conv(&self.patches, &[&x], IN_PATCHES, Epilogue::default())?;
        drop(x);
        hint.check("SD3.5 ControlNet", picture.dims())?;
        let picture = ops.add(&picture, &hint.0, 1.0)?.with_tokens();
        let mut condition = self.time.add_numbers(ops, input.timesteps, None)?;
        if let (Some(y), Some(borrowed)) = (input.y, &self.borrowed) {
            let y = ops.from_tokens(&y.narrow(1, 0, channels)?.unsqueeze(1)?)?;
            let y = borrowed.add(ops, &y, None)?;
            condition = self.pooled.add(ops, &y, Some(condition))?;
        }
        let condition = ops.activate(&condition, Activation::Silu, Out::Operand)?;
        let each = (self.patches.output / HEAD).div_ceil(self.blocks.len().max(1));
        let mut residuals = Residuals::default();
        for (block, layer) in self.blocks.iter().zip(&self.outputs) {
            // Every block reads the same picture: none follows another.
            let said = Arc::new(ops.linear(
                layer,
                &self.look(block, &picture, &condition)?,
                Epilogue { scale: Some(strength), ..Epilogue::default() },
            )?);
            residuals.output.extend(std::iter::repeat_n(Some(said), each));
        }
        Ok(residuals)
    }
}

impl Sd35LargeControl {
    fn look(&self, block: &Half, picture: &Act, condition: &Act) -> Result<Act> {
        let ops = &self.ops;
        let m = block.modulation.forward(ops, condition)?;
        let attended = attend(ops, &block.attention.qkv(ops, &m.norm(ops, picture, 0)?)?)?;
        let own = ops.slice(picture.cols(), 0, picture.dims().positions())?;
        block.finish(ops, own, &attended, None, &m)
    }
}
