use ebb_kernels::*;
use half::f16;

use crate::support::*;

/// Blocks with random codes and factors near 0.01, and the weights they stand for, by ggml's definitions.
fn blocks(quant: Quant, count: usize, rng: &mut Rng) -> (Vec<u8>, Vec<f32>) {
    let (mut bytes, mut weights) = (Vec::new(), Vec::new());
    let half = |x: f32| (f16::from_f32(x).to_le_bytes(), f16::from_f32(x).to_f32());
    for _ in 0..count {
        let (d, factor) = half(0.01 + 0.002 * rng.value());
        let (m, minimum) = half(0.05 + 0.02 * rng.value());
        let mut random = |n: usize| -> Vec<u8> { (0..n).map(|_| (rng.value() * 1e4) as i32 as u8).collect() };
        bytes.extend(d);
        match quant {
            Quant::Q8_0 => {
                let codes = random(32);
                weights.extend(codes.iter().map(|&c| factor * f32::from(c as i8)));
                bytes.extend(codes);
            }
            Quant::Q4_0 => {
                let codes = random(16);
                let of = |c: u8| factor * (f32::from(c) - 8.0);
                weights.extend(codes.iter().map(|c| of(c & 15)));
                weights.extend(codes.iter().map(|c| of(c >> 4)));
                bytes.extend(codes);
            }
            Quant::Q4_1 => {
                let codes = random(16);
                let of = |c: u8| factor * f32::from(c) + minimum;
                weights.extend(codes.iter().map(|c| of(c & 15)));
                weights.extend(codes.iter().map(|c| of(c >> 4)));
                bytes.extend(m);
                bytes.extend(codes);
            }
            Quant::Q4K => {
                bytes.extend(m);
                // Six bits each for eight groups: bytes 0..4 and 4..8 hold the first four factors and minima, whose
                // two top bits belong to the last four; bytes 8..12 hold those's four low bits, side by side.
                let (scales, least): (Vec<u8>, Vec<u8>) =
                    random(16).chunks(2).map(|p| (p[0] & 63, p[1] & 63)).unzip();
                bytes.extend((0..4).map(|i| scales[i] | (scales[i + 4] >> 4) << 6));
                bytes.extend((0..4).map(|i| least[i] | (least[i + 4] >> 4) << 6));
                bytes.extend((4..8).map(|i| (scales[i] & 15) | (least[i] & 15) << 4));
                let codes = random(128);
                for g in 0..8 {
                    for c in &codes[g / 2 * 32..][..32] {
                        let code = if g % 2 == 0 { c & 15 } else { c >> 4 };
                        weights.push(
                            factor * f32::from(scales[g]) * f32::from(code) - minimum * f32::from(least[g]),
                        );
                    }
                }
                bytes.extend(codes);
            }
        }
    }
    (bytes, weights)
}

fn run(kern: &Kernels, x: &[f32], rows: usize, w: &PackedLinear) -> Vec<f32> {
    let mut out = kern.pool().f32(rows * w.out_features()).unwrap();
    kern.linear(Linear {
        x: View::F32(x),
        rows,
        rows_per_sample: 0,
        w,
        epilogue: Epilogue::default(),
        x_layout: None,
        out: out.view_mut(),
        out_layout: None,
    })
    .unwrap();
    out.as_f32().to_vec()
}

fn product(x: &[f32], w: &[f32], k: usize) -> Vec<f64> {
    let dot = |x: &[f32], w: &[f32]| x.iter().zip(w).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
    x.chunks(k).flat_map(|x| w.chunks(k).map(move |w| dot(x, w))).collect()
}

#[test]
fn products_straight_from_blocks() {
    let mut rng = Rng::new(1);
    for quant in [Quant::Q8_0, Quant::Q4_0, Quant::Q4_1, Quant::Q4K] {
        for (rows, k, out) in [(3, 256, 40), (70, 512, 33), (9, 6656, 32)] {
            let (bytes, weights) = blocks(quant, out * k / quant.block_len(), &mut rng);
            let x = rng.outliers(rows, k);
            for precision in [Precision::F32, Precision::Bf16] {
                let spec = LinearSpec { in_features: k, precision, ..Default::default() };
                let layer = PackedLinear::new(&[Source::Quant(quant, &bytes)], spec).unwrap();
                each_path(|kern| {
                    let bf16 = precision == Precision::Bf16 && kern.path().multiplies_bf16();
                    let (seen, weights) =
                        if bf16 { (rounded(&x), rounded(&weights)) } else { (x.clone(), weights.clone()) };
                    // Q4_K's factors are products of an f16 and six bits; they are kept in f16 again (2^-12 of terms
                    // that are a few times their difference), and may fall on the other side of a rounding to bf16.
                    let bound = match (quant, bf16) {
                        (Quant::Q4K, false) => 5e-4,
                        (Quant::Q4K, true) => 2e-3,
                        _ => 2e-6,
                    };
                    let what = format!("{quant:?} {rows}x{k}x{out} {precision:?}");
                    close(kern, &what, &run(kern, &x, rows, &layer), &product(&seen, &weights, k), bound);
                });
            }
        }
    }
}

#[test]
fn sizes_are_those_of_the_file_or_near() {
    let (k, out) = (1024, 64);
    let mut rng = Rng::new(2);
    for (quant, most) in [(Quant::Q8_0, 34), (Quant::Q4_0, 20), (Quant::Q4_1, 20), (Quant::Q4K, 20)] {
        let (bytes, _) = blocks(quant, out * k / quant.block_len(), &mut rng);
        let spec = LinearSpec { in_features: k, ..Default::default() };
        let layer = PackedLinear::new(&[Source::Quant(quant, &bytes)], spec).unwrap();
        assert_eq!(layer.bytes(), out * k / 32 * most, "{quant:?}");
        assert_eq!(PackedLinear::bytes_for(out, k, false, false, layer.storage()).unwrap(), layer.bytes());
    }
}

#[test]
fn blocks_beside_other_sources_are_widened_once() {
    let mut rng = Rng::new(3);
    let (k, rows) = (256, 5);
    let (bytes, mut all) = blocks(Quant::Q8_0, 32 * k / 32, &mut rng);
    let plain = rng.values(16 * k, 0.1);
    all.extend_from_slice(&plain);
    let x = rng.values(rows * k, 1.0);
    let spec = LinearSpec { in_features: k, ..Default::default() };
    let layer = PackedLinear::new(&[Source::Quant(Quant::Q8_0, &bytes), Source::F32(&plain)], spec).unwrap();
    assert_eq!(layer.storage(), Storage::F32);
    each_path(|kern| {
        close(kern, "q8_0 beside f32", &run(kern, &x, rows, &layer), &product(&x, &all, k), 2e-6)
    });
}

#[test]
fn torn_blocks_are_refused() {
    let spec = LinearSpec { in_features: 256, ..Default::default() };
    let refused =
        |quant, bytes: &[u8], spec| PackedLinear::new(&[Source::Quant(quant, bytes)], spec).is_err();
    assert!(refused(Quant::Q4K, &[0; 143], spec), "half a block");
    assert!(refused(Quant::Q8_0, &[0; 34], spec), "a part of a row");
    assert!(refused(Quant::Q4K, &[0; 144], LinearSpec { in_features: 128, ..spec }), "two rows in a block");
    let conv = ConvSpec { out_channels: 1, in_channels: 32, kernel: [1, 1], ..Default::default() };
    assert!(PackedConv::new(Source::Quant(Quant::Q8_0, &[0; 34]), conv).is_err(), "a convolution");
}

/// Why layers with weights in blocks don't multiply integers (VNNI): activations would be rounded to signed bytes in
/// groups of 32, as ggml does. One large channel in a group then leaves the others a few steps, and real activations
/// have them; rounding to bf16 errs the same for each. `docs/decisions/0005-no-integer-products.md` has the figures.
#[test]
fn integer_activations_would_err_more_than_bf16_does() {
    let (rows, k, outputs) = (64, 1280, 48);
    let mut rng = Rng::new(9);
    let plain = rng.values(rows * k, 1.0);
    let outliers = rng.outliers(rows, k);
    let weight = rng.values(outputs * k, 1.0 / (k as f32).sqrt());
    // A layer that reads only the channels that are not large: what is left of them.
    let ordinary: Vec<f32> =
        weight.iter().enumerate().map(|(i, &w)| if i % k % 11 == 3 { 0.0 } else { w }).collect();
    let to_bytes = |x: &[f32]| -> Vec<f32> {
        let step = |group: &[f32]| group.iter().fold(0f32, |m, v| m.max(v.abs())) / 127.0;
        x.chunks(32)
            .flat_map(|g| g.iter().map(|v| (v / step(g)).round() * step(g)).collect::<Vec<_>>())
            .collect()
    };
    let product = |x: &[f32], w: &[f32]| -> Vec<f64> {
        let dot = |r: usize, o: usize| -> f64 {
            (0..k).map(|i| f64::from(x[r * k + i]) * f64::from(w[o * k + i])).sum()
        };
        (0..rows * outputs).map(|i| dot(i / outputs, i % outputs)).collect()
    };
    for (what, x, w, least) in [
        ("even activations", &plain, &weight, 2.0),
        ("every eleventh channel thirty times the others", &outliers, &weight, 4.0),
        ("the others of those alone", &outliers, &ordinary, 30.0),
    ] {
        let exact = product(x, w);
        let error = |x: &[f32]| -> f64 {
            let found: Vec<f32> = product(x, w).into_iter().map(|v| v as f32).collect();
            relative_rms(&found, &exact)
        };
        let (bytes, bf16) = (error(&to_bytes(x)), error(&rounded(x)));
        println!("{what}: signed bytes err by {bytes:.1e}, bf16 by {bf16:.1e}");
        assert!(bytes > least * bf16, "{what}: {bytes:.1e} against {bf16:.1e}");
    }
}
