//! The operators on `ebb-kernels`: packed weights, pooled buffers, no conversion between layers.

use ebb_kernels::{
    self as kernels, Conv2d, ConvSpec, DType, Filter, HeadNormRope, Heads, Image, Kernels, Layout,
    LinearSpec, Modulation, PackedConv, PackedLinear, Padding, Pairs, Plane, Residual, Resize, Source, View,
};

use super::{
    Act, Activation, Attention, Blocks, Cols, Conv, ConvShape, Data, Dims, Epilogue, GroupNorm, HeadNorm,
    LayerNorm, Linear, Norm, Out, Parts, Precision, rows,
    weights::{ConvData, LinearData},
};
use crate::{Error, Result, source::Values};

pub(super) struct Cpu {
    kernels: Kernels,
    precision: kernels::Precision,
}

impl Precision {
    pub(super) fn of_kernels(self) -> kernels::Precision {
        match self {
            Self::F32 => kernels::Precision::F32,
            Self::Bf16 => kernels::Precision::Bf16,
        }
    }
}

impl Activation {
    /// The kernels' name for it; `None` where they have none.
    pub(super) fn of_kernels(self) -> Option<kernels::Activation> {
        Some(match self {
            Self::None => kernels::Activation::None,
            Self::Silu => kernels::Activation::Silu,
            Self::Gelu => kernels::Activation::GeluErf,
            Self::GeluTanh => kernels::Activation::GeluTanh,
            Self::QuickGelu => kernels::Activation::QuickGelu,
            Self::Relu => kernels::Activation::Relu,
            Self::LeakyRelu(0.2) => kernels::Activation::LeakyRelu02,
            Self::LeakyRelu(0.1) => kernels::Activation::LeakyRelu01,
            Self::LeakyRelu(_) | Self::SoftClamp3 => return None,
        })
    }
}

fn source(values: &Values) -> Source<'_> {
    match values {
        Values::F32(v) => v.as_slice().into(),
        Values::F16(v) => v.as_slice().into(),
        Values::Bf16(v) => v.as_slice().into(),
    }
}

/// What the kernels pack: values in memory, or tensors that are read meanwhile.
fn sources(parts: &Parts) -> Vec<Source<'_>> {
    let files = parts.files.iter().map(|file| Source::Stored(&**file));
    parts.values.iter().map(source).chain(files).collect()
}

impl Cpu {
    pub(super) fn new(kernels: Kernels, precision: Precision) -> Self {
        Self { kernels, precision: precision.of_kernels() }
    }

    pub(super) fn kernels(&self) -> &Kernels {
        &self.kernels
    }

    pub(super) fn precision(&self) -> Precision {
        match self.precision {
            kernels::Precision::F32 => Precision::F32,
            kernels::Precision::Bf16 => Precision::Bf16,
        }
    }

    fn new_act(&self, dims: Dims, out: Out) -> Result<Act> {
        let dtype = if out == Out::Operand { self.precision.dtype() } else { DType::F32 };
        Ok(Act { dims, data: Data::Cpu(self.kernels.pool().get(dtype, dims.len())?) })
    }

    pub(super) fn pack_linear(
        &self,
        parts: Parts,
        bias: Option<Vec<f32>>,
        [output, input]: [usize; 2],
        glu: Option<Activation>,
    ) -> Result<Linear> {
        let sources: Vec<_> = match &parts.blocks {
            Some(Blocks { kinds, bytes }) => {
                kinds.iter().zip(bytes).map(|(kind, bytes)| Source::Quant(*kind, bytes)).collect()
            }
            None => sources(&parts),
        };
        let spec = LinearSpec {
            in_features: input,
            bias: bias.as_deref(),
            glu: glu.and_then(Activation::of_kernels),
            precision: self.precision,
        };
        let packed = self.kernels.threads().run(|| PackedLinear::new(&sources, spec));
        let packed = packed.map_err(|e| parts.error().unwrap_or(Error::Kernel(e)))?;
        Ok(Linear { input, output, glu, bytes: packed.bytes(), data: LinearData::Cpu(packed) })
    }

    pub(super) fn pack_conv(&self, weight: Parts, bias: Option<Vec<f32>>, shape: [usize; 4]) -> Result<Conv> {
        let [output, input, kh, kw] = shape;
        let spec = ConvSpec {
            out_channels: output,
            in_channels: input,
            kernel: [kh, kw],
            bias: bias.as_deref(),
            precision: self.precision,
        };
        let source = sources(&weight).first().copied().ok_or_else(foreign)?;
        let packed = self.kernels.threads().run(|| PackedConv::new(source, spec));
        let packed = packed.map_err(|e| weight.error().unwrap_or(Error::Kernel(e)))?;
        Ok(Conv { input, output, kernel: [kh, kw], bytes: packed.bytes(), data: ConvData::Cpu(packed) })
    }

    pub(super) fn upload(&self, dims: Dims, values: &[f32]) -> Result<Act> {
        Ok(Act { dims, data: Data::Cpu(self.kernels.pool().copy_f32(values)?) })
    }

    pub(super) fn download(&self, x: &Act) -> Result<Vec<f32>> {
        Ok(view(x)?.to_vec())
    }

    pub(super) fn upload_nchw(&self, d: Dims, values: &[f32]) -> Result<Act> {
        let mut out = self.kernels.pool().f32(d.len())?;
        self.kernels.nchw_to_nhwc(values, image(d), out.as_f32_mut())?;
        Ok(Act { dims: d, data: Data::Cpu(out) })
    }

    pub(super) fn download_nchw(&self, x: &Act) -> Result<Vec<f32>> {
        let mut out = vec![0.0; x.dims.len()];
        self.kernels.nhwc_to_nchw(stream(x)?, image(x.dims), &mut out)?;
        Ok(out)
    }

    /// One dense row a sample of some columns: borrowed where they lie so, else copied.
    fn per_sample<'a>(&self, c: Cols<'a>) -> Result<PerSample<'a>> {
        let all = stream(c.act)?;
        let d = c.act.dims;
        if c.len == d.c || d.rows() == 1 {
            return Ok(PerSample::Borrowed(&all[c.start..c.start + d.rows() * c.len]));
        }
        let mut copy = self.kernels.pool().f32(d.rows() * c.len)?;
        for (to, from) in copy.as_f32_mut().chunks_exact_mut(c.len).zip(all.chunks_exact(d.c)) {
            to.copy_from_slice(&from[c.start..c.start + c.len]);
        }
        Ok(PerSample::Copied(copy))
    }

    /// Runs `product` with the kernels' form of an epilogue and the buffer to write to, then what they can't fuse.
    fn with_epilogue(
        &self,
        dims: Dims,
        e: Epilogue<'_>,
        product: impl FnOnce(kernels::Epilogue<'_>, &mut kernels::Buf) -> kernels::Result<()>,
    ) -> Result<Act> {
        let add = e.add.map(|c| self.per_sample(c)).transpose()?;
        let mut gate = e.gate.map(|c| self.per_sample(c)).transpose()?;
        if let Some(scale) = e.scale {
            let mut rows = self.kernels.pool().f32(dims.n * dims.c)?;
            match &gate {
                Some(g) => rows.as_f32_mut().iter_mut().zip(g.get()).for_each(|(to, g)| *to = g * scale),
                None => rows.as_f32_mut().fill(scale),
            }
            gate = Some(PerSample::Copied(rows));
        }
        let activation = e.activation.of_kernels();
        let residual = match e.residual {
            Some(r) => Residual::Add(view(r)?),
            None => Residual::None,
        };
        let mut out = self.new_act(dims, e.out)?;
        let epilogue = kernels::Epilogue {
            channel_add: add.as_ref().map(PerSample::get),
            activation: activation.unwrap_or_default(),
            gate: gate.as_ref().map(PerSample::get),
            residual,
        };
        product(epilogue, buf_mut(&mut out)?)?;
        if activation.is_none() {
            let out = buf_mut(&mut out)?;
            self.kernels.threads().run(|| rows::apply(out, e.activation));
        }
        Ok(out)
    }

    pub(super) fn linear(&self, linear: &Linear, x: &Act, e: Epilogue<'_>) -> Result<Act> {
        let LinearData::Cpu(w) = &linear.data else { return Err(foreign()) };
        let x_view = view(x)?;
        self.with_epilogue(x.dims.with_c(linear.result()), e, |epilogue, out| {
            self.kernels.linear(kernels::Linear {
                x: x_view,
                rows: x.dims.rows(),
                rows_per_sample: x.dims.positions(),
                w,
                epilogue,
                x_layout: None,
                out: out.view_mut(),
                out_layout: None,
            })
        })
    }

    pub(super) fn conv(&self, conv: &Conv, x: &[&Act], shape: ConvShape, e: Epilogue<'_>) -> Result<Act> {
        let ConvData::Cpu(w) = &conv.data else { return Err(foreign()) };
        let d = x[0].dims;
        let (h, wd) = shape.output(d.h, d.w, conv.kernel);
        let planes = planes(x)?;
        let [top, bottom, left, right] = shape.pad;
        self.with_epilogue(Dims { n: d.n, h, w: wd, c: conv.output }, e, |epilogue, out| {
            self.kernels.conv2d(Conv2d {
                x: &planes,
                batch: d.n,
                height: d.h,
                width: d.w,
                w,
                stride: [shape.stride; 2],
                padding: Padding { top, bottom, left, right },
                upsample: shape.upsample,
                epilogue,
                out: out.view_mut(),
            })
        })
    }

    pub(super) fn attention(&self, a: Attention<'_>) -> Result<Act> {
        let (q, k) = (a.q.act.dims, a.k.act.dims);
        let mut out = self.new_act(q.with_c(a.v.len), Out::Operand)?;
        let mask = match a.mask {
            _ if a.causal => kernels::Mask::Causal,
            None => kernels::Mask::None,
            Some(m) => {
                let [n, heads, queries, keys] = m.dims;
                let stride = |len: usize, stride: usize| if len == 1 { 0 } else { stride };
                kernels::Mask::Additive {
                    values: &m.values,
                    batch: stride(n, heads * queries * keys),
                    head: stride(heads, queries * keys),
                    query: stride(queries, keys),
                }
            }
        };
        self.kernels.attention(kernels::Attention {
            q: heads(a.q)?,
            k: heads(a.k)?,
            v: heads(a.v)?,
            batch: q.n,
            heads: a.heads,
            kv_heads: 0,
            head_dim: a.q.len / a.heads,
            q_len: q.positions(),
            k_len: k.positions(),
            scale: a.scale,
            mask,
            out: buf_mut(&mut out)?.view_mut(),
            out_layout: None,
        })?;
        Ok(out)
    }

    pub(super) fn group_norm(&self, x: &[&Act], norm: &Norm, how: GroupNorm) -> Result<Act> {
        let d = x[0].dims;
        let mut out = self.new_act(d.with_c(x.iter().map(|x| x.dims.c).sum()), how.out)?;
        self.kernels.group_norm(kernels::GroupNorm {
            x: &planes(x)?,
            batch: d.n,
            pixels: d.positions(),
            groups: how.groups,
            eps: how.eps,
            weight: &norm.weight,
            bias: norm.bias.as_deref().unwrap_or_default(),
            activation: if how.silu { kernels::Activation::Silu } else { kernels::Activation::None },
            out: buf_mut(&mut out)?.view_mut(),
        })?;
        Ok(out)
    }

    pub(super) fn layer_norm(&self, x: &Act, how: LayerNorm<'_>) -> Result<Act> {
        let modulation = match how.modulation {
            Some((shift, scale)) => Some((self.per_sample(shift)?, self.per_sample(scale)?)),
            None => None,
        };
        let mut out = self.new_act(x.dims, how.out)?;
        self.kernels.layer_norm(kernels::LayerNorm {
            x: view(x)?,
            rows: x.dims.rows(),
            channels: x.dims.c,
            eps: how.eps,
            weight: how.norm.map(|n| n.weight.as_slice()),
            bias: how.norm.and_then(|n| n.bias.as_deref()),
            modulation: modulation.as_ref().map(|(shift, scale)| Modulation {
                scale: scale.get(),
                shift: shift.get(),
                rows_per_sample: x.dims.positions(),
            }),
            out: buf_mut(&mut out)?.view_mut(),
        })?;
        Ok(out)
    }

    pub(super) fn rms_norm(&self, x: &Act, norm: &Norm, eps: f32, out: Out) -> Result<Act> {
        let mut y = self.new_act(x.dims, out)?;
        self.kernels.rms_norm(kernels::RmsNorm {
            x: view(x)?,
            x_layout: None,
            rows: x.dims.rows(),
            channels: x.dims.c,
            eps,
            weight: Some(&norm.weight),
            modulation: None,
            out: buf_mut(&mut y)?.view_mut(),
        })?;
        Ok(y)
    }

    pub(super) fn head_norm(&self, x: &mut Act, how: HeadNorm<'_>) -> Result<()> {
        let d = x.dims;
        self.kernels.head_norm_rope(HeadNormRope {
            data: buf_mut(x)?.view_mut(),
            layout: Layout::columns(d.c, how.start),
            rows: d.rows(),
            heads: how.heads,
            head_dim: how.size,
            norm: how.norm.map(|(n, eps)| (n.weight.as_slice(), eps)),
            rope: how.rope.map(|r| kernels::Rope {
                cos: &r.cos,
                sin: &r.sin,
                positions: d.positions(),
                pairs: Pairs::Adjacent,
            }),
        })?;
        Ok(())
    }

    pub(super) fn activate(&self, x: &Act, f: Activation, out: Out) -> Result<Act> {
        let mut y = self.new_act(x.dims, out)?;
        let known = f.of_kernels();
        self.kernels.activate(view(x)?, known.unwrap_or_default(), buf_mut(&mut y)?.view_mut())?;
        if known.is_none() {
            let y = buf_mut(&mut y)?;
            self.kernels.threads().run(|| rows::apply(y, f));
        }
        Ok(y)
    }

    pub(super) fn prelu(&self, x: &Act, slope: &Norm) -> Result<Act> {
        let mut y = self.activate(x, Activation::None, Out::Stream)?;
        let values = buf_mut(&mut y)?.as_f32_mut();
        self.kernels.threads().run(|| rows::prelu(values, &slope.weight));
        Ok(y)
    }

    pub(super) fn add(&self, a: &Act, b: &Act, scale: f32) -> Result<Act> {
        let mut y = self.activate(a, Activation::None, Out::Stream)?;
        self.kernels.add_scaled(view(b)?, scale, buf_mut(&mut y)?.view_mut())?;
        Ok(y)
    }

    pub(super) fn concat_channels(&self, x: &[&Act]) -> Result<Act> {
        let d = x[0].dims;
        let mut y = self.new_act(d.with_c(x.iter().map(|x| x.dims.c).sum()), Out::Stream)?;
        let mut column = 0;
        for part in x {
            let to = rows::Place { row: y.dims.c, column, first: 0, per_sample: d.positions() };
            let out = buf_mut(&mut y)?;
            self.kernels.threads().run(|| rows::copy(part.cols(), 0, d.positions(), out, to))?;
            column += part.dims.c;
        }
        Ok(y)
    }

    pub(super) fn concat_tokens(&self, x: &[&Act], out: Out) -> Result<Act> {
        let d = x[0].dims;
        let tokens = x.iter().map(|x| x.dims.positions()).sum();
        let mut y = self.new_act(Dims::tokens(d.n, tokens, d.c), out)?;
        let mut first = 0;
        for part in x {
            let to = rows::Place { row: d.c, column: 0, first, per_sample: tokens };
            let (out, len) = (buf_mut(&mut y)?, part.dims.positions());
            self.kernels.threads().run(|| rows::copy(part.cols(), 0, len, out, to))?;
            first += part.dims.positions();
        }
        Ok(y)
    }

    pub(super) fn slice(&self, x: Cols<'_>, start: usize, len: usize) -> Result<Act> {
        let out = if buf(x.act)?.dtype() == DType::F32 { Out::Stream } else { Out::Operand };
        let mut y = self.new_act(Dims::tokens(x.act.dims.n, len, x.len), out)?;
        let to = rows::Place { row: x.len, column: 0, first: 0, per_sample: len };
        let out = buf_mut(&mut y)?;
        self.kernels.threads().run(|| rows::copy(x, start, len, out, to))?;
        Ok(y)
    }

    pub(super) fn gather(&self, x: &Act, index: &[u32]) -> Result<Act> {
        let d = x.dims;
        let mut y = self.new_act(Dims::tokens(d.n, index.len(), d.c), Out::Stream)?;
        let (values, out) = (stream(x)?, buf_mut(&mut y)?.as_f32_mut());
        self.kernels.threads().run(|| rows::gather(values, d, index, out));
        Ok(y)
    }

    pub(super) fn resize_nearest(&self, x: &Act, h: usize, w: usize) -> Result<Act> {
        let d = x.dims;
        let mut y = self.new_act(Dims { h, w, ..d }, Out::Stream)?;
        self.kernels.resize(Resize {
            x: stream(x)?,
            batch: d.n,
            from: [d.h, d.w],
            to: [h, w],
            channels: d.c,
            filter: Filter::Nearest,
            out: buf_mut(&mut y)?.as_f32_mut(),
        })?;
        Ok(y)
    }

    pub(super) fn pixel_shuffle(&self, x: &Act, f: usize) -> Result<Act> {
        let Dims { n, h, w, c } = x.dims;
        let mut y = self.new_act(Dims { n, h: h * f, w: w * f, c: c / (f * f) }, Out::Stream)?;
        let (values, out) = (stream(x)?, buf_mut(&mut y)?.as_f32_mut());
        self.kernels.threads().run(|| rows::shuffle(values, x.dims, f, out));
        Ok(y)
    }
}

/// A small `[samples, columns]` matrix.
enum PerSample<'a> {
    Borrowed(&'a [f32]),
    Copied(kernels::Buf),
}

impl PerSample<'_> {
    fn get(&self) -> &[f32] {
        match self {
            Self::Borrowed(x) => x,
            Self::Copied(x) => x.as_f32(),
        }
    }
}

pub(super) fn foreign() -> Error {
    Error::Candle(candle_core::Error::Msg("a weight or activation of another backend".into()))
}

pub(super) fn buf(x: &Act) -> Result<&kernels::Buf> {
    match &x.data {
        Data::Cpu(b) => Ok(b),
        _ => Err(foreign()),
    }
}

fn buf_mut(x: &mut Act) -> Result<&mut kernels::Buf> {
    match &mut x.data {
        Data::Cpu(b) => Ok(b),
        _ => Err(foreign()),
    }
}

fn view(x: &Act) -> Result<View<'_>> {
    Ok(buf(x)?.view())
}

/// The values of an activation that is part of the f32 stream.
fn stream(x: &Act) -> Result<&[f32]> {
    match view(x)? {
        View::F32(v) => Ok(v),
        View::Bf16(_) => Err(foreign()),
    }
}

fn heads(c: Cols<'_>) -> Result<Heads<'_>> {
    Ok(Heads { data: view(c.act)?, layout: Layout::columns(c.act.dims.c, c.start) })
}

fn planes<'a>(x: &[&'a Act]) -> Result<Vec<Plane<'a>>> {
    x.iter().map(|x| Ok(Plane { data: view(x)?, channels: x.dims.c })).collect()
}

fn image(d: Dims) -> Image {
    Image { batch: d.n, channels: d.c, height: d.h, width: d.w }
}
