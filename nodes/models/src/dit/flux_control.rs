//! Control networks of Flux: the transformer's first blocks, which see a hint beside the noise, and say after each
//! what is to be added after those of the transformer itself. Three codes trained them: `XLabs-AI/x-flux` and
//! `TheMistoAI/MistoControlNet-Flux-dev` show the network pixels, `InstantX` (in the diffusers library) a latent, and
//! may tell it which of several kinds a hint is.

use std::sync::Arc;

use candle_core::Tensor;

use super::{
    check,
    flux::{Call, PATCH, Trunk, patches, rope},
    pad_to_patches,
};
use crate::{
    Error, LoadOptions, Params, Result,
    controlnet::{ControlNetwork, Hint, HintReader, Sees, load_hint_reader, read_hint},
    denoiser::{Input, Residuals, Session},
    ops::{Act, Activation, Dims, Epilogue, Linear, Ops},
    params::{Loader, load},
    source::Source,
};

/// Blocks of the transformer that they guide: those with weights for text and picture apart, and the others.
const GUIDED: [usize; 2] = [19, 38];
/// Flux's latents: what is taken from the autoencoder's values, and the factor then.
const LATENT: (f64, f64) = (0.1159, 0.3611);
/// Channels of a latent.
const CHANNELS: usize = 16;

/// A control network of Flux, ready to run.
pub struct FluxControl {
    ops: Ops,
    trunk: Trunk,
    /// What makes cells of a hint's pixels; none where the hint is a latent.
    reader: Option<HintReader>,
    hint: Arc<Linear>,
    double: Vec<Arc<Linear>>,
    single: Vec<Arc<Linear>>,
    /// What follows each of them.
    activation: Activation,
    /// A token for each kind of hints, one row each.
    kinds: Vec<Vec<f32>>,
    params: Params,
}

impl FluxControl {
    /// Loads tensors in the original naming: Flux's own, and those of the control network beside them.
    ///
    /// # Errors
    /// Where tensors are missing or have the wrong shape.
    pub fn load<'a>(ops: &'a Ops, source: &'a dyn Source, options: LoadOptions<'a>) -> Result<Self> {
        let (net, params) = load(ops, source, "Flux ControlNet", options, |w| {
            let misto = w.has("controlnet_blocks.0.linear.weight");
            let outputs = |name: &str, count: usize| {
                let layer = |i: usize| {
                    w.linear(&if misto { format!("{name}.{i}.linear") } else { format!("{name}.{i}") })
                };
                (0..count).map(layer).collect::<Result<Vec<_>>>()
            };
            let trunk = Trunk::load(w)?;
            Ok(Self {
                ops: ops.clone(),
                reader: reader(w)?,
                hint: w.linear("pos_embed_input")?,
                double: outputs("controlnet_blocks", trunk.double.len())?,
                single: outputs("controlnet_single_blocks", trunk.single.len())?,
                activation: if misto { Activation::Silu } else { Activation::None },
                kinds: kinds(w, trunk.picture.output)?,
                trunk,
                params: Params::default(),
            })
        })?;
        Ok(Self { params, ..net })
    }

    /// What one output layer adds.
    fn say(&self, layer: &Linear, x: &Act, strength: f32) -> Result<Arc<Act>> {
        let how = Epilogue { activation: self.activation, scale: Some(strength), ..Epilogue::default() };
        Ok(Arc::new(self.ops.linear(layer, x, how)?.with_tokens()))
    }

    /// What the network's blocks say, for all of the transformer's: those that see a latent speak for as many blocks
    /// each, one after the other; those that see pixels begin anew.
    fn spread(&self, said: Vec<Arc<Act>>, blocks: usize) -> Vec<Option<Arc<Act>>> {
        let each = blocks.div_ceil(said.len().max(1));
        let place = |i: usize| if self.reader.is_none() { i / each } else { i % said.len() };
        if said.is_empty() { Vec::new() } else { (0..blocks).map(|i| said.get(place(i)).cloned()).collect() }
    }

    /// The prompt's tokens, behind that of the hint's kind.
    fn text(&self, session: &mut Session, input: &Input<'_>, kind: Option<usize>) -> Result<Act> {
        let ops = &self.ops;
        let prompt = session.prompt(ops, input.context, 0)?;
        let text = ops.linear(&self.trunk.text, &prompt.context, Epilogue::default())?;
        let Some(kind) = kind.filter(|_| !self.kinds.is_empty()) else { return Ok(text) };
        let token = self.kinds.get(kind).ok_or_else(|| Error::Input {
            model: "Flux ControlNet",
            input: "type",
            found: kind.to_string(),
            expected: format!("one of the {} kinds that this network was trained for", self.kinds.len()),
        })?;
        let n = text.dims().n;
        let token = ops.upload(Dims::tokens(n, 1, token.len()), &token.repeat(n))?;
        ops.concat_stream(&[&token, &text])
    }
}

/// Convolutions from pixels to cells.
fn reader(w: &Loader<'_>) -> Result<Option<HintReader>> {
    let (x, misto) = (w.at("input_hint_block"), w.at("input_cond_block.encoder"));
    Ok(if x.has("0.weight") {
        Some(load_hint_reader(&x, |i, last| i >= 2 && i.is_multiple_of(2) && i < last)?)
    } else if misto.has("0.weight") {
        Some(load_hint_reader(&misto, |i, _| matches!(i, 3 | 5 | 7))?)
    } else {
        None
    })
}

fn kinds(w: &Loader<'_>, width: usize) -> Result<Vec<Vec<f32>>> {
    const NAME: &str = "controlnet_mode_embedder.weight";
    if !w.has(NAME) {
        return Ok(Vec::new());
    }
    let shape = w.shape(NAME)?;
    if shape.get(1) != Some(&width) {
        return Err(Error::Shape { name: NAME.into(), found: shape, expected: format!("[kinds, {width}]") });
    }
    Ok(w.values(NAME)?.chunks_exact(width).map(<[f32]>::to_vec).collect())
}

impl ControlNetwork for FluxControl {
    fn bytes(&self) -> usize {
        self.params.bytes()
    }

    fn input_channels(&self) -> usize {
        self.trunk.picture.input / (PATCH * PATCH)
    }

    fn context_channels(&self) -> usize {
        self.trunk.text.input
    }

    fn y_channels(&self) -> Option<usize> {
        Some(self.trunk.pooled.first.input)
    }

    fn kinds(&self) -> usize {
        self.kinds.len()
    }

    fn sees(&self) -> Sees {
        let masked = self.hint.input / (PATCH * PATCH) > CHANNELS;
        match self.reader {
            Some(_) => Sees::Pixels,
            None => Sees::Latent { shift: LATENT.0, scale: LATENT.1, masked },
        }
    }

    fn hint(&self, seen: &Tensor, _: Option<usize>) -> Result<Hint> {
        let ops = &self.ops;
        let cells = match &self.reader {
            Some(reader) => {
                let pixels = if ops.wants_values() { seen.affine(2.0, -1.0)? } else { seen.clone() };
                ops.to_nchw(&read_hint(ops, reader, &pixels)?)?
            }
            None => seen.clone(),
        };
        let x = ops.from_nchw(&patches(&pad_to_patches(&cells, PATCH)?)?)?;
        if x.dims().c != self.hint.input {
            return Err(Error::Input {
                model: "Flux ControlNet",
                input: "hint",
                found: format!("{} channels", x.dims().c / (PATCH * PATCH)),
                expected: (self.hint.input / (PATCH * PATCH)).to_string(),
            });
        }
        Ok(Hint(ops.linear(&self.hint, &x, Epilogue::default())?))
    }

    fn residuals(
        &self,
        session: &mut Session,
        hint: &Hint,
        input: Input<'_>,
        kind: Option<usize>,
        strength: f32,
    ) -> Result<Residuals> {
        let (ops, trunk) = (&self.ops, &self.trunk);
        let pooled = trunk.pooled.first.input;
        check("Flux ControlNet", &input, self.input_channels(), trunk.text.input, pooled)?;
        let x = ops.from_nchw(&patches(&pad_to_patches(input.x, PATCH)?)?)?;
        let Dims { h, w, .. } = x.dims();
        hint.check("Flux ControlNet", x.dims())?;
        let mut picture = ops.linear(&trunk.picture, &x, Epilogue::residual(&hint.0))?;
        drop(x);
        let condition = trunk.condition(ops, &input)?;
        let mut text = self.text(session, &input, kind)?;
        let texts = text.dims().positions();
        let positions: Vec<[usize; 3]> = (0..h * w).map(|i| [0, i / w, i % w]).collect();
        let rope = rope(texts, &positions);
        let call = &Call { condition: &condition, rope: &rope, mask: None };
        let mut said = Vec::with_capacity(trunk.double.len());
        for (block, layer) in trunk.double.iter().zip(&self.double) {
            (text, picture) = block.forward(ops, text, picture, call)?;
            said.push(self.say(layer, &picture, strength)?);
        }
        let input = self.spread(said, GUIDED[0]);
        let mut said = Vec::with_capacity(trunk.single.len());
        let mut both = ops.concat_stream(&[&text, &picture])?;
        drop((text, picture));
        for (block, layer) in trunk.single.iter().zip(&self.single) {
            both = block.forward(ops, both, call)?;
            said.push(self.say(layer, &ops.slice(both.cols(), texts, h * w)?, strength)?);
        }
        Ok(Residuals { input, middle: None, output: self.spread(said, GUIDED[1]) })
    }
}
