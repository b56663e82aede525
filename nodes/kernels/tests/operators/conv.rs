use ebb_kernels::*;

use crate::support::*;

/// A case of the operator.
#[derive(Debug, Clone, Copy)]
struct Case {
    batch: usize,
    size: [usize; 2],
    channels: [usize; 2],
    out: usize,
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: Padding,
    upsample: bool,
}

const SAME: Case = Case {
    batch: 2,
    size: [8, 12],
    channels: [32, 0],
    out: 40,
    kernel: [3, 3],
    stride: [1, 1],
    padding: Padding::all(1),
    upsample: false,
};

fn output(c: &Case) -> [usize; 2] {
    let s = if c.upsample { 2 } else { 1 };
    let p = c.padding;
    [
        (c.size[0] * s + p.top + p.bottom - c.kernel[0]) / c.stride[0] + 1,
        (c.size[1] * s + p.left + p.right - c.kernel[1]) / c.stride[1] + 1,
    ]
}

/// The definition, in f64: `x` is the concatenated NHWC image.
fn reference(c: &Case, x: &[f32], w: &[f32], bias: &[f32]) -> Vec<f64> {
    let (ic, [kh, kw], [oh, ow], [h, wd]) = (c.channels[0] + c.channels[1], c.kernel, output(c), c.size);
    let s = usize::from(c.upsample);
    let mut out = Vec::with_capacity(c.batch * oh * ow * c.out);
    for n in 0..c.batch {
        for y in 0..oh {
            for xx in 0..ow {
                for (o, bias) in bias.iter().enumerate() {
                    let mut sum = f64::from(*bias);
                    for ky in 0..kh {
                        for kx in 0..kw {
                            let iy = (y * c.stride[0] + ky) as isize - c.padding.top as isize;
                            let ix = (xx * c.stride[1] + kx) as isize - c.padding.left as isize;
                            if iy < 0 || ix < 0 || iy >= (h << s) as isize || ix >= (wd << s) as isize {
                                continue;
                            }
                            let at = ((n * h + (iy as usize >> s)) * wd + (ix as usize >> s)) * ic;
                            for i in 0..ic {
                                let wi = ((o * ic + i) * kh + ky) * kw + kx;
                                sum += f64::from(x[at + i]) * f64::from(w[wi]);
                            }
                        }
                    }
                    out.push(sum);
                }
            }
        }
    }
    out
}

/// Runs a case directly and, where it is large enough, in Winograd's form.
fn check(c: Case, direct: f64) {
    check_form(c, false, direct);
    let same = c.kernel == [3, 3] && c.stride == [1, 1] && c.padding == Padding::all(1);
    let [h, w] = output(&c);
    if same && c.channels[0] + c.channels[1] >= 32 && c.out >= 32 && c.batch * h * w >= 512 {
        // The transforms' factors up to 8 and sums of 36 products cost about two more digits in base 2.
        check_form(c, true, 1e-5);
    }
}

fn check_form(c: Case, winograd: bool, bound_f32: f64) {
    let mut rng = Rng::new(c.out as u64 + 7);
    let [h, w] = c.size;
    let ic = c.channels[0] + c.channels[1];
    let pixels = c.batch * h * w;
    let x = rng.outliers(pixels, ic);
    let weight = rng.values(c.out * ic * c.kernel[0] * c.kernel[1], 0.1);
    let bias = rng.values(c.out, 1.0);
    let wide = reference(&c, &x, &weight, &bias);
    let narrow_weight = reference(&c, &x, &rounded(&weight), &bias);
    let narrow = reference(&c, &rounded(&x), &rounded(&weight), &bias);
    each_path(|kern| {
        let kern = &kern.clone().with_winograd(winograd);
        for precision in [Precision::F32, Precision::Bf16] {
            let spec = ConvSpec {
                out_channels: c.out,
                in_channels: ic,
                kernel: c.kernel,
                bias: Some(&bias),
                precision,
            };
            let layer = PackedConv::new(Source::F32(&weight), spec).unwrap();
            // The two planes as they would lie apart.
            let plane = |from: usize, n: usize| -> Vec<f32> {
                x.chunks(ic).flat_map(|p| p[from..from + n].iter().copied()).collect()
            };
            let (a, b) = (plane(0, c.channels[0]), plane(c.channels[0], c.channels[1]));
            let planes = [
                Plane { data: View::F32(&a), channels: c.channels[0] },
                Plane { data: View::F32(&b), channels: c.channels[1] },
            ];
            let args = |out| Conv2d {
                x: if c.channels[1] == 0 { &planes[..1] } else { &planes },
                batch: c.batch,
                height: h,
                width: w,
                w: &layer,
                stride: c.stride,
                padding: c.padding,
                upsample: c.upsample,
                epilogue: Epilogue::default(),
                out,
            };
            let [oh, ow] = output(&c);
            let mut y = kern.pool().f32(c.batch * oh * ow * c.out).unwrap();
            y.as_f32_mut().fill(f32::NAN);
            let call = args(y.view_mut());
            assert_eq!(call.output_size().unwrap(), (oh, ow));
            kern.conv2d(call).unwrap();
            let expected = match precision {
                Precision::F32 => &wide,
                // Winograd's form reads the input as it is; bf16 products of few channels win over it.
                Precision::Bf16 if kern.path().multiplies_bf16() && !(winograd && ic >= 192) => &narrow,
                Precision::Bf16 => &narrow_weight,
            };
            close(kern, &format!("winograd {winograd} {precision:?} {c:?}"), y.as_f32(), expected, bound_f32);
        }
    });
}

#[test]
fn kernels_strides_and_paddings() {
    check(SAME, 2e-6);
    check(Case { kernel: [1, 1], padding: Padding::default(), ..SAME }, 2e-6);
    check(Case { stride: [2, 2], ..SAME }, 2e-6);
    // The autoencoder's downsampling: zeros below and on the right only.
    let after = Padding { bottom: 1, right: 1, ..Default::default() };
    check(Case { stride: [2, 2], padding: after, ..SAME }, 2e-6);
    check(
        Case { kernel: [5, 2], stride: [1, 3], padding: Padding { top: 2, left: 1, ..after }, ..SAME },
        2e-6,
    );
    check(Case { kernel: [8, 8], stride: [8, 8], padding: Padding::default(), size: [16, 24], ..SAME }, 2e-6);
    check(Case { size: [1, 1], batch: 1, ..SAME }, 2e-6);
}

#[test]
fn odd_channels() {
    check(Case { channels: [3, 0], out: 5, ..SAME }, 2e-6);
    check(Case { channels: [9, 0], out: 33, ..SAME }, 2e-6);
    check(Case { channels: [4, 0], out: 320, size: [5, 7], ..SAME }, 2e-6);
    check(Case { channels: [320, 0], out: 4, size: [5, 7], ..SAME }, 2e-6);
}

#[test]
fn nearest_upsampling_is_part_of_the_convolution() {
    check(Case { upsample: true, ..SAME }, 2e-6);
    check(Case { upsample: true, size: [3, 5], channels: [17, 0], ..SAME }, 2e-6);
}

#[test]
fn two_planes_are_one_input() {
    check(Case { channels: [32, 16], ..SAME }, 2e-6);
    check(Case { channels: [5, 8], ..SAME }, 2e-6);
    check(Case { channels: [5, 7], kernel: [1, 1], padding: Padding::default(), ..SAME }, 2e-6);
    check(Case { channels: [64, 31], kernel: [1, 1], padding: Padding::default(), ..SAME }, 2e-6);
}

#[test]
fn deep_kernels_are_cut_into_chunks() {
    check(Case { channels: [1280, 0], out: 33, size: [4, 4], batch: 1, ..SAME }, 2e-6);
    check(Case { channels: [700, 500], out: 16, size: [4, 4], batch: 1, ..SAME }, 2e-6);
}

#[test]
fn winograd_at_sizes_that_are_not_whole_tiles() {
    let large = Case { size: [23, 26], ..SAME };
    check(large, 2e-6);
    check(Case { size: [24, 32], channels: [33, 0], out: 70, batch: 1, ..large }, 2e-6);
    check(Case { size: [13, 15], upsample: true, ..large }, 2e-6);
    check(Case { channels: [40, 23], ..large }, 2e-6);
    // Deeper than what is transformed at a time; more tiles than a block.
    check(Case { channels: [700, 0], size: [16, 17], ..large }, 2e-6);
    check(Case { channels: [352, 0], out: 32, size: [39, 47], batch: 1, ..large }, 2e-6);
}

#[test]
fn winograd_finishes_as_the_direct_form_does() {
    let mut rng = Rng::new(11);
    let (batch, size, channels) = (2, 18, 32);
    let pixels = batch * size * size;
    let x = rng.values(pixels * channels, 1.0);
    let w = rng.values(channels * channels * 9, 0.1);
    let (bias, add) = (rng.values(channels, 1.0), rng.values(batch * channels, 1.0));
    let residual = rng.values(pixels * channels, 1.0);
    each_path(|kern| {
        let spec = ConvSpec {
            out_channels: channels,
            in_channels: channels,
            kernel: [3, 3],
            bias: Some(&bias),
            precision: Precision::F32,
        };
        let layer = PackedConv::new(Source::F16(&to_f16(&w)), spec).unwrap();
        let run = |winograd: bool, dtype: DType| {
            let mut y = buffer(kern, dtype, &residual);
            let call = Conv2d {
                x: &[Plane { data: View::F32(&x), channels }],
                batch,
                height: size,
                width: size,
                w: &layer,
                stride: [1, 1],
                padding: Padding::all(1),
                upsample: false,
                epilogue: Epilogue {
                    channel_add: Some(&add),
                    activation: Activation::Silu,
                    gate: None,
                    residual: Residual::InPlace,
                },
                out: y.view_mut(),
            };
            kern.clone().with_winograd(winograd).conv2d(call).unwrap();
            y.view().to_vec()
        };
        for (dtype, bound) in [(DType::F32, 2e-6), (DType::Bf16, 4e-4)] {
            let expected: Vec<f64> = run(false, dtype).into_iter().map(f64::from).collect();
            // Between two roundings to bf16 of nearly the same value: rarely one step apart.
            close(kern, &format!("{dtype:?}"), &run(true, dtype), &expected, bound);
        }
    });
}

#[test]
fn what_does_not_fit_is_refused() {
    each_path(|kern| {
        let w = vec![0f32; 9 * 4 * 2];
        let spec = ConvSpec { out_channels: 2, in_channels: 4, kernel: [3, 3], ..Default::default() };
        let layer = PackedConv::new(Source::F32(&w), spec).unwrap();
        let x = vec![0f32; 4 * 4 * 4];
        let mut y = vec![0f32; 4 * 4 * 2];
        let call = |channels, height, stride, y: &mut [f32]| {
            kern.conv2d(Conv2d {
                x: &[Plane { data: View::F32(&x), channels }],
                batch: 1,
                height,
                width: 4,
                w: &layer,
                stride,
                padding: Padding::all(1),
                upsample: false,
                epilogue: Epilogue::default(),
                out: ViewMut::F32(y),
            })
        };
        assert!(call(3, 4, [1, 1], &mut y).is_err(), "channels");
        assert!(call(4, 5, [1, 1], &mut y).is_err(), "input length");
        assert!(call(4, 4, [0, 1], &mut y).is_err(), "stride 0");
        assert!(call(4, 4, [1, 1], &mut y[..31]).is_err(), "output length");
        assert!(call(4, usize::MAX, [1, 1], &mut y).is_err(), "overflow");
        assert!(PackedConv::new(Source::F32(&w[1..]), spec).is_err(), "weight length");
        call(4, 4, [1, 1], &mut y).unwrap();
    });
}
