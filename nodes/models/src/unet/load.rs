//! Reading a UNet's plan and weights from its tensors.

use std::sync::Arc;

use super::{Config, Layer, Unet, res::Res, transformer::Transformer};
use crate::{
    Error, LoadOptions, Result,
    ops::{Linear, Ops},
    params::{Loader, load},
    source::Source,
};

/// Entries of one of the three block lists, run in order.
pub(crate) struct Stage {
    pub(crate) layers: Vec<Layer>,
}

/// The networks that turn timestep and pooled text into one row a sample.
pub(crate) struct Embedder {
    pub(crate) time: [Arc<Linear>; 2],
    pub(crate) label: Option<[Arc<Linear>; 2]>,
}

impl Embedder {
    pub(crate) fn load(w: &Loader<'_>) -> Result<Self> {
        let label = w.has("label_emb.0.0.weight");
        Ok(Self {
            time: [w.linear("time_embed.0")?, w.linear("time_embed.2")?],
            label: if label { Some([w.linear("label_emb.0.0")?, w.linear("label_emb.0.2")?]) } else { None },
        })
    }
}

impl Stage {
    /// Recognises the layers below `w` by their names.
    fn load(w: &Loader<'_>, layers: &mut usize) -> Result<Self> {
        let mut found = Vec::new();
        for i in 0.. {
            let part = w.at(i);
            found.push(if part.has("in_layers.0.weight") {
                Layer::Res(Res::load(&part)?)
            } else if part.has("proj_in.weight") {
                Layer::Transformer(Transformer::load(&part, layers)?)
            } else if part.has("op.weight") {
                Layer::Down(part.conv("op")?)
            } else if part.has("conv.weight") {
                Layer::Up(part.conv("conv")?)
            } else if part.has("weight") {
                Layer::Conv(part.conv("")?)
            } else {
                break;
            });
        }
        if found.is_empty() {
            return Err(Error::MissingTensor { what: "UNet", name: w.name("0.…") });
        }
        Ok(Self { layers: found })
    }
}

/// The input and middle blocks: all of a UNet's first half, and of a control network.
pub(crate) fn load_stages(w: &Loader<'_>, layers: &mut usize) -> Result<(Vec<Stage>, Stage)> {
    let input = load_list(&w.at("input_blocks"), layers)?;
    let middle = Stage::load(&w.at("middle_block"), layers)?;
    Ok((input, middle))
}

fn load_list(w: &Loader<'_>, layers: &mut usize) -> Result<Vec<Stage>> {
    let entry = ["weight", "in_layers.0.weight", "op.weight"];
    let blocks = (0..).take_while(|i| entry.iter().any(|e| w.has(&format!("{i}.0.{e}")))).count();
    (0..blocks).map(|i| Stage::load(&w.at(i), layers)).collect()
}

impl Unet {
    /// Loads a UNet whose tensors are named as in a single file, without the `model.diffusion_model.` before them.
    pub fn load<'a>(ops: &'a Ops, source: &'a dyn Source, options: LoadOptions<'a>) -> Result<Self> {
        let (unet, params) = load(ops, source, "UNet", options, |w| {
            let mut layers = 0;
            let embedder = Embedder::load(w)?;
            let (input, middle) = load_stages(w, &mut layers)?;
            let output = load_list(&w.at("output_blocks"), &mut layers)?;
            let conv = w.conv("out.2")?;
            let config = Config {
                input_channels: w.shape("input_blocks.0.0.weight")?[1],
                output_channels: conv.output,
                context_channels: context_channels(source)?,
                y_channels: embedder.label.as_ref().map(|l| l[0].input),
            };
            let params = Default::default();
            Ok(Self {
                config,
                ops: ops.clone(),
                embedder,
                input,
                middle,
                output,
                norm: w.norm("out.0")?,
                conv,
                layers,
                params,
            })
        })?;
        Ok(Self { params, ..unet })
    }
}

/// Channels of a text token, as the first cross-attention reads them.
pub(crate) fn context_channels(source: &dyn Source) -> Result<usize> {
    let ends = "transformer_blocks.0.attn2.to_k.weight";
    let name = source.names().into_iter().find(|n| n.ends_with(ends));
    let shape = name.and_then(|n| source.info(&n)).map(|i| i.shape);
    match shape.as_deref() {
        Some([_, c]) => Ok(*c),
        _ => Err(Error::MissingTensor { what: "UNet", name: format!("input_blocks.….{ends}") }),
    }
}
