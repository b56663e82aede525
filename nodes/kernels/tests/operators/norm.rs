use ebb_kernels::*;

use crate::support::*;

fn moments(v: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let n = v.clone().count() as f64;
    let mean = v.clone().sum::<f64>() / n;
    (mean, v.map(|x| (x - mean).powi(2)).sum::<f64>() / n)
}

#[test]
fn group_norm_over_one_and_two_planes() {
    let mut rng = Rng::new(1);
    for (batch, pixels, channels, groups) in
        [(2, 64, [64, 0], 32), (1, 300, [20, 12], 8), (2, 129, [7, 5], 3), (1, 1, [32, 0], 4)]
    {
        let all = channels[0] + channels[1];
        let mut x = rng.outliers(batch * pixels, all);
        // A mean far from zero must not cost digits.
        x.iter_mut().for_each(|v| *v += 50.0);
        let (weight, bias) = (rng.values(all, 1.0), rng.values(all, 1.0));
        let size = all / groups;
        for activation in [Activation::None, Activation::Silu] {
            let mut expected = vec![0f64; x.len()];
            for n in 0..batch {
                for g in 0..groups {
                    let at = move |i: usize| (n * pixels + i / size) * all + g * size + i % size;
                    let x = &x;
                    let (mean, var) = moments((0..pixels * size).map(move |i| f64::from(x[at(i)])));
                    for i in 0..pixels * size {
                        let c = g * size + i % size;
                        let y = (f64::from(x[at(i)]) - mean) / (var + 1e-5).sqrt();
                        expected[at(i)] = activate(activation, y * f64::from(weight[c]) + f64::from(bias[c]));
                    }
                }
            }
            let plane = |from: usize, n: usize| -> Vec<f32> {
                x.chunks(all).flat_map(|p| p[from..from + n].iter().copied()).collect()
            };
            let (a, b) = (plane(0, channels[0]), plane(channels[0], channels[1]));
            let planes = [
                Plane { data: View::F32(&a), channels: channels[0] },
                Plane { data: View::F32(&b), channels: channels[1] },
            ];
            each_path(|kern| {
                for to in [DType::F32, DType::Bf16] {
                    let mut out = kern.pool().get(to, x.len()).unwrap();
                    kern.group_norm(GroupNorm {
                        x: if channels[1] == 0 { &planes[..1] } else { &planes },
                        batch,
                        pixels,
                        groups,
                        eps: 1e-5,
                        weight: &weight,
                        bias: &bias,
                        activation,
                        out: out.view_mut(),
                    })
                    .unwrap();
                    // f32 holds values about 50 to 2e-6 of a spread of 1 to 9.
                    let bound = if to == DType::F32 { 8e-6 } else { 2.5e-3 };
                    let what = format!("{batch}x{pixels}x{channels:?} {activation:?} {to:?}");
                    close(kern, &what, &out.view().to_vec(), &expected, bound);
                }
            });
        }
    }
}

#[test]
fn layer_and_rms_norm_with_modulation() {
    let mut rng = Rng::new(2);
    for (rows, channels) in [(1, 1), (9, 320), (130, 77), (3, 4096)] {
        let x = rng.outliers(rows, channels);
        let (weight, bias) = (rng.values(channels, 1.0), rng.values(channels, 1.0));
        let per_sample = rows.div_ceil(2);
        let samples = rows.div_ceil(per_sample);
        let (scale, shift) = (rng.values(samples * channels, 1.0), rng.values(samples * channels, 1.0));
        let modulation = Some(Modulation { scale: &scale, shift: &shift, rows_per_sample: per_sample });
        let (mut layer, mut rms) = (Vec::new(), Vec::new());
        for (r, row) in x.chunks(channels).enumerate() {
            let (mean, var) = moments(row.iter().map(|&v| f64::from(v)));
            let square = row.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / channels as f64;
            for (c, &v) in row.iter().enumerate() {
                let s = r / per_sample * channels + c;
                let turn = |y: f64| y * (1.0 + f64::from(scale[s])) + f64::from(shift[s]);
                let (w, b, v) = (f64::from(weight[c]), f64::from(bias[c]), f64::from(v));
                layer.push(turn((v - mean) / (var + 1e-5).sqrt() * w + b));
                rms.push(turn(v / (square + 1e-6).sqrt() * w));
            }
        }
        each_path(|kern| {
            for to in [DType::F32, DType::Bf16] {
                let mut out = kern.pool().get(to, x.len()).unwrap();
                let (weight, bias, x) = (Some(weight.as_slice()), Some(bias.as_slice()), View::F32(&x));
                let args =
                    LayerNorm { x, rows, channels, eps: 1e-5, weight, bias, modulation, out: out.view_mut() };
                kern.layer_norm(args).unwrap();
                close(kern, &format!("layer {rows}x{channels}"), &out.view().to_vec(), &layer, bound(to));
                let out_view = out.view_mut();
                let x_layout = None;
                let args =
                    RmsNorm { x, x_layout, rows, channels, eps: 1e-6, weight, modulation, out: out_view };
                kern.rms_norm(args).unwrap();
                close(kern, &format!("rms {rows}x{channels}"), &out.view().to_vec(), &rms, bound(to));
            }
        });
    }
}

#[test]
fn heads_are_normalised_and_rotated_in_place() {
    let mut rng = Rng::new(3);
    let (samples, tokens, heads, dim) = (2, 10, 3, 24);
    let (row, offset) = (3 * heads * dim, heads * dim);
    let rows = samples * tokens;
    let x = rng.values(rows * row, 1.0);
    let weight = rng.values(dim, 1.0);
    let angles: Vec<f32> = rng.values(tokens * dim / 2, 3.0);
    let (cos, sin): (Vec<f32>, Vec<f32>) = angles.iter().map(|a| (a.cos(), a.sin())).unzip();
    for pairs in [Pairs::Adjacent, Pairs::Halves] {
        let mut expected: Vec<f64> = x.iter().map(|&v| f64::from(v)).collect();
        for r in 0..rows {
            for h in 0..heads {
                let head = &mut expected[r * row + offset + h * dim..][..dim];
                let square = head.iter().map(|v| v * v).sum::<f64>() / dim as f64;
                head.iter_mut().zip(&weight).for_each(|(v, &w)| *v *= f64::from(w) / (square + 1e-6).sqrt());
                for i in 0..dim / 2 {
                    let (a, b) = match pairs {
                        Pairs::Adjacent => (2 * i, 2 * i + 1),
                        Pairs::Halves => (i, i + dim / 2),
                    };
                    let at = r % tokens * dim / 2 + i;
                    let (c, s, x, y) = (f64::from(cos[at]), f64::from(sin[at]), head[a], head[b]);
                    (head[a], head[b]) = (x * c - y * s, x * s + y * c);
                }
            }
        }
        each_path(|kern| {
            let mut data = kern.pool().copy_f32(&x).unwrap();
            kern.head_norm_rope(HeadNormRope {
                data: data.view_mut(),
                layout: Layout::columns(row, offset),
                rows,
                heads,
                head_dim: dim,
                norm: Some((&weight, 1e-6)),
                rope: Some(Rope { cos: &cos, sin: &sin, positions: tokens, pairs }),
            })
            .unwrap();
            close(kern, &format!("{pairs:?}"), data.as_f32(), &expected, 2e-6);
        });
    }
}
