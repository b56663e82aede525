use ebb_kernels::*;

use crate::support::*;

/// `x [rows, k]` times the transpose of `w [out, k]`, in f64.
fn product(x: &[f32], w: &[f32], k: usize) -> Vec<f64> {
    let mut out = Vec::new();
    for x in x.chunks(k) {
        for w in w.chunks(k) {
            out.push(x.iter().zip(w).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum());
        }
    }
    out
}

fn plain<'a>(x: View<'a>, rows: usize, w: &'a PackedLinear, out: ViewMut<'a>) -> Linear<'a> {
    let epilogue = Epilogue::default();
    Linear { x, rows, rows_per_sample: 0, w, epilogue, x_layout: None, out, out_layout: None }
}

#[test]
fn any_shape_any_type_any_storage() {
    let mut rng = Rng::new(1);
    // Rows and columns about a tile, one value, depths that are odd and that need several chunks.
    for (rows, k, out) in [(1, 1, 1), (2, 33, 70), (7, 320, 32), (64, 31, 33), (300, 96, 100), (9, 6500, 40)]
    {
        let (x, w) = (rng.outliers(rows, k), rng.values(out * k, 0.1));
        let bias = rng.values(out, 1.0);
        each_path(|kern| {
            for (source, weights) in [
                (Source::F32(&w), w.clone()),
                (Source::Bf16(&to_bf16(&w)), rounded(&w)),
                (Source::F16(&to_f16(&w)), to_f16(&w).iter().map(|x| x.to_f32()).collect()),
            ] {
                for (precision, dtype) in [Precision::F32, Precision::Bf16]
                    .into_iter()
                    .flat_map(|p| [(p, DType::F32), (p, DType::Bf16)])
                {
                    let spec =
                        LinearSpec { in_features: k, bias: Some(&bias), precision, ..Default::default() };
                    let layer = PackedLinear::new(&[source], spec).unwrap();
                    // What the product sees: bf16 rounds the input where the machine multiplies it.
                    let bf16 = precision == Precision::Bf16;
                    let weights = if bf16 { rounded(&weights) } else { weights.clone() };
                    let narrow = dtype == DType::Bf16 || (bf16 && kern.path().multiplies_bf16());
                    let seen = if narrow { rounded(&x) } else { x.clone() };
                    let mut expected = product(&seen, &weights, k);
                    for (i, v) in expected.iter_mut().enumerate() {
                        *v += f64::from(bias[i % out]);
                    }
                    let x = buffer(kern, dtype, &x);
                    for to in [DType::F32, DType::Bf16] {
                        let mut y = kern.pool().get(to, rows * out).unwrap();
                        kern.linear(plain(x.view(), rows, &layer, y.view_mut())).unwrap();
                        let what = format!(
                            "{rows}x{k}x{out} {dtype:?} {:?} {precision:?} to {to:?}",
                            layer.storage()
                        );
                        close(kern, &what, &y.view().to_vec(), &expected, bound(to));
                    }
                }
            }
        });
    }
}

#[test]
fn fused_sources_stack() {
    let mut rng = Rng::new(2);
    let (k, rows) = (48, 5);
    let (a, b, c) = (rng.values(16 * k, 0.1), rng.values(40 * k, 0.1), rng.values(8 * k, 0.1));
    let x = rng.values(rows * k, 1.0);
    let all: Vec<f32> = [a.as_slice(), &b, &c].concat();
    each_path(|kern| {
        let sources = [a.as_slice().into(), b.as_slice().into(), c.as_slice().into()];
        let layer = PackedLinear::new(&sources, LinearSpec { in_features: k, ..Default::default() }).unwrap();
        let mut y = kern.pool().f32(rows * 64).unwrap();
        kern.linear(plain(View::F32(&x), rows, &layer, y.view_mut())).unwrap();
        close(kern, "three sources", y.as_f32(), &product(&x, &all, k), 2e-6);
    });
}

#[test]
fn epilogue_order_is_bias_add_activation_gate_residual() {
    let mut rng = Rng::new(3);
    let (rows, per_sample, k, out) = (70, 35, 40, 45);
    let (x, w, bias) = (rng.values(rows * k, 1.0), rng.values(out * k, 0.3), rng.values(out, 1.0));
    let (add, gate) = (rng.values(2 * out, 1.0), rng.values(2 * out, 1.0));
    let residual = rng.values(rows * out, 1.0);
    for activation in [
        Activation::None,
        Activation::Silu,
        Activation::GeluErf,
        Activation::GeluTanh,
        Activation::QuickGelu,
        Activation::Relu,
        Activation::LeakyRelu02,
        Activation::LeakyRelu01,
    ] {
        let mut expected = product(&x, &w, k);
        for (i, v) in expected.iter_mut().enumerate() {
            let (r, c) = (i / out, i % out);
            let s = r / per_sample * out + c;
            let sum = *v + f64::from(bias[c]) + f64::from(add[s]);
            *v = activate(activation, sum) * f64::from(gate[s]) + f64::from(residual[i]);
        }
        each_path(|kern| {
            let spec = LinearSpec { in_features: k, bias: Some(&bias), ..Default::default() };
            let layer = PackedLinear::new(&[w.as_slice().into()], spec).unwrap();
            for in_place in [false, true] {
                let mut y = kern.pool().copy_f32(&residual).unwrap();
                if !in_place {
                    y.as_f32_mut().fill(f32::NAN);
                }
                let residual = if in_place { Residual::InPlace } else { Residual::Add(View::F32(&residual)) };
                let epilogue = Epilogue { channel_add: Some(&add), activation, gate: Some(&gate), residual };
                let args = plain(View::F32(&x), rows, &layer, y.view_mut());
                kern.linear(Linear { rows_per_sample: per_sample, epilogue, ..args }).unwrap();
                close(kern, &format!("{activation:?} in place: {in_place}"), y.as_f32(), &expected, 2e-6);
            }
        });
    }
}

#[test]
fn gated_layers_multiply_halves() {
    let mut rng = Rng::new(4);
    for (rows, k, n) in [(3, 20, 5), (40, 64, 48), (33, 32, 150)] {
        let (x, w, bias) = (rng.values(rows * k, 1.0), rng.values(2 * n * k, 0.3), rng.values(2 * n, 1.0));
        let both = product(&x, &w, k);
        for glu in [Activation::GeluErf, Activation::GeluTanh, Activation::Silu] {
            let expected: Vec<f64> = (0..rows * n)
                .map(|i| {
                    let (r, c) = (i / n, i % n);
                    let at = |c: usize| both[r * 2 * n + c] + f64::from(bias[c]);
                    at(c) * activate(glu, at(n + c))
                })
                .collect();
            each_path(|kern| {
                let spec = LinearSpec {
                    in_features: k,
                    bias: Some(&bias),
                    glu: Some(glu),
                    precision: Precision::F32,
                };
                let layer = PackedLinear::new(&[w.as_slice().into()], spec).unwrap();
                assert_eq!(layer.out_features(), n);
                let mut y = kern.pool().f32(rows * n).unwrap();
                kern.linear(plain(View::F32(&x), rows, &layer, y.view_mut())).unwrap();
                close(kern, &format!("{glu:?} {rows}x{k}x{n}"), y.as_f32(), &expected, 2e-6);
            });
        }
    }
}

#[test]
fn layouts_place_rows() {
    let mut rng = Rng::new(5);
    let (samples, text, image, k, out) = (2, 3, 5, 8, 6);
    let (x, w) = (rng.values(samples * image * k, 1.0), rng.values(out * k, 0.3));
    let expected = product(&x, &w, k);
    each_path(|kern| {
        let layer =
            PackedLinear::new(&[w.as_slice().into()], LinearSpec { in_features: k, ..Default::default() })
                .unwrap();
        // Image rows go behind the text rows of their sample, two columns in.
        let row = out + 4;
        let layout =
            Layout { offset: text * row + 2, row, rows_per_sample: image, sample: (text + image) * row };
        let mut y = kern.pool().copy_f32(&vec![7.0; samples * (text + image) * row]).unwrap();
        let args = plain(View::F32(&x), samples * image, &layer, y.view_mut());
        kern.linear(Linear { out_layout: Some(layout), ..args }).unwrap();
        let (mut found, mut touched) = (Vec::new(), 0);
        for r in 0..samples * image {
            found.extend_from_slice(&y.as_f32()[layout.start(r)..][..out]);
        }
        for v in y.as_f32() {
            touched += usize::from(*v != 7.0);
        }
        close(kern, "rows of a joint sequence", &found, &expected, 2e-6);
        assert_eq!(touched, samples * image * out, "nothing else is written");

        // And read back from there.
        let back =
            PackedLinear::new(&[w[..out * 6].into()], LinearSpec { in_features: out, ..Default::default() })
                .unwrap();
        let mut z = kern.pool().f32(samples * image * 6 * k / 6).unwrap();
        let n = back.out_features();
        let mut args = plain(y.view(), samples * image, &back, z.view_mut());
        args.x_layout = Some(layout);
        kern.linear(args).unwrap();
        let again = product(&found, &w[..out * 6], out);
        close(kern, "rows read through a layout", &z.as_f32()[..samples * image * n], &again, 2e-6);
    });
}

#[test]
fn what_does_not_fit_is_refused() {
    each_path(|kern| {
        let w = vec![0f32; 12];
        let spec = LinearSpec { in_features: 4, ..Default::default() };
        let layer = PackedLinear::new(&[w.as_slice().into()], spec).unwrap();
        let x = vec![0f32; 7];
        let mut y = vec![0f32; 6];
        let error = kern.linear(plain(View::F32(&x), 2, &layer, ViewMut::F32(&mut y))).unwrap_err();
        let expected = KernelError::Shape { op: "linear", what: "input length", expected: 8, found: 7 };
        assert_eq!(error, expected);
        let x = vec![0f32; 8];
        assert!(kern.linear(plain(View::F32(&x), 2, &layer, ViewMut::F32(&mut y[..5]))).is_err());
        assert!(PackedLinear::new(&[w[..11].into()], spec).is_err());
        let bias = [0.0; 2];
        assert!(PackedLinear::new(&[w.as_slice().into()], LinearSpec { bias: Some(&bias), ..spec }).is_err());
        let glu = Some(Activation::Silu);
        assert!(PackedLinear::new(&[w.as_slice().into()], LinearSpec { glu, ..spec }).is_err());
    });
}

#[test]
fn packed_sixteen_bit_weights_are_no_larger_than_the_file() {
    let (out, k) = (1280, 320);
    let w = to_f16(&vec![0.5; out * k]);
    for precision in [Precision::F32, Precision::Bf16] {
        let spec = LinearSpec { in_features: k, precision, ..Default::default() };
        let layer = PackedLinear::new(&[w.as_slice().into()], spec).unwrap();
        assert_eq!(layer.bytes(), out * k * 2);
        assert_eq!(PackedLinear::bytes_for(out, k, false, false, layer.storage()).unwrap(), layer.bytes());
    }
}

#[test]
fn the_second_call_allocates_nothing() {
    let mut rng = Rng::new(6);
    let (rows, k, out) = (500, 320, 320);
    let (x, w) = (rng.values(rows * k, 1.0), rng.values(out * k, 0.1));
    each_path(|kern| {
        let spec = LinearSpec { in_features: k, precision: Precision::Bf16, ..Default::default() };
        let layer = PackedLinear::new(&[w.as_slice().into()], spec).unwrap();
        let mut fresh = 0;
        for round in 0..4 {
            let mut y = kern.pool().f32(rows * out).unwrap();
            kern.linear(plain(View::F32(&x), rows, &layer, y.view_mut())).unwrap();
            if round > 0 {
                assert_eq!(kern.pool().stats().fresh_allocations, fresh);
            }
            fresh = kern.pool().stats().fresh_allocations;
        }
    });
}
