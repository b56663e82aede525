//! The shapes: SD 1.5 and SDXL UNets with a guidance pair, SD3 and Flux blocks, the autoencoder.

use candle_core::{Device, Tensor};
use ebb_kernels::*;

type Work = Box<dyn FnMut()>;

type Make = Box<dyn Fn(&Kernels) -> (Work, Option<Work>)>;

/// An operator at a shape, ours and candle's.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) flops: f64,
    /// What its products run in.
    pub(crate) precision: Precision,
    pub(crate) make: Make,
}

fn values(n: usize) -> Vec<f32> {
    let mut state = 0x2545_f491_4f6c_dd1du64;
    (0..n)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        })
        .collect()
}

fn buffer(k: &Kernels, dtype: DType, n: usize) -> Buf {
    let mut b = k.pool().get(dtype, n).expect("memory");
    let v = values(n);
    k.activate(View::F32(&v), Activation::None, b.view_mut()).expect("conversion");
    b
}

fn tensor(shape: &[usize]) -> Tensor {
    Tensor::from_vec(values(shape.iter().product()), shape, &Device::Cpu).expect("a tensor")
}

fn tag(p: Precision) -> &'static str {
    match p {
        Precision::F32 => "f32",
        Precision::Bf16 => "bf16",
    }
}

fn linear(model: &str, rows: usize, k: usize, out: usize, glu: bool, precision: Precision) -> Case {
    Case {
        name: format!(
            "{model} linear {rows}x{k}x{out}{} {}",
            if glu { " geglu" } else { "" },
            tag(precision)
        ),
        flops: 2.0 * (rows * k * out) as f64,
        precision,
        make: Box::new(move |kernels| {
            let w = values(out * k);
            let glu = glu.then_some(Activation::GeluErf);
            let spec = LinearSpec { in_features: k, bias: None, glu, precision };
            let layer = PackedLinear::new(&[w.as_slice().into()], spec).expect("packed");
            let x = buffer(kernels, precision.dtype(), rows * k);
            let mut y = kernels.pool().get(precision.dtype(), rows * layer.out_features()).expect("memory");
            let kernels = kernels.clone();
            let ours = move || {
                let args = Linear {
                    x: x.view(),
                    rows,
                    rows_per_sample: 0,
                    w: &layer,
                    epilogue: Epilogue::default(),
                    x_layout: None,
                    out: y.view_mut(),
                    out_layout: None,
                };
                kernels.linear(args).expect("linear");
            };
            let (x, w) = (tensor(&[rows, k]), tensor(&[out, k]));
            let candle = move || {
                let y = x.matmul(&w.t().expect("t")).expect("matmul");
                if glu.is_some() {
                    let halves = y.chunk(2, 1).expect("chunk");
                    (&halves[0] * halves[1].gelu_erf().expect("gelu")).expect("product");
                }
            };
            (Box::new(ours), Some(Box::new(candle)))
        }),
    }
}

/// A linear layer whose weights stay in a file's blocks.
fn blocks(rows: usize, k: usize, out: usize, quant: Quant, precision: Precision) -> Case {
    Case {
        name: format!("blocks linear {rows}x{k}x{out} {quant:?} {}", tag(precision)),
        flops: 2.0 * (rows * k * out) as f64,
        precision,
        make: Box::new(move |kernels| {
            let one = half::f16::from_f32(0.01).to_le_bytes();
            let mut bytes = vec![0x35u8; out * k / quant.block_len() * quant.block_bytes()];
            for block in bytes.chunks_exact_mut(quant.block_bytes()) {
                block[..2].copy_from_slice(&one);
            }
            let spec = LinearSpec { in_features: k, bias: None, glu: None, precision };
            let layer = PackedLinear::new(&[Source::Quant(quant, &bytes)], spec).expect("packed");
            let x = buffer(kernels, precision.dtype(), rows * k);
            let mut y = kernels.pool().get(precision.dtype(), rows * out).expect("memory");
            let kernels = kernels.clone();
            let ours = move || {
                let args = Linear {
                    x: x.view(),
                    rows,
                    rows_per_sample: 0,
                    w: &layer,
                    epilogue: Epilogue::default(),
                    x_layout: None,
                    out: y.view_mut(),
                    out_layout: None,
                };
                kernels.linear(args).expect("linear");
            };
            (Box::new(ours), None)
        }),
    }
}

fn conv(
    model: &str,
    batch: usize,
    size: usize,
    input: usize,
    out: usize,
    kernel: usize,
    precision: Precision,
) -> Case {
    Case {
        name: format!("{model} conv{kernel}x{kernel} {input}->{out} {size}^2 b{batch} {}", tag(precision)),
        flops: 2.0 * (batch * size * size * input * out * kernel * kernel) as f64,
        precision,
        make: Box::new(move |kernels| {
            let w = values(out * input * kernel * kernel);
            let kernel_size = [kernel, kernel];
            let spec = ConvSpec {
                out_channels: out,
                in_channels: input,
                kernel: kernel_size,
                bias: None,
                precision,
            };
            let layer = PackedConv::new(Source::F32(&w), spec).expect("packed");
            let x = buffer(kernels, precision.dtype(), batch * size * size * input);
            let mut y = kernels.pool().f32(batch * size * size * out).expect("memory");
            let kernels = kernels.clone();
            let ours = move || {
                let args = Conv2d {
                    x: &[Plane { data: x.view(), channels: input }],
                    batch,
                    height: size,
                    width: size,
                    w: &layer,
                    stride: [1, 1],
                    padding: Padding::all(kernel / 2),
                    upsample: false,
                    epilogue: Epilogue::default(),
                    out: y.view_mut(),
                };
                kernels.conv2d(args).expect("conv");
            };
            let (x, w) = (tensor(&[batch, input, size, size]), tensor(&[out, input, kernel, kernel]));
            let candle = move || drop(x.conv2d(&w, kernel / 2, 1, 1, 1).expect("conv"));
            (Box::new(ours), Some(Box::new(candle)))
        }),
    }
}

fn attention(
    model: &str,
    batch: usize,
    heads: usize,
    q: usize,
    k: usize,
    dim: usize,
    precision: Precision,
) -> Case {
    Case {
        name: format!("{model} attention b{batch} h{heads} {q}x{k} d{dim} {}", tag(precision)),
        flops: 4.0 * (batch * heads * q * k * dim) as f64,
        precision,
        make: Box::new(move |kernels| {
            let width = heads * dim;
            let dtype = precision.dtype();
            let queries = buffer(kernels, dtype, batch * q * width);
            let keys = buffer(kernels, dtype, batch * k * 2 * width);
            let mut out = kernels.pool().get(dtype, batch * q * width).expect("memory");
            let kernels = kernels.clone();
            let ours = move || {
                let part = |i| Heads { data: keys.view(), layout: Layout::columns(2 * width, i * width) };
                let args = Attention {
                    q: Heads { data: queries.view(), layout: Layout::dense(width) },
                    k: part(0),
                    v: part(1),
                    batch,
                    heads,
                    kv_heads: 0,
                    head_dim: dim,
                    q_len: q,
                    k_len: k,
                    scale: None,
                    mask: Mask::None,
                    out: out.view_mut(),
                    out_layout: None,
                };
                kernels.attention(args).expect("attention");
            };
            let (tq, tk) = (tensor(&[batch * heads, q, dim]), tensor(&[batch * heads, dim, k]));
            let tv = tensor(&[batch * heads, k, dim]);
            let candle = move || {
                let scores = (tq.matmul(&tk).expect("scores") * (dim as f64).powf(-0.5)).expect("scale");
                let weights = candle_nn::ops::softmax_last_dim(&scores).expect("softmax");
                weights.matmul(&tv).expect("values");
            };
            (Box::new(ours), Some(Box::new(candle)))
        }),
    }
}

fn group_norm(model: &str, batch: usize, size: usize, channels: usize, precision: Precision) -> Case {
    Case {
        name: format!("{model} group_norm+silu {channels} {size}^2 b{batch} {}", tag(precision)),
        flops: 0.0,
        precision,
        make: Box::new(move |kernels| {
            let pixels = size * size;
            let x = buffer(kernels, DType::F32, batch * pixels * channels);
            let (weight, bias) = (values(channels), values(channels));
            let mut out = kernels.pool().get(precision.dtype(), batch * pixels * channels).expect("memory");
            let kernels = kernels.clone();
            let ours = move || {
                let args = GroupNorm {
                    x: &[Plane { data: x.view(), channels }],
                    batch,
                    pixels,
                    groups: 32,
                    eps: 1e-5,
                    weight: &weight,
                    bias: &bias,
                    activation: Activation::Silu,
                    out: out.view_mut(),
                };
                kernels.group_norm(args).expect("group_norm");
            };
            let norm =
                candle_nn::GroupNorm::new(tensor(&[channels]), tensor(&[channels]), channels, 32, 1e-5)
                    .expect("group norm");
            let tx = tensor(&[batch, channels, size, size]);
            let candle = move || {
                use candle_core::Module;
                norm.forward(&tx).expect("norm").silu().expect("silu");
            };
            (Box::new(ours), Some(Box::new(candle)))
        }),
    }
}

fn layer_norm(model: &str, rows: usize, channels: usize, precision: Precision) -> Case {
    Case {
        name: format!("{model} layer_norm {rows}x{channels} {}", tag(precision)),
        flops: 0.0,
        precision,
        make: Box::new(move |kernels| {
            let x = buffer(kernels, DType::F32, rows * channels);
            let (weight, bias) = (values(channels), values(channels));
            let mut out = kernels.pool().get(precision.dtype(), rows * channels).expect("memory");
            let kernels = kernels.clone();
            let ours = move || {
                let args = LayerNorm {
                    x: x.view(),
                    rows,
                    channels,
                    eps: 1e-5,
                    weight: Some(&weight),
                    bias: Some(&bias),
                    modulation: None,
                    out: out.view_mut(),
                };
                kernels.layer_norm(args).expect("layer_norm");
            };
            let (tx, tw, tb) = (tensor(&[rows, channels]), tensor(&[channels]), tensor(&[channels]));
            let candle = move || drop(candle_nn::ops::layer_norm(&tx, &tw, &tb, 1e-5).expect("norm"));
            (Box::new(ours), Some(Box::new(candle)))
        }),
    }
}

/// Every case, in both precisions.
pub(crate) fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for p in [Precision::F32, Precision::Bf16] {
        all.extend([
            conv("sd1.5", 2, 64, 320, 320, 3, p),
            conv("sd1.5", 2, 32, 640, 640, 3, p),
            conv("sd1.5", 2, 16, 1280, 1280, 3, p),
            conv("sd1.5", 2, 8, 1280, 1280, 3, p),
            conv("sd1.5", 2, 32, 1280, 640, 1, p),
            linear("sd1.5", 8192, 320, 960, false, p),
            linear("sd1.5", 8192, 320, 2560, true, p),
            linear("sd1.5", 8192, 1280, 320, false, p),
            linear("sd1.5", 2048, 640, 5120, true, p),
            linear("sd1.5", 512, 1280, 1280, false, p),
            attention("sd1.5", 2, 8, 4096, 4096, 40, p),
            attention("sd1.5", 2, 8, 1024, 1024, 80, p),
            attention("sd1.5", 2, 8, 256, 256, 160, p),
            attention("sd1.5", 2, 8, 4096, 77, 40, p),
            attention("sd1.5", 2, 8, 1024, 77, 80, p),
            group_norm("sd1.5", 2, 64, 320, p),
            layer_norm("sd1.5", 8192, 320, p),
            conv("vae", 1, 64, 512, 512, 3, p),
            conv("vae", 1, 128, 512, 512, 3, p),
            conv("vae", 1, 256, 256, 256, 3, p),
            conv("vae", 1, 512, 128, 128, 3, p),
            group_norm("vae", 1, 512, 128, p),
            linear("sdxl", 2048, 1280, 3840, false, p),
            attention("sdxl", 2, 20, 1024, 1024, 64, p),
            linear("sd3", 1178, 1536, 4608, false, p),
            attention("sd3", 1, 24, 1178, 1178, 64, p),
            linear("flux", 1280, 3072, 9216, false, p),
            blocks(1280, 3072, 9216, Quant::Q8_0, p),
            blocks(1280, 3072, 9216, Quant::Q4K, p),
            blocks(256, 3072, 9216, Quant::Q8_0, p),
            linear("flux", 256, 3072, 9216, false, p),
            attention("flux", 1, 24, 1280, 1280, 128, p),
        ]);
    }
    all
}
