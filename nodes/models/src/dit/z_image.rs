//! Z-Image (Tongyi 2025, `Tongyi-MAI/Z-Image`): blocks over prompt and picture as one sequence, after a few for each
//! alone; only the timestep modulates them, so that a call's modulation is folded into its normalisations.

use std::sync::Arc;

use candle_core::Tensor;

use super::{Embedder, pad_to_patches};
use crate::{
    Error, LoadOptions, Params, Result,
    denoiser::{Denoiser, Input, Session},
    ops::{Act, Activation, Attention, Dims, Epilogue, HeadNorm, LayerNorm, Linear, Norm, Ops, Out, Rope},
    params::{Loader, load},
    source::Source,
};

/// Channels of a head that rotate with index, row and column.
const AXES: [usize; 3] = [32, 48, 48];
const HEAD: usize = 128;
const THETA: f64 = 256.0;
/// Cells along a side of a patch.
const PATCH: usize = 2;
/// Sequences are filled up to a multiple of this.
const MULTIPLE: usize = 32;
const EPS: f32 = 1e-5;
/// Epsilon of the last normalisation, which has no weights.
const LAST_EPS: f32 = 1e-6;
/// Times are 0 to 1, and embedded in thousandths.
const UNITS: f32 = 1000.0;

/// The transformer ready to run.
pub struct ZImage {
    ops: Ops,
    picture: Arc<Linear>,
    picture_pad: Vec<f32>,
    text_norm: Arc<Norm>,
    text: Arc<Linear>,
    text_pad: Vec<f32>,
    time: Embedder,
    noise_refiner: Vec<Block>,
    text_refiner: Vec<Block>,
    layers: Vec<Block>,
    last_modulation: Arc<Linear>,
    last: Arc<Linear>,
    params: Params,
}

struct Block {
    norm1: Arc<Norm>,
    qkv: Arc<Linear>,
    heads: (Arc<Norm>, Arc<Norm>),
    out: Arc<Linear>,
    norm2: Arc<Norm>,
    feed_norm1: Arc<Norm>,
    expand: Arc<Linear>,
    contract: Arc<Linear>,
    feed_norm2: Arc<Norm>,
    /// None of blocks that read the prompt alone.
    modulation: Option<Arc<Linear>>,
}

/// A block's four normalisations with one timestep's modulation in them.
struct Norms([Norm; 4]);

impl Block {
    fn load(w: &Loader<'_>) -> Result<Self> {
        let feed = w.at("feed_forward");
        // The gate comes second in a gated product.
        let halves = [feed.name("w3.weight"), feed.name("w1.weight")];
        let modulation = w.has("adaLN_modulation.0.weight");
        Ok(Self {
            norm1: w.norm("attention_norm1")?,
            qkv: w.linear("attention.qkv")?,
            heads: (w.norm("attention.q_norm")?, w.norm("attention.k_norm")?),
            out: w.linear("attention.out")?,
            norm2: w.norm("attention_norm2")?,
            feed_norm1: w.norm("ffn_norm1")?,
            expand: feed.linear_from(&halves, &[], Some(Activation::Silu))?,
            contract: feed.linear("w2")?,
            feed_norm2: w.norm("ffn_norm2")?,
            modulation: if modulation { Some(w.linear("adaLN_modulation.0")?) } else { None },
        })
    }

    /// Scales before attention and feed-forward, gates behind them.
    fn norms(&self, ops: &Ops, condition: &Act) -> Result<Norms> {
        let own = [&self.norm1, &self.norm2, &self.feed_norm1, &self.feed_norm2];
        let plain = |norm: &Arc<Norm>| Norm { weight: norm.weight.clone(), bias: None };
        let Some(modulation) = &self.modulation else { return Ok(Norms(own.map(plain))) };
        let row = ops.download(&ops.linear(modulation, condition, Epilogue::default())?)?;
        let width = row.len() / 4;
        let changed = |i: usize, change: fn(f32) -> f32| {
            let factors = &row[i * width..][..width];
            let weight = own[i].weight.iter().zip(factors).map(|(w, f)| w * change(*f)).collect();
            Norm { weight, bias: None }
        };
        let scale: fn(f32) -> f32 = |f| 1.0 + f;
        let gate: fn(f32) -> f32 = f32::tanh;
        Ok(Norms([changed(0, scale), changed(1, gate), changed(2, scale), changed(3, gate)]))
    }

    fn forward(&self, ops: &Ops, x: Act, condition: &Act, rope: &Rope) -> Result<Act> {
        let Norms([before, after, feed_before, feed_after]) = self.norms(ops, condition)?;
        let a = ops.rms_norm(&x, &before, EPS, Out::Operand)?;
        let mut qkv = ops.linear(&self.qkv, &a, Epilogue::operand())?;
        drop(a);
        let width = qkv.dims().c / 3;
        for (start, norm) in [(0, &self.heads.0), (width, &self.heads.1)] {
            let norm = Some((&**norm, EPS));
            let how = HeadNorm { start, heads: width / HEAD, size: HEAD, norm, rope: Some(rope) };
            ops.head_norm(&mut qkv, how)?;
        }
        let all = Attention::new(width / HEAD, qkv.chunk(0, 3), qkv.chunk(1, 3), qkv.chunk(2, 3));
        let a = ops.attention(all)?;
        drop(qkv);
        let a = ops.linear(&self.out, &a, Epilogue::default())?;
        let x = ops.add(&x, &ops.rms_norm(&a, &after, EPS, Out::Stream)?, 1.0)?;
        let a = ops.rms_norm(&x, &feed_before, EPS, Out::Operand)?;
        let wide = ops.linear(&self.expand, &a, Epilogue::operand())?;
        let a = ops.linear(&self.contract, &wide, Epilogue::default())?;
        drop(wide);
        ops.add(&x, &ops.rms_norm(&a, &feed_after, EPS, Out::Stream)?, 1.0)
    }
}

impl ZImage {
    /// Loads tensors in the original naming, without a `model.diffusion_model.` before them.
    pub fn load<'a>(ops: &'a Ops, source: &'a dyn Source, options: LoadOptions<'a>) -> Result<Self> {
        let (model, params) = load(ops, source, "Z-Image", options, |w| {
            let blocks = |name: &str| -> Result<Vec<Block>> {
                let list = w.at(name);
                let count = list.count(|i| format!("{i}.attention.qkv.weight"));
                (0..count).map(|i| Block::load(&list.at(i))).collect()
            };
            let layers = blocks("layers")?;
            if layers.is_empty() {
                let name = "layers.0.attention.qkv.weight".into();
                return Err(Error::MissingTensor { what: "Z-Image", name });
            }
            Ok(Self {
                ops: ops.clone(),
                picture: w.linear("x_embedder")?,
                picture_pad: w.values("x_pad_token")?,
                text_norm: w.norm("cap_embedder.0")?,
                text: w.linear("cap_embedder.1")?,
                text_pad: w.values("cap_pad_token")?,
                time: Embedder::load(&w.at("t_embedder"), "mlp.0", "mlp.2")?,
                noise_refiner: blocks("noise_refiner")?,
                text_refiner: blocks("context_refiner")?,
                layers,
                last_modulation: w.linear("final_layer.adaLN_modulation.1")?,
                last: w.linear("final_layer.linear")?,
                params: Params::default(),
            })
        })?;
        Ok(Self { params, ..model })
    }

    fn check(&self, input: &Input<'_>) -> Result<()> {
        let wrong = |input, found, expected| Err(Error::Input { model: "Z-Image", input, found, expected });
        let (n, c, _, _) = input.x.dims4()?;
        let (cn, _, cc) = input.context.dims3()?;
        if c != self.input_channels() {
            return wrong("x", format!("{c} channels"), self.input_channels().to_string());
        }
        if (cn, cc) != (n, self.context_channels()) {
            let expected = format!("{n} × {}", self.context_channels());
            return wrong("context", format!("{cn} × {cc} channels"), expected);
        }
        if input.timesteps.len() != n {
            return wrong("timesteps", input.timesteps.len().to_string(), n.to_string());
        }
        Ok(())
    }

    /// A sequence filled up to a multiple of [`MULTIPLE`] with a token of its own.
    fn filled(&self, x: Act, pad: &[f32]) -> Result<Act> {
        let d = x.dims();
        let missing = d.positions().next_multiple_of(MULTIPLE) - d.positions();
        if missing == 0 {
            return Ok(x.with_tokens());
        }
        let more = self.ops.upload(Dims::tokens(d.n, missing, d.c), &pad.repeat(d.n * missing))?;
        self.ops.concat_stream(&[&x.with_tokens(), &more])
    }

    /// One call for samples at one time.
    fn run(&self, input: &Input<'_>) -> Result<Tensor> {
        let ops = &self.ops;
        let (_, _, height, width) = input.x.dims4()?;
        let x = patches(&pad_to_patches(input.x, PATCH)?)?;
        let x = ops.from_nchw(&x)?;
        let Dims { n, h, w, .. } = x.dims();
        let time = [(1.0 - input.timesteps[0]) * UNITS];
        let condition = self.time.add_numbers(ops, &time, None)?;

        let text = ops.from_tokens(input.context)?;
        let text = ops.rms_norm(&text, &self.text_norm, EPS, Out::Operand)?;
        let text = ops.linear(&self.text, &text, Epilogue::default())?;
        let mut text = self.filled(text, &self.text_pad)?;
        let texts = text.dims().positions();
        let text_places: Vec<[usize; 3]> = (0..texts).map(|i| [1 + i, 0, 0]).collect();
        let text_rope = rope(&text_places);
        for block in &self.text_refiner {
            text = block.forward(ops, text, &condition, &text_rope)?;
        }

        let picture = ops.linear(&self.picture, &x, Epilogue::default())?;
        drop(x);
        let mut picture = self.filled(picture, &self.picture_pad)?;
        let mut places: Vec<[usize; 3]> = (0..h * w).map(|i| [texts + 1, i / w, i % w]).collect();
        places.resize(picture.dims().positions(), [0; 3]);
        let picture_rope = rope(&places);
        for block in &self.noise_refiner {
            picture = block.forward(ops, picture, &condition, &picture_rope)?;
        }

        let mut both = ops.concat_stream(&[&picture, &text])?;
        drop((picture, text));
        places.extend(text_places);
        let all = rope(&places);
        for block in &self.layers {
            both = block.forward(ops, both, &condition, &all)?;
        }
        let picture = ops.slice(both.cols(), 0, h * w)?;
        drop(both);
        let active = ops.activate(&condition, Activation::Silu, Out::Operand)?;
        let scale = ops.download(&ops.linear(&self.last_modulation, &active, Epilogue::default())?)?;
        let norm = Norm { weight: scale.iter().map(|s| 1.0 + s).collect(), bias: None };
        let how = LayerNorm { norm: Some(&norm), eps: LAST_EPS, modulation: None, out: Out::Operand };
        let y = ops.linear(&self.last, &ops.layer_norm(&picture, how)?, Epilogue::default())?;
        let channels = self.last.output / (PATCH * PATCH);
        let y = ops.to_tokens(&y)?.reshape(vec![n, h, w, PATCH, PATCH, channels])?;
        let y =
            y.permute(vec![0, 5, 1, 3, 2, 4])?.contiguous()?.reshape((n, channels, h * PATCH, w * PATCH))?;
        // It was trained towards the picture, samplers want the way to the noise.
        Ok(y.narrow(2, 0, height)?.narrow(3, 0, width)?.contiguous()?.neg()?)
    }
}

impl Denoiser for ZImage {
    fn denoise(&self, _: &mut Session, input: Input<'_>) -> Result<Tensor> {
        self.check(&input)?;
        if input.timesteps.windows(2).all(|t| t[0] == t[1]) {
            return self.run(&input);
        }
        let each = (0..input.timesteps.len()).map(|i| {
            let (x, context) = (input.x.narrow(0, i, 1)?, input.context.narrow(0, i, 1)?);
            let timesteps = &input.timesteps[i..=i];
            self.run(&Input { x: &x, context: &context, timesteps, ..input })
        });
        Ok(Tensor::cat(&each.collect::<Result<Vec<_>>>()?, 0)?)
    }

    fn params(&self) -> &Params {
        &self.params
    }

    fn input_channels(&self) -> usize {
        self.picture.input / (PATCH * PATCH)
    }

    fn context_channels(&self) -> usize {
        self.text.input
    }

    fn y_channels(&self) -> Option<usize> {
        None
    }
}

/// Patches as channels, cell by cell: `[n, 4 · c, h / 2, w / 2]`.
fn patches(x: &Tensor) -> Result<Tensor> {
    let (n, c, h, w) = x.dims4()?;
    let (h, w) = (h / PATCH, w / PATCH);
    let x = x.reshape(vec![n, c, h, PATCH, w, PATCH])?.permute(vec![0, 3, 5, 1, 2, 4])?;
    Ok(x.contiguous()?.reshape((n, c * PATCH * PATCH, h, w))?)
}

/// Angles by index, row and column. In f64, as the reference has it.
fn rope(places: &[[usize; 3]]) -> Rope {
    let (mut cos, mut sin) = (Vec::new(), Vec::new());
    for place in places {
        for (axis, at) in AXES.into_iter().zip(place) {
            for i in 0..axis / 2 {
                let angle = *at as f64 / THETA.powf(2.0 * i as f64 / axis as f64);
                cos.push(angle.cos() as f32);
                sin.push(angle.sin() as f32);
            }
        }
    }
    Rope { cos, sin }
}
