//! The operators on candle's tensors: any device candle has, and a second opinion on the kernels in tests.
//!
//! Activations are `[n, positions, c]`. Norms, softmax and the residual stream are f32; operands of matrix
//! products are bf16 where the precision says so and the device can multiply it.

use candle_core::{D, DType, Device, Tensor};

use super::{
    Act, Activation, Attention, Cols, Conv, ConvShape, Data, Dims, Epilogue, GroupNorm, HeadNorm, LayerNorm,
    Linear, Norm, Out, Parts, Precision,
    cpu::foreign,
    fused::Fused,
    weights::{ConvData, LinearData},
};
use crate::Result;

pub(crate) type Values = Tensor;

/// A weight and its bias.
pub(crate) struct Weight {
    weight: Tensor,
    bias: Option<Tensor>,
}

pub(super) struct Candle {
    device: Device,
    precision: Precision,
    operand: DType,
}

impl Candle {
    pub(super) fn new(device: Device, precision: Precision) -> Self {
        // candle's CPU matmul has no bf16.
        let operand = match precision {
            Precision::Bf16 if !device.is_cpu() => DType::BF16,
            _ => DType::F32,
        };
        Self { device, precision, operand }
    }

    pub(super) fn precision(&self) -> Precision {
        self.precision
    }

    pub(super) fn device(&self) -> &Device {
        &self.device
    }

    pub(super) fn in_precision(&self, precision: Precision) -> Self {
        Self::new(self.device.clone(), precision)
    }

    fn weight(&self, parts: Parts, bias: Option<Vec<f32>>, shape: &[usize]) -> Result<(Weight, usize)> {
        let weight = Tensor::from_vec(parts.into_f32(), shape, &Device::Cpu)?
            .to_dtype(self.operand)?
            .to_device(&self.device)?;
        let bytes =
            weight.elem_count() * self.operand.size_in_bytes() + bias.as_ref().map_or(0, |b| 4 * b.len());
        let bias = match bias {
            Some(b) => Some(self.vector(&b)?),
            None => None,
        };
        Ok((Weight { weight, bias }, bytes))
    }

    fn vector(&self, v: &[f32]) -> Result<Tensor> {
        Ok(Tensor::from_slice(v, v.len(), &self.device)?)
    }

    pub(super) fn pack_linear(
        &self,
        parts: Parts,
        bias: Option<Vec<f32>>,
        [output, input]: [usize; 2],
        glu: Option<Activation>,
    ) -> Result<Linear> {
        let (weight, bytes) = self.weight(parts, bias, &[output, input])?;
        Ok(Linear { input, output, glu, bytes, data: LinearData::Candle(weight) })
    }

    pub(super) fn pack_conv(&self, weight: Parts, bias: Option<Vec<f32>>, shape: [usize; 4]) -> Result<Conv> {
        let [output, input, kh, kw] = shape;
        let (weight, bytes) = self.weight(weight, bias, &shape)?;
        Ok(Conv { input, output, kernel: [kh, kw], bytes, data: ConvData::Candle(weight) })
    }

    pub(super) fn upload(&self, d: Dims, values: &[f32]) -> Result<Act> {
        self.act(d, Tensor::from_slice(values, (d.n, d.positions(), d.c), &self.device)?)
    }

    pub(super) fn download(&self, x: &Act) -> Result<Vec<f32>> {
        Ok(stream(tensor(x)?)?.flatten_all()?.to_vec1()?)
    }

    fn act(&self, dims: Dims, values: Tensor) -> Result<Act> {
        Ok(Act { dims, data: Data::Candle(values.contiguous()?) })
    }

    fn stored(&self, dims: Dims, values: Tensor, out: Out) -> Result<Act> {
        let dtype = if out == Out::Operand { self.operand } else { DType::F32 };
        self.act(dims, values.to_dtype(dtype)?)
    }

    fn finish(&self, dims: Dims, mut y: Tensor, e: Epilogue<'_>) -> Result<Act> {
        if let Some(add) = e.add {
            y = y.broadcast_add(&rows(add)?)?;
        }
        y = activation(y, e.activation)?;
        if let Some(gate) = e.gate {
            y = y.broadcast_mul(&rows(gate)?)?;
        }
        if let Some(scale) = e.scale {
            y = (y * f64::from(scale))?;
        }
        if let Some(residual) = e.residual {
            y = (y + stream(tensor(residual)?)?)?;
        }
        self.stored(dims, y, e.out)
    }

    pub(super) fn linear(&self, linear: &Linear, x: &Act, e: Epilogue<'_>) -> Result<Act> {
        let LinearData::Candle(w) = &linear.data else { return Err(foreign()) };
        let mut y = stream(&tensor(x)?.to_dtype(self.operand)?.broadcast_matmul(&w.weight.t()?)?)?;
        if let Some(bias) = &w.bias {
            y = y.broadcast_add(bias)?;
        }
        if let Some(glu) = linear.glu {
            let half = linear.output / 2;
            let gate = activation(y.narrow(D::Minus1, half, half)?.contiguous()?, glu)?;
            y = (y.narrow(D::Minus1, 0, half)?.contiguous()? * gate)?;
        }
        self.finish(x.dims.with_c(linear.result()), y, e)
    }

    pub(super) fn conv(&self, conv: &Conv, x: &[&Act], shape: ConvShape, e: Epilogue<'_>) -> Result<Act> {
        let ConvData::Candle(w) = &conv.data else { return Err(foreign()) };
        let d = x[0].dims;
        let (h, wd) = shape.output(d.h, d.w, conv.kernel);
        let mut nchw = image(x, d)?.to_dtype(self.operand)?;
        if shape.upsample {
            nchw = nchw.upsample_nearest2d(2 * d.h, 2 * d.w)?;
        }
        let [top, bottom, left, right] = shape.pad;
        let even = top == bottom && top == left && top == right;
        if !even {
            nchw = nchw.pad_with_zeros(2, top, bottom)?.pad_with_zeros(3, left, right)?;
        }
        let y = nchw.contiguous()?.conv2d(&w.weight, if even { top } else { 0 }, shape.stride, 1, 1)?;
        let mut y = stream(&y.flatten_from(2)?.transpose(1, 2)?)?.contiguous()?;
        if let Some(bias) = &w.bias {
            y = y.broadcast_add(bias)?;
        }
        self.finish(Dims { n: d.n, h, w: wd, c: conv.output }, y, e)
    }

    pub(super) fn attention(&self, a: Attention<'_>) -> Result<Act> {
        let heads = |c: Cols<'_>| -> Result<Tensor> {
            let d = c.act.dims;
            let split = columns(c)?.reshape((d.n, d.positions(), a.heads, c.len / a.heads))?;
            Ok(split.transpose(1, 2)?.contiguous()?)
        };
        let (q, k, v) = (heads(a.q)?, heads(a.k)?, heads(a.v)?);
        let scale = a.scale.unwrap_or_else(|| ((a.q.len / a.heads) as f32).sqrt().recip());
        let merged = |y: Tensor| -> Result<Act> {
            let y = y.transpose(1, 2)?.contiguous()?.flatten_from(2)?;
            self.stored(a.q.act.dims.with_c(a.v.len), y, Out::Operand)
        };
        if a.mask.is_none()
            && let Some(y) = (Fused { q: &q, k: &k, v: &v, scale, causal: a.causal }).run()?
        {
            return merged(y);
        }
        let mut scores = (stream(&q.matmul(&k.t()?)?)? * f64::from(scale))?;
        let (queries, keys) = (a.q.act.dims.positions(), a.k.act.dims.positions());
        if let Some(mask) = a.mask {
            let mask = Tensor::from_slice(&mask.values, mask.dims.as_slice(), &self.device)?;
            scores = scores.broadcast_add(&mask)?;
        }
        if a.causal {
            let hidden: Vec<f32> = (0..queries * keys)
                .map(|i| if i % keys > i / keys { f32::NEG_INFINITY } else { 0.0 })
                .collect();
            scores = scores.broadcast_add(&Tensor::from_vec(hidden, (queries, keys), &self.device)?)?;
        }
        merged(softmax(&scores)?.to_dtype(v.dtype())?.matmul(&v)?)
    }

    pub(super) fn group_norm(&self, x: &[&Act], norm: &Norm, how: GroupNorm) -> Result<Act> {
        let d = x[0].dims;
        let all = side_by_side(x)?;
        let c = all.dim(D::Minus1)?;
        let grouped = all
            .reshape((d.n, d.positions(), how.groups, c / how.groups))?
            .transpose(1, 2)?
            .flatten_from(2)?;
        let y = normalise(&grouped, how.eps)?;
        let y = y
            .reshape((d.n, how.groups, d.positions(), c / how.groups))?
            .transpose(1, 2)?
            .contiguous()?
            .flatten_from(2)?;
        let mut y = self.affine(y, norm)?;
        if how.silu {
            y = y.silu()?;
        }
        self.stored(d.with_c(c), y, how.out)
    }

    fn affine(&self, y: Tensor, norm: &Norm) -> Result<Tensor> {
        let y = y.broadcast_mul(&self.vector(&norm.weight)?)?;
        Ok(match &norm.bias {
            Some(bias) => y.broadcast_add(&self.vector(bias)?)?,
            None => y,
        })
    }

    pub(super) fn layer_norm(&self, x: &Act, how: LayerNorm<'_>) -> Result<Act> {
        let mut y = normalise(&stream(tensor(x)?)?, how.eps)?;
        if let Some(norm) = how.norm {
            y = self.affine(y, norm)?;
        }
        if let Some((shift, scale)) = how.modulation {
            y = y.broadcast_mul(&(rows(scale)? + 1.0)?)?.broadcast_add(&rows(shift)?)?;
        }
        self.stored(x.dims, y, how.out)
    }

    pub(super) fn rms_norm(&self, x: &Act, norm: &Norm, eps: f32, out: Out) -> Result<Act> {
        let y = self.affine(rms(&stream(tensor(x)?)?, eps)?, norm)?;
        self.stored(x.dims, y, out)
    }

    pub(super) fn head_norm(&self, x: &mut Act, how: HeadNorm<'_>) -> Result<()> {
        let all = tensor(x)?;
        let (n, t, c) = all.dims3()?;
        let len = how.heads * how.size;
        let mut y =
            stream(&all.narrow(2, how.start, len)?.contiguous()?)?.reshape((n, t, how.heads, how.size))?;
        if let Some((norm, eps)) = how.norm {
            y = self.affine(rms(&y, eps)?, norm)?;
        }
        if let Some(rope) = how.rope {
            let half = how.size / 2;
            let table =
                |v: &[f32]| -> Result<Tensor> { Ok(Tensor::from_slice(v, (1, t, 1, half), &self.device)?) };
            let (cos, sin) = (table(&rope.cos)?, table(&rope.sin)?);
            let pairs = y.reshape((n, t, how.heads, half, 2))?;
            let (a, b) = (
                pairs.narrow(4, 0, 1)?.squeeze(4)?.contiguous()?,
                pairs.narrow(4, 1, 1)?.squeeze(4)?.contiguous()?,
            );
            let first = (a.broadcast_mul(&cos)? - b.broadcast_mul(&sin)?)?;
            let second = (a.broadcast_mul(&sin)? + b.broadcast_mul(&cos)?)?;
            y = Tensor::stack(&[first, second], 4)?;
        }
        let y = y.reshape((n, t, len))?.to_dtype(all.dtype())?;
        let mut parts = Vec::with_capacity(3);
        if how.start > 0 {
            parts.push(all.narrow(2, 0, how.start)?);
        }
        parts.push(y);
        if how.start + len < c {
            parts.push(all.narrow(2, how.start + len, c - how.start - len)?);
        }
        *x = self.act(x.dims, Tensor::cat(&parts, 2)?)?;
        Ok(())
    }

    pub(super) fn activate(&self, x: &Act, f: Activation, out: Out) -> Result<Act> {
        self.stored(x.dims, activation(stream(tensor(x)?)?, f)?, out)
    }

    pub(super) fn prelu(&self, x: &Act, slope: &Norm) -> Result<Act> {
        let x_values = stream(tensor(x)?)?;
        let below = x_values.neg()?.relu()?.broadcast_mul(&self.vector(&slope.weight)?)?;
        self.act(x.dims, (x_values.relu()? - below)?)
    }

    pub(super) fn add(&self, a: &Act, b: &Act, scale: f32) -> Result<Act> {
        self.act(a.dims, (stream(tensor(a)?)? + (stream(tensor(b)?)? * f64::from(scale))?)?)
    }

    pub(super) fn concat_channels(&self, x: &[&Act]) -> Result<Act> {
        let all = side_by_side(x)?;
        let c = all.dim(D::Minus1)?;
        self.act(x[0].dims.with_c(c), all)
    }

    pub(super) fn concat_tokens(&self, x: &[&Act], out: Out) -> Result<Act> {
        let parts = x
            .iter()
            .map(|x| Ok(tensor(x)?.to_dtype(if out == Out::Operand { self.operand } else { DType::F32 })?))
            .collect::<Result<Vec<_>>>()?;
        let all = Tensor::cat(&parts, 1)?;
        let (n, t, c) = all.dims3()?;
        self.act(Dims::tokens(n, t, c), all)
    }

    pub(super) fn slice(&self, x: Cols<'_>, start: usize, len: usize) -> Result<Act> {
        let part = tensor(x.act)?.narrow(1, start, len)?.narrow(2, x.start, x.len)?;
        self.act(Dims::tokens(x.act.dims.n, len, x.len), part)
    }

    pub(super) fn gather(&self, x: &Act, index: &[u32]) -> Result<Act> {
        let values = tensor(x)?;
        let index = Tensor::new(index, values.device())?;
        let y = values.contiguous()?.index_select(&index, 1)?;
        self.act(Dims::tokens(x.dims.n, x.dims.positions(), x.dims.c), y)
    }

    pub(super) fn resize_nearest(&self, x: &Act, h: usize, w: usize) -> Result<Act> {
        let d = x.dims;
        let y = image(&[x], d)?.contiguous()?.upsample_nearest2d(h, w)?;
        self.act(Dims { h, w, ..d }, y.flatten_from(2)?.transpose(1, 2)?)
    }

    pub(super) fn pixel_shuffle(&self, x: &Act, f: usize) -> Result<Act> {
        let Dims { n, h, w, c } = x.dims;
        let out = c / (f * f);
        let y =
            tensor(x)?.reshape(vec![n, h, w, out, f, f])?.permute(vec![0, 1, 4, 2, 5, 3])?.contiguous()?;
        self.act(Dims { n, h: h * f, w: w * f, c: out }, y.reshape((n, h * f * w * f, out))?)
    }
}

fn tensor(x: &Act) -> Result<&Tensor> {
    match &x.data {
        Data::Candle(t) => Ok(t),
        _ => Err(foreign()),
    }
}

fn stream(x: &Tensor) -> Result<Tensor> {
    Ok(x.to_dtype(DType::F32)?)
}

/// `[n, positions, len]` of some columns.
fn columns(c: Cols<'_>) -> Result<Tensor> {
    Ok(tensor(c.act)?.narrow(2, c.start, c.len)?)
}

/// One row a sample, ready to be broadcast over positions.
fn rows(c: Cols<'_>) -> Result<Tensor> {
    Ok(stream(&columns(c)?)?.contiguous()?)
}

fn side_by_side(x: &[&Act]) -> Result<Tensor> {
    let parts = x.iter().map(|x| stream(tensor(x)?)).collect::<Result<Vec<_>>>()?;
    if let [one] = parts.as_slice() {
        return Ok(one.clone());
    }
    Ok(Tensor::cat(&parts, 2)?)
}

/// NCHW of one activation, or of several side by side.
fn image(x: &[&Act], d: Dims) -> Result<Tensor> {
    let all = side_by_side(x)?;
    let c = all.dim(D::Minus1)?;
    Ok(all.transpose(1, 2)?.reshape((d.n, c, d.h, d.w))?)
}

/// Zero mean and unit variance over the last dimension.
fn normalise(x: &Tensor, eps: f32) -> Result<Tensor> {
    let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
    Ok(centred.broadcast_div(&(variance + f64::from(eps))?.sqrt()?)?)
}

fn rms(x: &Tensor, eps: f32) -> Result<Tensor> {
    let mean = x.sqr()?.mean_keepdim(D::Minus1)?;
    Ok(x.broadcast_div(&(mean + f64::from(eps))?.sqrt()?)?)
}

fn softmax(x: &Tensor) -> Result<Tensor> {
    let e = x.broadcast_sub(&x.max_keepdim(D::Minus1)?)?.exp()?;
    Ok(e.broadcast_div(&e.sum_keepdim(D::Minus1)?)?)
}

fn sigmoid(x: &Tensor) -> Result<Tensor> {
    Ok((x.neg()?.exp()? + 1.0)?.recip()?)
}

fn activation(x: Tensor, f: Activation) -> Result<Tensor> {
    Ok(match f {
        Activation::None => x,
        Activation::Silu => x.silu()?,
        Activation::Gelu => x.gelu_erf()?,
        Activation::GeluTanh => x.gelu()?,
        Activation::QuickGelu => (&x * sigmoid(&(&x * 1.702)?)?)?,
        Activation::Relu => x.relu()?,
        Activation::LeakyRelu(slope) => (x.relu()? - (x.neg()?.relu()? * f64::from(slope))?)?,
        Activation::SoftClamp3 => ((x / 3.0)?.tanh()? * 3.0)?,
    })
}
