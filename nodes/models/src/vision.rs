//! CLIP's and SigLIP's picture encoders (Radford et al. 2021; Zhai et al. 2023).

use std::sync::Arc;

use candle_core::Tensor;

use crate::{
    LoadOptions, Params, Result,
    ops::{Act, Activation, Attention, Conv, ConvShape, Dims, Epilogue, LayerNorm, Linear, Norm, Ops, Out},
    params::{Loader, load},
    source::Source,
};

/// A picture encoder ready to run.
pub struct Vision {
    ops: Ops,
    form: Form,
    patches: Arc<Conv>,
    /// A token for the whole picture.
    class: Option<Vec<f32>>,
    positions: Vec<f32>,
    before: Option<Arc<Norm>>,
    layers: Vec<Layer>,
    after: Arc<Norm>,
    projection: Option<Arc<Linear>>,
    /// LLaVA's projection of the patches.
    projector: Option<(Arc<Linear>, Arc<Linear>)>,
    params: Params,
}

/// What the tensors' shapes tell of an encoder.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Form {
    /// Pixels along a side of the picture.
    pub size: usize,
    /// Pixels along a side of a patch.
    pub patch: usize,
    /// Channels of a token.
    pub width: usize,
    /// Channels of a picture are brought to this mean …
    pub mean: [f32; 3],
    /// … and this deviation.
    pub deviation: [f32; 3],
    heads: usize,
    activation: Activation,
    eps: f32,
}

struct Layer {
    norm1: Arc<Norm>,
    qkv: Arc<Linear>,
    attended: Arc<Linear>,
    norm2: Arc<Norm>,
    expand: Arc<Linear>,
    contract: Arc<Linear>,
}

/// What an encoder sees in pictures.
pub struct Seen {
    /// The last layer, `[n, tokens, width]`.
    pub last: Tensor,
    /// The layer before the last, `[n, tokens, width]`.
    pub penultimate: Tensor,
    /// One vector a picture, projected to where texts are; SigLIP's is its last layer.
    pub embeds: Tensor,
    /// The patches as LLaVA's language model reads them.
    pub projected: Option<Tensor>,
}

/// The names that a file has for an encoder's tensors.
struct Names {
    patches: &'static str,
    class: &'static str,
    positions: &'static str,
    before: &'static str,
    after: &'static str,
    layers: &'static str,
    /// The first normalisation of a layer.
    norm1: &'static str,
}

/// The transformers library's.
const TRANSFORMERS: Names = Names {
    patches: "vision_model.embeddings.patch_embedding",
    class: "vision_model.embeddings.class_embedding",
    positions: "vision_model.embeddings.position_embedding.weight",
    before: "vision_model.pre_layrnorm",
    after: "vision_model.post_layernorm",
    layers: "vision_model.encoder.layers",
    norm1: "layer_norm1.weight",
};

/// OpenCLIP's.
const OPEN: Names = Names {
    patches: "conv1",
    class: "class_embedding",
    positions: "positional_embedding",
    before: "ln_pre",
    after: "ln_post",
    layers: "transformer.resblocks",
    norm1: "ln_1.weight",
};

impl Form {
    fn of(w: &Loader<'_>, names: &Names) -> Result<Self> {
        let shape = w.shape(&format!("{}.weight", names.patches))?;
        let (width, patch) = (shape[0], shape.get(2).copied().unwrap_or(14));
        let has_class = w.has(names.class);
        let tokens = w.shape(names.positions)?[0];
        let side = ((tokens - usize::from(has_class)) as f64).sqrt().round() as usize;
        let layers = w.count(|i| format!("{}.{i}.{}", names.layers, names.norm1));
        // OpenCLIP's large encoders and SigLIP differ in ways that only their sizes tell.
        let heads = match width {
            1024 | 1152 | 1280 | 1664 => 16,
            _ => (width / 64).max(1),
        };
        let activation = match (has_class, layers) {
            (false, _) => Activation::GeluTanh,
            (true, 25..) => Activation::Gelu,
            (true, _) => Activation::QuickGelu,
        };
        let (mean, deviation) = if has_class {
            ([0.481_454_67, 0.457_827_5, 0.408_210_72], [0.268_629_55, 0.261_302_6, 0.275_777_1])
        } else {
            ([0.5; 3], [0.5; 3])
        };
        // SigLIP's 384 pixels are no multiple of its patches.
        let size = if !has_class && side * patch == 378 { 384 } else { side * patch };
        Ok(Self { size, patch, width, mean, deviation, heads, activation, eps: 1e-5 })
    }
}

impl Layer {
    fn load(w: &Loader<'_>) -> Result<Self> {
        Ok(Self {
            norm1: w.norm("layer_norm1")?,
            qkv: w.fused(&["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"])?,
            attended: w.linear("self_attn.out_proj")?,
            norm2: w.norm("layer_norm2")?,
            expand: w.linear("mlp.fc1")?,
            contract: w.linear("mlp.fc2")?,
        })
    }

    fn load_open(w: &Loader<'_>) -> Result<Self> {
        Ok(Self {
            norm1: w.norm("ln_1")?,
            qkv: w.linear_from(&[w.name("attn.in_proj_weight")], &[w.name("attn.in_proj_bias")], None)?,
            attended: w.linear("attn.out_proj")?,
            norm2: w.norm("ln_2")?,
            expand: w.linear("mlp.c_fc")?,
            contract: w.linear("mlp.c_proj")?,
        })
    }

    fn forward(&self, ops: &Ops, x: Act, form: &Form) -> Result<Act> {
        let norm = |x: &Act, norm: &Norm| {
            ops.layer_norm(
                x,
                LayerNorm { norm: Some(norm), eps: form.eps, modulation: None, out: Out::Operand },
            )
        };
        let qkv = ops.linear(&self.qkv, &norm(&x, &self.norm1)?, Epilogue::operand())?;
        let a =
            ops.attention(Attention::new(form.heads, qkv.chunk(0, 3), qkv.chunk(1, 3), qkv.chunk(2, 3)))?;
        let x = ops.linear(&self.attended, &a, Epilogue::residual(&x))?;
        let a = norm(&x, &self.norm2)?;
        let wide = ops.linear(&self.expand, &a, Epilogue::activation(form.activation, Out::Operand))?;
        ops.linear(&self.contract, &wide, Epilogue::residual(&x))
    }
}

impl Vision {
    /// Loads tensors in the transformers library's naming, `vision_model.…`, or in OpenCLIP's.
    pub fn load<'a>(ops: &'a Ops, source: &'a dyn Source, options: LoadOptions<'a>) -> Result<Self> {
        let (net, params) = load(ops, source, "CLIP vision", options, |w| {
            let is_open = w.has("conv1.weight");
            let names = if is_open { OPEN } else { TRANSFORMERS };
            let form = Form::of(w, &names)?;
            let list = w.at(names.layers);
            let count = list.count(|i| format!("{i}.{}", names.norm1));
            let layer = |i: usize| {
                if is_open { Layer::load_open(&list.at(i)) } else { Layer::load(&list.at(i)) }
            };
            let has_class = w.has(names.class);
            let projector = w.at("multi_modal_projector");
            Ok(Self {
                ops: ops.clone(),
                form,
                patches: w.conv(names.patches)?,
                class: if has_class { Some(w.values(names.class)?) } else { None },
                positions: w.values(names.positions)?,
                before: if has_class { Some(w.norm(names.before)?) } else { None },
                layers: (0..count).map(layer).collect::<Result<_>>()?,
                after: w.norm(names.after)?,
                projection: if w.has("visual_projection.weight") {
                    Some(w.linear("visual_projection")?)
                } else if w.has("proj") {
                    Some(w.linear_transposed("proj")?)
                } else {
                    None
                },
                projector: if projector.has("linear_1.weight") {
                    Some((projector.linear("linear_1")?, projector.linear("linear_2")?))
                } else {
                    None
                },
                params: Params::default(),
            })
        })?;
        Ok(Self { params, ..net })
    }

    /// Bytes of its weights.
    pub fn bytes(&self) -> usize {
        self.params.bytes()
    }

    /// What its tensors say of it.
    pub fn form(&self) -> Form {
        self.form
    }

    /// Looks at pictures, `[n, 3, size, size]` in 0 to 1.
    pub fn encode(&self, pixels: &Tensor) -> Result<Seen> {
        let (ops, form) = (&self.ops, &self.form);
        let (n, _, height, width) = pixels.dims4()?;
        if (height, width) != (form.size, form.size) {
            return Err(crate::Error::Input {
                model: "CLIP vision",
                input: "image",
                found: format!("{height} × {width}"),
                expected: format!("{0} × {0}", form.size),
            });
        }
        let three = |values: [f32; 3]| Tensor::from_slice(&values, (1, 3, 1, 1), pixels.device());
        let centred = pixels.broadcast_sub(&three(form.mean)?)?.broadcast_div(&three(form.deviation)?)?;
        let x = ops.from_nchw(&centred)?;
        let shape = ConvShape { stride: form.patch, pad: [0; 4], upsample: false };
        let x = ops.conv(&self.patches, &[&x], shape, Epilogue::default())?;
        let x = x.with_tokens();
        let x = match &self.class {
            Some(class) => {
                let own = ops.upload(Dims::tokens(n, 1, form.width), &class.repeat(n))?;
                ops.concat_stream(&[&own, &x])?
            }
            None => x,
        };
        let positions = ops.upload(x.dims(), &self.positions.repeat(n))?;
        let mut x = ops.add(&x, &positions, 1.0)?;
        drop(positions);
        let norm = |x: &Act, norm: &Norm| {
            ops.layer_norm(
                x,
                LayerNorm { norm: Some(norm), eps: form.eps, modulation: None, out: Out::Stream },
            )
        };
        if let Some(before) = &self.before {
            x = norm(&x, before)?;
        }
        let mut penultimate = None;
        for (i, layer) in self.layers.iter().enumerate() {
            x = layer.forward(ops, x, form)?;
            if i + 2 == self.layers.len() {
                penultimate = Some(ops.to_tokens(&x)?);
            }
        }
        let last;
        let pooled = if self.class.is_some() {
            last = ops.to_tokens(&x)?;
            norm(&ops.slice(x.cols(), 0, 1)?, &self.after)?
        } else {
            let x = norm(&x, &self.after)?;
            last = ops.to_tokens(&x)?;
            x
        };
        let pooled = match &self.projection {
            Some(projection) => ops.linear(projection, &pooled, Epilogue::default())?,
            None => pooled,
        };
        let embeds = ops.to_tokens(&pooled)?;
        let embeds = if self.class.is_some() { embeds.squeeze(1)? } else { embeds };
        let penultimate = penultimate.unwrap_or_else(|| last.clone());
        let projected = match &self.projector {
            Some((first, second)) => {
                let patches = penultimate.narrow(1, 1, penultimate.dim(1)? - 1)?.contiguous()?;
                let gelu = Epilogue::activation(Activation::Gelu, Out::Operand);
                let wide = ops.linear(first, &ops.from_tokens(&patches)?, gelu)?;
                Some(ops.to_tokens(&ops.linear(second, &wide, Epilogue::default())?)?)
            }
            None => None,
        };
        Ok(Seen { last, penultimate, embeds, projected })
    }
}
