use ebb_kernels::*;

use crate::support::*;

struct Case {
    batch: usize,
    heads: usize,
    kv_heads: usize,
    dim: usize,
    q_len: usize,
    k_len: usize,
}

/// The definition in f64; `hidden(b, h, q, k)` is added to the scaled score.
fn reference(
    c: &Case,
    q: &[f32],
    k: &[f32],
    v: &[f32],
    hidden: impl Fn(usize, usize, usize, usize) -> f64,
) -> Vec<f64> {
    let (width, kv_width) = (c.heads * c.dim, c.kv_heads * c.dim);
    let mut out = vec![0f64; c.batch * c.q_len * width];
    for b in 0..c.batch {
        for h in 0..c.heads {
            let kv = h / (c.heads / c.kv_heads);
            for i in 0..c.q_len {
                let q = &q[(b * c.q_len + i) * width + h * c.dim..][..c.dim];
                let row =
                    |m: &[f32], j: usize| m[(b * c.k_len + j) * kv_width + kv * c.dim..][..c.dim].to_vec();
                let scores: Vec<f64> = (0..c.k_len)
                    .map(|j| {
                        let dot: f64 =
                            q.iter().zip(row(k, j)).map(|(&a, b)| f64::from(a) * f64::from(b)).sum();
                        dot / (c.dim as f64).sqrt() + hidden(b, h, i, j)
                    })
                    .collect();
                let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let weights: Vec<f64> = scores.iter().map(|s| (s - most).exp()).collect();
                let total: f64 = weights.iter().sum();
                let to = &mut out[(b * c.q_len + i) * width + h * c.dim..][..c.dim];
                for (j, weight) in weights.iter().enumerate() {
                    for (o, x) in to.iter_mut().zip(row(v, j)) {
                        *o += weight / total * f64::from(x);
                    }
                }
            }
        }
    }
    out
}

fn call<'a>(c: &Case, q: View<'a>, k: View<'a>, v: View<'a>, out: ViewMut<'a>) -> Attention<'a> {
    let heads = |data, n: usize| Heads { data, layout: Layout::dense(n * c.dim) };
    Attention {
        q: heads(q, c.heads),
        k: heads(k, c.kv_heads),
        v: heads(v, c.kv_heads),
        batch: c.batch,
        heads: c.heads,
        kv_heads: c.kv_heads,
        head_dim: c.dim,
        q_len: c.q_len,
        k_len: c.k_len,
        scale: None,
        mask: Mask::None,
        out,
        out_layout: None,
    }
}

fn inputs(c: &Case, seed: u64) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
    let mut rng = Rng::new(seed);
    let (n, m) = (c.batch * c.q_len * c.heads * c.dim, c.batch * c.k_len * c.kv_heads * c.dim);
    (rng.values(n, 1.5), rng.values(m, 1.5), rng.values(m, 1.0))
}

/// bf16 rounds the weights of the values, which sum up: 2^-9 each, less as they average out.
fn bound_of(kern: &Kernels, dtype: DType) -> f64 {
    if dtype == DType::Bf16 && kern.path().multiplies_bf16() { 1.5e-3 } else { 2e-6 }
}

#[test]
fn self_and_cross_any_head_size() {
    for (dim, q_len, k_len) in [
        (40, 64, 64),
        (80, 33, 77),
        (160, 20, 16),
        (64, 1, 1),
        (7, 40, 9),
        (1, 3, 5),
        (128, 70, 300),
        (512, 34, 36),
    ] {
        let c = Case { batch: 2, heads: 3, kv_heads: 3, dim, q_len, k_len };
        let (q, k, v) = inputs(&c, dim as u64);
        let wide = reference(&c, &q, &k, &v, |_, _, _, _| 0.0);
        let narrow = reference(&c, &rounded(&q), &rounded(&k), &rounded(&v), |_, _, _, _| 0.0);
        each_path(|kern| {
            for (dtype, expected) in [(DType::F32, &wide), (DType::Bf16, &narrow)] {
                let [q, k, v] = [&q, &k, &v].map(|x| buffer(kern, dtype, x));
                let mut out = kern.pool().f32(expected.len()).unwrap();
                kern.attention(call(&c, q.view(), k.view(), v.view(), out.view_mut())).unwrap();
                let what = format!("{dtype:?} dim {dim}, {q_len} queries, {k_len} keys");
                close(kern, &what, out.as_f32(), expected, bound_of(kern, dtype));
            }
        });
    }
}

#[test]
fn causal_and_additive_masks() {
    let c = Case { batch: 2, heads: 2, kv_heads: 2, dim: 16, q_len: 150, k_len: 150 };
    let (q, k, v) = inputs(&c, 5);
    let mut rng = Rng::new(9);
    // Relative positions for each head, as T5 has them, and keys that are hidden, as padding is.
    let mut bias = rng.values(c.heads * c.q_len * c.k_len, 2.0);
    for (i, x) in bias.iter_mut().enumerate() {
        if i % c.k_len > 140 {
            *x = f32::NEG_INFINITY;
        }
    }
    let below = reference(&c, &q, &k, &v, |_, _, i, j| if j > i { f64::NEG_INFINITY } else { 0.0 });
    let added = reference(&c, &q, &k, &v, |_, h, i, j| f64::from(bias[(h * c.q_len + i) * c.k_len + j]));
    let additive = Mask::Additive { values: &bias, batch: 0, head: c.q_len * c.k_len, query: c.k_len };
    each_path(|kern| {
        for (mask, expected) in [(Mask::Causal, &below), (additive, &added)] {
            let mut out = kern.pool().f32(expected.len()).unwrap();
            let args = call(&c, View::F32(&q), View::F32(&k), View::F32(&v), out.view_mut());
            kern.attention(Attention { mask, ..args }).unwrap();
            close(
                kern,
                &format!("{mask:?}").chars().take(12).collect::<String>(),
                out.as_f32(),
                expected,
                2e-6,
            );
        }
    });
}

#[test]
fn shared_key_heads() {
    let c = Case { batch: 1, heads: 6, kv_heads: 2, dim: 24, q_len: 40, k_len: 40 };
    let (q, k, v) = inputs(&c, 6);
    let expected = reference(&c, &q, &k, &v, |_, _, _, _| 0.0);
    each_path(|kern| {
        let mut out = kern.pool().f32(expected.len()).unwrap();
        kern.attention(call(&c, View::F32(&q), View::F32(&k), View::F32(&v), out.view_mut())).unwrap();
        close(kern, "six heads over two", out.as_f32(), &expected, 2e-6);
    });
}

#[test]
fn reads_a_fused_qkv_where_it_lies() {
    let c = Case { batch: 2, heads: 2, kv_heads: 2, dim: 20, q_len: 37, k_len: 37 };
    let (q, k, v) = inputs(&c, 7);
    let width = c.heads * c.dim;
    let mut fused = Vec::new();
    for r in 0..c.batch * c.q_len {
        for m in [&q, &k, &v] {
            fused.extend_from_slice(&m[r * width..][..width]);
        }
    }
    let expected = reference(&c, &rounded(&q), &rounded(&k), &rounded(&v), |_, _, _, _| 0.0);
    each_path(|kern| {
        let fused = buffer(kern, DType::Bf16, &fused);
        let part = |i| Heads { data: fused.view(), layout: Layout::columns(3 * width, i * width) };
        let mut out = kern.pool().f32(expected.len()).unwrap();
        let args = call(&c, fused.view(), fused.view(), fused.view(), out.view_mut());
        kern.attention(Attention { q: part(0), k: part(1), v: part(2), ..args }).unwrap();
        close(kern, "fused qkv", out.as_f32(), &expected, bound_of(kern, DType::Bf16));
    });
}

#[test]
fn large_scores_do_not_overflow() {
    let c = Case { batch: 1, heads: 1, kv_heads: 1, dim: 32, q_len: 40, k_len: 200 };
    let (mut q, k, v) = inputs(&c, 8);
    q.iter_mut().for_each(|x| *x *= 300.0);
    let expected = reference(&c, &q, &k, &v, |_, _, _, _| 0.0);
    each_path(|kern| {
        let mut out = kern.pool().f32(expected.len()).unwrap();
        kern.attention(call(&c, View::F32(&q), View::F32(&k), View::F32(&v), out.view_mut())).unwrap();
        // Scores of a few thousand carry an f32 rounding of about 1e-4 each into the exponent.
        close(kern, "scores in the thousands", out.as_f32(), &expected, 3e-4);
    });
}

#[test]
fn what_does_not_fit_is_refused() {
    let c = Case { batch: 1, heads: 2, kv_heads: 2, dim: 8, q_len: 4, k_len: 4 };
    let (q, k, v) = inputs(&c, 9);
    each_path(|kern| {
        let mut out = vec![0f32; 64];
        let mut refused = |change: &dyn Fn(&mut Attention<'_>)| {
            let mut args = call(&c, View::F32(&q), View::F32(&k), View::F32(&v), ViewMut::F32(&mut out));
            change(&mut args);
            kern.attention(args).is_err()
        };
        assert!(!refused(&|_| {}));
        assert!(refused(&|a| a.q_len = 5));
        assert!(refused(&|a| a.k_len = 0));
        assert!(refused(&|a| a.head_dim = 0));
        assert!(refused(&|a| a.kv_heads = 3));
        assert!(refused(&|a| a.scale = Some(f32::NAN)));
        assert!(refused(&|a| (a.mask, a.k_len) = (Mask::Causal, 3)));
        assert!(refused(&|a| a.mask = Mask::Additive { values: &[0.0; 15], batch: 0, head: 0, query: 4 }));
    });
}
