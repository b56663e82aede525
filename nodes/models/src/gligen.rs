//! GLIGEN (Li et al. 2023): boxes with a phrase each, fused into a UNet's stream by gated self-attention.

use std::sync::Arc;

use candle_core::Tensor;

use crate::{
    LoadOptions, Params, Result,
    ops::{Act, Activation, Attention, Dims, Epilogue, LayerNorm, Linear, Norm, Ops, Out},
    params::{Loader, load},
    source::Source,
};

/// How many boxes there are room for.
pub const OBJECTS: usize = 30;
/// Frequencies that a side of a box is embedded in, and their base.
const FREQUENCIES: usize = 8;
const BASE: f32 = 100.0;

/// A box in shares of the picture, with its phrase's vector.
#[derive(Clone)]
pub struct Placed {
    /// Left, top, right, bottom: 0 to 1.
    pub sides: [f32; 4],
    /// The pooled phrase, before any projection.
    pub phrase: Vec<f32>,
}

/// The network ready to run.
pub struct Gligen {
    ops: Ops,
    position: [Arc<Linear>; 3],
    no_phrase: Vec<f32>,
    no_box: Vec<f32>,
    fusers: Vec<Fusion>,
    params: Params,
}

struct Fusion {
    objects: Arc<Linear>,
    norm1: Arc<Norm>,
    qkv: Arc<Linear>,
    out: Arc<Linear>,
    gate_attention: f32,
    norm2: Arc<Norm>,
    expand: Arc<Linear>,
    contract: Arc<Linear>,
    gate_dense: f32,
    heads: usize,
}

impl Gligen {
    /// Loads tensors in the original naming: `position_net.…` and a `fuser` in every transformer.
    pub fn load<'a>(ops: &'a Ops, source: &'a dyn Source, options: LoadOptions<'a>) -> Result<Self> {
        let (net, params) = load(ops, source, "GLIGEN", options, |w| {
            let position = w.at("position_net");
            let mut fusers = Vec::new();
            let names = source.names();
            for list in ["input_blocks", "middle_block", "output_blocks"] {
                for i in 0..20 {
                    let start = format!("{list}.{i}.");
                    let found = names.iter().find_map(|name| {
                        let path = name.strip_suffix(".fuser.linear.weight")?;
                        path.starts_with(&start).then(|| format!("{path}.fuser"))
                    });
                    if let Some(path) = found {
                        fusers.push(Fusion::load(&w.at(path))?);
                    }
                }
            }
            Ok(Self {
                ops: ops.clone(),
                position: [
                    position.linear("linears.0")?,
                    position.linear("linears.2")?,
                    position.linear("linears.4")?,
                ],
                no_phrase: position.values("null_positive_feature")?,
                no_box: position.values("null_position_feature")?,
                fusers,
                params: Params::default(),
            })
        })?;
        Ok(Self { params, ..net })
    }

    /// Bytes of its weights.
    pub fn bytes(&self) -> usize {
        self.params.bytes()
    }

    /// What is fused into the stream of a UNet that runs `batch` samples.
    ///
    /// # Errors
    /// Where a phrase has not the channels that the network was trained with.
    pub fn fuser(self: &Arc<Self>, batch: usize, placed: &[Placed]) -> Result<Fuser> {
        let (phrase, corners) = (self.no_phrase.len(), self.no_box.len());
        let mut one = Vec::with_capacity(OBJECTS * (phrase + corners));
        for i in 0..OBJECTS {
            match placed.get(i) {
                Some(object) if object.phrase.len() == phrase => {
                    one.extend_from_slice(&object.phrase);
                    embed(object.sides, corners, &mut one);
                }
                Some(object) => {
                    return Err(crate::Error::Input {
                        model: "GLIGEN",
                        input: "text",
                        found: format!("{} channels", object.phrase.len()),
                        expected: format!("{phrase}, of another text encoder"),
                    });
                }
                None => {
                    one.extend_from_slice(&self.no_phrase);
                    one.extend_from_slice(&self.no_box);
                }
            }
        }
        let ops = &self.ops;
        let x = ops.upload(Dims::tokens(batch, OBJECTS, phrase + corners), &one.repeat(batch))?;
        let silu = Epilogue::activation(Activation::Silu, Out::Operand);
        let h = ops.linear(&self.position[0], &x, silu)?;
        let h = ops.linear(&self.position[1], &h, silu)?;
        let objects = ops.linear(&self.position[2], &h, Epilogue::default())?;
        Ok(Fuser { net: self.clone(), objects })
    }
}

/// Sines and cosines of a box's sides, frequency by frequency.
fn embed(sides: [f32; 4], channels: usize, out: &mut Vec<f32>) {
    let start = out.len();
    for i in 0..FREQUENCIES {
        let frequency = BASE.powf(i as f32 / FREQUENCIES as f32);
        out.extend(sides.iter().map(|side| (frequency * side).sin()));
        out.extend(sides.iter().map(|side| (frequency * side).cos()));
    }
    out.resize(start + channels, 0.0);
}

/// Objects of one picture, ready to be fused at every transformer.
pub struct Fuser {
    net: Arc<Gligen>,
    objects: Act,
}

impl Fuser {
    /// The stream with the objects in it, at transformer number `index` of the UNet.
    pub(crate) fn apply(&self, ops: &Ops, x: Act, index: usize) -> Result<Act> {
        match self.net.fusers.get(index) {
            Some(fusion) if x.dims().n == self.objects.dims().n => fusion.forward(ops, x, &self.objects),
            _ => Ok(x),
        }
    }
}

impl Fusion {
    fn load(w: &Loader<'_>) -> Result<Self> {
        let objects = w.linear("linear")?;
        // SD 1 has eight heads, later models 64 channels a head.
        let heads = if objects.input == 768 { 8 } else { (objects.output / 64).max(1) };
        let gate = |name: &str| -> Result<f32> { Ok(w.values(name)?.first().copied().unwrap_or(0.0).tanh()) };
        Ok(Self {
            norm1: w.norm("norm1")?,
            qkv: w.fused(&["attn.to_q", "attn.to_k", "attn.to_v"])?,
            out: w.linear("attn.to_out.0")?,
            gate_attention: gate("alpha_attn")?,
            norm2: w.norm("norm2")?,
            expand: w.geglu("ff.net.0.proj")?,
            contract: w.linear("ff.net.2")?,
            gate_dense: gate("alpha_dense")?,
            objects,
            heads,
        })
    }

    fn forward(&self, ops: &Ops, x: Act, objects: &Act) -> Result<Act> {
        let norm = |x: &Act, norm: &Norm| {
            ops.layer_norm(x, LayerNorm { norm: Some(norm), eps: 1e-5, modulation: None, out: Out::Operand })
        };
        let positions = x.dims().positions();
        let objects = ops.linear(&self.objects, objects, Epilogue::default())?;
        let both = ops.concat_stream(&[&x, &objects])?;
        let qkv = ops.linear(&self.qkv, &norm(&both, &self.norm1)?, Epilogue::operand())?;
        drop(both);
        let seen =
            ops.attention(Attention::new(self.heads, qkv.chunk(0, 3), qkv.chunk(1, 3), qkv.chunk(2, 3)))?;
        drop(qkv);
        let d = x.dims();
        let seen = ops.slice(seen.cols(), 0, positions)?.with_positions(d.h, d.w);
        let gate = Epilogue { scale: Some(self.gate_attention), ..Epilogue::residual(&x) };
        let x = ops.linear(&self.out, &seen, gate)?;
        let wide = ops.linear(&self.expand, &norm(&x, &self.norm2)?, Epilogue::operand())?;
        ops.linear(&self.contract, &wide, Epilogue { scale: Some(self.gate_dense), ..Epilogue::residual(&x) })
    }
}

/// The values of a pooled phrase, `[1, channels]`.
pub fn phrase(pooled: &Tensor) -> Result<Vec<f32>> {
    Ok(pooled.flatten_all()?.to_dtype(candle_core::DType::F32)?.to_vec1()?)
}
