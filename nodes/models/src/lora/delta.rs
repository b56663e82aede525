//! What a module's small matrices add up to.

use std::collections::HashMap;

use candle_core::{Device, Tensor};

use super::Role;
use crate::{Error, Result, source::Source};

/// A change of one weight.
pub(super) struct Delta {
    kind: Kind,
    /// Scale of the product; the rank divides it.
    alpha: Option<f32>,
    /// DoRA's magnitudes (Liu et al. 2024).
    magnitudes: Option<Tensor>,
}

enum Kind {
    /// `up · down` (Hu et al. 2021), with a kernel between for convolutions.
    Lora { up: Tensor, down: Tensor, mid: Option<Tensor> },
    /// `(a1 · b1) ∘ (a2 · b2)` (Hyeon-Woo et al. 2021).
    Hadamard([Tensor; 4]),
    /// `w1 ⊗ w2`, of which either may be a product itself (Yeh et al. 2023).
    Kronecker { w1: Factor, w2: Factor },
    /// The difference as it is.
    Diff(Tensor),
}

enum Factor {
    Whole(Tensor),
    Product(Tensor, Tensor),
}

impl Factor {
    fn matrix(&self) -> Result<Tensor> {
        match self {
            Self::Whole(w) => Ok(w.clone()),
            Self::Product(a, b) => {
                let tail = b.dims()[1..].to_vec();
                let product = a.matmul(&b.flatten_from(1)?)?;
                let mut shape = vec![a.dim(0)?];
                shape.extend(tail);
                Ok(product.reshape(shape)?)
            }
        }
    }

    fn rank(&self) -> Option<usize> {
        match self {
            Self::Whole(_) => None,
            Self::Product(_, b) => b.dim(0).ok(),
        }
    }
}

impl Delta {
    /// `None` where the tensors are of no kind known here.
    pub(super) fn read(file: &dyn Source, roles: &HashMap<Role, String>) -> Result<Option<Self>> {
        let tensor = |role: Role| -> Result<Option<Tensor>> {
            let Some(name) = roles.get(&role) else { return Ok(None) };
            let Some(info) = file.info(name) else { return Ok(None) };
            Ok(Some(Tensor::from_vec(file.read(name)?.into_f32(), info.shape, &Device::Cpu)?))
        };
        let factor = |whole: Role, a: Role, b: Role| -> Result<Option<Factor>> {
            Ok(match (tensor(whole)?, tensor(a)?, tensor(b)?) {
                (Some(w), _, _) => Some(Factor::Whole(w)),
                (None, Some(a), Some(b)) => Some(Factor::Product(a, b)),
                _ => None,
            })
        };
        let kind = if let (Some(up), Some(down)) = (tensor(Role::Up)?, tensor(Role::Down)?) {
            Kind::Lora { up, down, mid: tensor(Role::Mid)? }
        } else if let [Some(a), Some(b), Some(c), Some(d)] =
            [tensor(Role::HadaW1A)?, tensor(Role::HadaW1B)?, tensor(Role::HadaW2A)?, tensor(Role::HadaW2B)?]
        {
            Kind::Hadamard([a, b, c, d])
        } else if let (Some(w1), Some(w2)) = (
            factor(Role::KronW1, Role::KronW1A, Role::KronW1B)?,
            factor(Role::KronW2, Role::KronW2A, Role::KronW2B)?,
        ) {
            Kind::Kronecker { w1, w2 }
        } else if let Some(diff) = tensor(Role::Diff)? {
            Kind::Diff(diff)
        } else {
            return Ok(None);
        };
        let alpha = match tensor(Role::Alpha)? {
            Some(alpha) => alpha.flatten_all()?.to_vec1::<f32>()?.first().copied(),
            None => None,
        };
        Ok(Some(Self { kind, alpha, magnitudes: tensor(Role::DoraScale)? }))
    }

    /// Adds `strength` times the change to a weight of `shape`.
    pub(super) fn apply(&self, name: &str, weight: &mut [f32], shape: &[usize], strength: f32) -> Result<()> {
        let (delta, rank) = self.product()?;
        let scale = match (self.alpha, rank) {
            (Some(alpha), Some(rank)) if rank > 0 => alpha / rank as f32,
            _ => 1.0,
        };
        let delta = delta.flatten_all()?.to_vec1::<f32>()?;
        if delta.len() != weight.len() {
            let found = vec![delta.len()];
            return Err(Error::Shape {
                name: format!("the patch of {name}"),
                found,
                expected: format!("{shape:?}"),
            });
        }
        match &self.magnitudes {
            None => weight.iter_mut().zip(&delta).for_each(|(w, d)| *w += strength * scale * d),
            Some(m) => decompose(weight, &delta, scale, shape, &m.flatten_all()?.to_vec1()?, strength),
        }
        Ok(())
    }

    fn product(&self) -> Result<(Tensor, Option<usize>)> {
        Ok(match &self.kind {
            Kind::Lora { up, down, mid: None } => (flat(up)?.matmul(&flat(down)?)?, Some(down.dim(0)?)),
            Kind::Lora { up, down, mid: Some(mid) } => {
                // [out, r] · [r, r', k] · [r', in] → [out, in, k]
                let (r, r2) = (mid.dim(0)?, mid.dim(1)?);
                let kernel = mid.flatten_from(2)?;
                let first = flat(up)?.matmul(&kernel.reshape((r, ()))?)?;
                let taps = kernel.dim(2)?;
                let first =
                    first.reshape(((), r2, taps))?.transpose(1, 2)?.contiguous()?.reshape(((), r2))?;
                let all = first.matmul(&flat(down)?)?;
                let all = all.reshape((up.dim(0)?, taps, ()))?.transpose(1, 2)?.contiguous()?;
                (all, Some(down.dim(0)?))
            }
            Kind::Hadamard([a1, b1, a2, b2]) => {
                let first = flat(a1)?.matmul(&flat(b1)?)?;
                ((first * flat(a2)?.matmul(&flat(b2)?)?)?, Some(b1.dim(0)?))
            }
            Kind::Kronecker { w1, w2 } => {
                let rank = w1.rank().or(w2.rank());
                (kronecker(&w1.matrix()?, &w2.matrix()?)?, rank)
            }
            Kind::Diff(diff) => (diff.clone(), None),
        })
    }
}

/// A kernel's matrix: everything but the first dimension as columns.
fn flat(x: &Tensor) -> Result<Tensor> {
    Ok(if x.rank() > 2 { x.flatten_from(1)? } else { x.clone() })
}

/// `[a, b] ⊗ [c, d, …] = [a · c, b · d, …]`.
fn kronecker(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let (rows, columns) = flat(a)?.dims2()?;
    let (inner_rows, inner_columns) = (b.dim(0)?, b.dim(1)?);
    let taps: usize = b.dims()[2..].iter().product();
    let a = flat(a)?.reshape(vec![rows, 1, columns, 1, 1])?;
    let b = b.reshape(vec![1, inner_rows, 1, inner_columns, taps])?;
    Ok(a.broadcast_mul(&b)?.reshape((rows * inner_rows, columns * inner_columns, taps))?)
}

/// DoRA: the changed weight is scaled to stored magnitudes, of outputs or of inputs.
fn decompose(
    weight: &mut [f32],
    delta: &[f32],
    scale: f32,
    shape: &[usize],
    magnitudes: &[f32],
    strength: f32,
) {
    let (outputs, inputs) = (shape[0], shape.get(1).copied().unwrap_or(1));
    let taps = weight.len() / (outputs * inputs);
    let by_output = magnitudes.len() == outputs;
    let group = |i: usize| if by_output { i / (inputs * taps) } else { (i / taps) % inputs };
    let changed: Vec<f32> = weight.iter().zip(delta).map(|(w, d)| w + scale * d).collect();
    let mut norms = vec![0.0f64; if by_output { outputs } else { inputs }];
    for (i, c) in changed.iter().enumerate() {
        norms[group(i)] += f64::from(*c) * f64::from(*c);
    }
    for (i, (w, c)) in weight.iter_mut().zip(&changed).enumerate() {
        let g = group(i);
        let norm = norms[g].sqrt() as f32 + f32::EPSILON;
        let target = c * magnitudes.get(g).copied().unwrap_or(norm) / norm;
        *w += strength * (target - *w);
    }
}
