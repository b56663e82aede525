use ebb_kernels::*;

use crate::support::*;

#[test]
fn activations_over_their_range() {
    let x: Vec<f32> =
        (-4000..=4000).map(|i| i as f32 * 0.005).chain([-100.0, 100.0, -1e30, 1e30, 0.0]).collect();
    for a in
        [Activation::Silu, Activation::GeluErf, Activation::GeluTanh, Activation::QuickGelu, Activation::Relu]
    {
        each_path(|kern| {
            let mut out = vec![0f32; x.len()];
            kern.activate(View::F32(&x), a, ViewMut::F32(&mut out)).unwrap();
            for (x, y) in x.iter().zip(&out) {
                let expected = activate(a, f64::from(*x));
                // Absolute near zero, relative where the function is the identity.
                let allowed = 4e-7 * f64::from(x.abs()).max(1.0);
                let error = (f64::from(*y) - expected).abs();
                assert!(error <= allowed, "{a:?}({x}) = {y}, not {expected}, on {}", kern.path().name());
            }
        });
    }
}

#[test]
fn nan_is_not_hidden() {
    each_path(|kern| {
        for a in [
            Activation::None,
            Activation::Silu,
            Activation::GeluErf,
            Activation::GeluTanh,
            Activation::QuickGelu,
        ] {
            let mut out = [0f32; 20];
            kern.activate(View::F32(&[f32::NAN; 20]), a, ViewMut::F32(&mut out)).unwrap();
            assert!(out.iter().all(|x| x.is_nan()), "{a:?} on {}", kern.path().name());
            let narrow = buffer(kern, DType::Bf16, &[f32::NAN; 20]);
            assert!(narrow.view().to_vec().iter().all(|x| x.is_nan()));
        }
    });
}

#[test]
fn conversion_rounds_to_nearest_even() {
    let mut rng = Rng::new(1);
    let mut x = rng.values(1003, 10.0);
    x.extend([
        f32::INFINITY,
        f32::NEG_INFINITY,
        0.0,
        -0.0,
        1e-40,
        f32::MAX,
        1.0 + 1.0 / 256.0,
        1.0 + 3.0 / 256.0,
    ]);
    each_path(|kern| {
        let found = buffer(kern, DType::Bf16, &x);
        let expected = to_bf16(&x);
        for ((a, b), x) in found.as_bf16().iter().zip(&expected).zip(&x) {
            assert_eq!(a.to_bits(), b.to_bits(), "{x} on {}", kern.path().name());
        }
    });
}

#[test]
fn add_scaled_adds() {
    let mut rng = Rng::new(2);
    let (x, y) = (rng.values(1001, 1.0), rng.values(1001, 1.0));
    let expected: Vec<f64> = x.iter().zip(&y).map(|(&x, &y)| f64::from(y) + 0.25 * f64::from(x)).collect();
    each_path(|kern| {
        let mut out = y.clone();
        kern.add_scaled(View::F32(&x), 0.25, ViewMut::F32(&mut out)).unwrap();
        close(kern, "add_scaled", &out, &expected, 1e-7);
        assert!(kern.add_scaled(View::F32(&x[1..]), 0.25, ViewMut::F32(&mut out)).is_err());
    });
}

#[test]
fn softmax_sums_to_one() {
    let mut rng = Rng::new(3);
    for (rows, channels) in [(1, 1), (3, 77), (20, 64), (5, 1003)] {
        let x = rng.values(rows * channels, 4.0);
        let mut expected = Vec::new();
        for row in x.chunks(channels) {
            let total: f64 = row.iter().map(|&v| (0.5 * f64::from(v)).exp()).sum();
            expected.extend(row.iter().map(|&v| (0.5 * f64::from(v)).exp() / total));
        }
        each_path(|kern| {
            let mut out = vec![0f32; x.len()];
            let args = Softmax { x: View::F32(&x), rows, channels, scale: 0.5, out: ViewMut::F32(&mut out) };
            kern.softmax(args).unwrap();
            close(kern, &format!("softmax {rows}x{channels}"), &out, &expected, 1e-6);
        });
    }
}

#[test]
fn layouts_turn_and_turn_back() {
    let mut rng = Rng::new(4);
    for (batch, channels, height, width) in [(2, 4, 9, 7), (1, 320, 16, 16), (3, 1, 1, 5)] {
        let size = Image { batch, channels, height, width };
        let x = rng.values(batch * channels * height * width, 1.0);
        each_path(|kern| {
            let (mut last, mut first) = (vec![0f32; x.len()], vec![0f32; x.len()]);
            kern.nchw_to_nhwc(&x, size, &mut last).unwrap();
            let pixel = height * width - 1;
            assert_eq!(last[pixel * channels], x[pixel]);
            assert_eq!(last[channels - 1], x[(channels - 1) * height * width]);
            kern.nhwc_to_nchw(&last, size, &mut first).unwrap();
            assert_eq!(first, x);
        });
    }
}

#[test]
fn resizing() {
    each_path(|kern| {
        let resize = |x: &[f32], from, to: [usize; 2], filter| {
            let mut out = vec![0f32; to[0] * to[1]];
            kern.resize(Resize { x, batch: 1, from, to, channels: 1, filter, out: &mut out }).unwrap();
            out
        };
        let x = [1.0, 2.0, 3.0, 4.0];
        let twice = [1., 1., 2., 2., 1., 1., 2., 2., 3., 3., 4., 4., 3., 3., 4., 4.];
        assert_eq!(resize(&x, [2, 2], [4, 4], Filter::Nearest), twice);
        assert_eq!(resize(&x, [2, 2], [1, 1], Filter::Nearest), [1.0]);
        // torch.nn.functional.interpolate(..., mode="bilinear") of the same.
        let smooth = resize(&x, [2, 2], [4, 4], Filter::Bilinear);
        assert_eq!(smooth[..8], [1., 1.25, 1.75, 2., 1.5, 1.75, 2.25, 2.5]);
        let mut out = [0f32; 4];
        let (from, to, filter) = ([0, 0], [2, 2], Filter::Nearest);
        let empty = Resize { x: &[], batch: 1, from, to, channels: 1, filter, out: &mut out };
        assert!(kern.resize(empty).is_err());
    });
}
