//! What a module's small matrices add up to.

use std::collections::HashMap;

use candle_core::{Device, Tensor};

use super::{Role, rotation};
use crate::{Error, Result, source::Source};

/// How the tensors of a module change its weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `up · down` (Hu et al. 2021), with a kernel between for convolutions.
    Lora,
    /// `(a1 · b1) ∘ (a2 · b2)` (Hyeon-Woo et al. 2021), either with a kernel between.
    Hadamard,
    /// `w1 ⊗ w2`, of which either may be a product itself (Yeh et al. 2023).
    Kronecker,
    /// `W · a + b`, both of low rank (Chavan et al. 2023).
    Glora,
    /// Rotations of groups of outputs (Qiu et al. 2023).
    Rotation,
    /// The difference as it is.
    Diff(Role),
    /// The new weight as it is.
    Set,
}

impl Kind {
    /// The change of a module's weight; `None` where there is none of a kind known here.
    pub(super) fn of_weight(roles: &HashMap<Role, String>) -> Option<Self> {
        let has = |wanted: &[Role]| wanted.iter().all(|role| roles.contains_key(role));
        let either = |whole: Role, a: Role, b: Role| roles.contains_key(&whole) || has([a, b].as_slice());
        if has(&[Role::Up, Role::Down]) {
            Some(Self::Lora)
        } else if has(&[Role::HadaW1A, Role::HadaW1B, Role::HadaW2A, Role::HadaW2B]) {
            Some(Self::Hadamard)
        } else if either(Role::KronW1, Role::KronW1A, Role::KronW1B)
            && either(Role::KronW2, Role::KronW2A, Role::KronW2B)
        {
            Some(Self::Kronecker)
        } else if has(&[Role::GloraA1, Role::GloraA2, Role::GloraB1, Role::GloraB2]) {
            Some(Self::Glora)
        } else if has(&[Role::Rotation]) {
            Some(Self::Rotation)
        } else if has(&[Role::Set]) {
            Some(Self::Set)
        } else {
            [Role::Diff, Role::NormDiff].into_iter().find(|r| roles.contains_key(r)).map(Self::Diff)
        }
    }

    /// The change of a module's bias, beside that of its weight.
    pub(super) fn of_bias(roles: &HashMap<Role, String>) -> Option<Self> {
        [Role::BiasDiff, Role::NormBiasDiff].into_iter().find(|r| roles.contains_key(r)).map(Self::Diff)
    }
}

/// The tensors of one module, read when they are needed: a file of patches is never in memory as a whole.
pub(super) struct Module<'a> {
    pub(super) file: &'a dyn Source,
    pub(super) roles: &'a HashMap<Role, String>,
}

impl Module<'_> {
    fn optional(&self, role: Role) -> Result<Option<Tensor>> {
        let Some(name) = self.roles.get(&role) else { return Ok(None) };
        let Some(info) = self.file.info(name) else { return Ok(None) };
        Ok(Some(Tensor::from_vec(self.file.read(name)?.into_f32(), info.shape, &Device::Cpu)?))
    }

    fn tensor(&self, role: Role) -> Result<Tensor> {
        let missing = || Error::MissingTensor { what: "LoRA", name: format!("{role:?}") };
        self.optional(role)?.ok_or_else(missing)
    }

    fn alpha(&self) -> Result<Option<f32>> {
        let Some(alpha) = self.optional(Role::Alpha)? else { return Ok(None) };
        Ok(alpha.flatten_all()?.to_vec1::<f32>()?.first().copied())
    }

    /// `W1` or `W2` of a Kronecker product, and the rank where it is a product itself.
    fn factor(&self, whole: Role, a: Role, b: Role, kernel: Role) -> Result<(Tensor, Option<usize>)> {
        if let Some(whole) = self.optional(whole)? {
            return Ok((whole, None));
        }
        let (a, b) = (self.tensor(a)?, self.tensor(b)?);
        let rank = Some(b.dim(0)?);
        if let Some(kernel) = self.optional(kernel)? {
            return Ok((with_kernel(&kernel, &a, &b)?, rank));
        }
        let mut shape = vec![a.dim(0)?];
        shape.extend(&b.dims()[1..]);
        Ok((flat(&a)?.matmul(&flat(&b)?)?.reshape(shape)?, rank))
    }

    /// The change of `weight` (of `shape`) at full strength but for alpha, and the rank that divides alpha.
    fn product(&self, kind: Kind, weight: &[f32], shape: &[usize]) -> Result<(Tensor, Option<usize>)> {
        Ok(match kind {
            Kind::Lora => {
                let (up, down) = (self.tensor(Role::Up)?, self.tensor(Role::Down)?);
                let rank = Some(down.dim(0)?);
                match self.optional(Role::Mid)? {
                    // The kernel's ranks are [down's, up's] in other words: [r, r', taps].
                    Some(mid) => (with_kernel(&mid, &flat(&up)?.t()?.contiguous()?, &down)?, rank),
                    None => (flat(&up)?.matmul(&flat(&down)?)?, rank),
                }
            }
            Kind::Hadamard => {
                let half = |a: Role, b: Role, kernel: Role| -> Result<(Tensor, usize)> {
                    let (a, b) = (self.tensor(a)?, self.tensor(b)?);
                    let rank = b.dim(0)?;
                    match self.optional(kernel)? {
                        Some(kernel) => Ok((with_kernel(&kernel, &a, &b)?, rank)),
                        None => Ok((flat(&a)?.matmul(&flat(&b)?)?, rank)),
                    }
                };
                let (first, rank) = half(Role::HadaW1A, Role::HadaW1B, Role::HadaT1)?;
                let (second, _) = half(Role::HadaW2A, Role::HadaW2B, Role::HadaT2)?;
                ((first * second)?, Some(rank))
            }
            Kind::Kronecker => {
                let (w1, first) = self.factor(Role::KronW1, Role::KronW1A, Role::KronW1B, Role::KronT1)?;
                let (w2, second) = self.factor(Role::KronW2, Role::KronW2A, Role::KronW2B, Role::KronT2)?;
                // Where both are products, the second's rank is the one that files are trained with.
                (kronecker(&w1, &w2)?, second.or(first))
            }
            Kind::Glora => self.glora(weight, shape)?,
            Kind::Rotation => {
                let blocks = self.tensor(Role::Rotation)?;
                (rotation::change(&blocks, self.alpha()?.unwrap_or(0.0), weight)?, None)
            }
            Kind::Diff(role) => (self.tensor(role)?, None),
            Kind::Set => {
                let new = self.tensor(Role::Set)?.flatten_all()?;
                let old = Tensor::from_slice(weight, weight.len(), &Device::Cpu)?;
                (if new.elem_count() == weight.len() { (new - old)? } else { new }, None)
            }
        })
    }

    /// The generalised LoRA has two conventions, which only shapes tell apart.
    fn glora(&self, weight: &[f32], shape: &[usize]) -> Result<(Tensor, Option<usize>)> {
        let part = |role| self.tensor(role).and_then(|t| flat(&t));
        let (a1, a2) = (part(Role::GloraA1)?, part(Role::GloraA2)?);
        let (b1, b2) = (part(Role::GloraB1)?, part(Role::GloraB2)?);
        let (outputs, inputs) = (shape[0], shape.get(1).copied().unwrap_or(1));
        let weight =
            Tensor::from_slice(weight, (outputs, inputs, weight.len() / (outputs * inputs)), &Device::Cpu)?;
        let fits = |first: usize, others: [usize; 3]| others.iter().all(|n| *n == first);
        let old = fits(b2.dim(1)?, [b1.dim(0)?, a1.dim(0)?, a2.dim(1)?]);
        let new = fits(b2.dim(0)?, [b1.dim(1)?, a1.dim(1)?, a2.dim(0)?]);
        if old && (!new || (a2.dim(0)? == outputs && outputs == inputs)) {
            let through = weight.flatten_from(1)?.matmul(&a2)?.matmul(&a1)?;
            return Ok(((b2.matmul(&b1)? + through)?, Some(a1.dim(0)?)));
        }
        // [out, taps, in] · [in, in], and back
        let through = weight.transpose(1, 2)?.contiguous()?.flatten_to(1)?.matmul(&a1)?.matmul(&a2)?;
        let through = through.reshape((outputs, (), inputs))?.transpose(1, 2)?.contiguous()?;
        let added = b1.matmul(&b2)?.reshape(through.shape())?;
        Ok(((through + added)?, Some(a2.dim(0)?)))
    }

    /// Adds `strength` times the change to a weight of `shape`.
    pub(super) fn apply(
        &self,
        kind: Kind,
        name: &str,
        weight: &mut [f32],
        shape: &[usize],
        strength: f32,
    ) -> Result<()> {
        let (delta, rank) = self.product(kind, weight, shape)?;
        let scale = match (kind, self.alpha()?, rank) {
            (Kind::Diff(_) | Kind::Set | Kind::Rotation, ..) => 1.0,
            (_, Some(alpha), Some(rank)) if rank > 0 => alpha / rank as f32,
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
        // ComfyUI counts the strength of a rotation twice, and files are used at strengths found with it.
        let scale = if kind == Kind::Rotation { strength } else { scale };
        match self.optional(Role::DoraScale)? {
            Some(magnitudes) if !matches!(kind, Kind::Diff(_) | Kind::Set) => {
                decompose(weight, &delta, scale, shape, &magnitudes, strength)?;
            }
            // A weight that is set is set at any strength.
            _ if kind == Kind::Set => weight.iter_mut().zip(&delta).for_each(|(w, d)| *w += d),
            _ => weight.iter_mut().zip(&delta).for_each(|(w, d)| *w += strength * scale * d),
        }
        Ok(())
    }
}

/// A kernel's matrix: everything but the first dimension as columns.
fn flat(x: &Tensor) -> Result<Tensor> {
    Ok(if x.rank() > 2 { x.flatten_from(1)? } else { x.clone() })
}

/// `kernel [i, j, taps…]` between `a [i, out]` and `b [j, in]`: `[out, in, taps]`.
fn with_kernel(kernel: &Tensor, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let (a, b) = (flat(a)?, flat(b)?);
    let (i, j) = (kernel.dim(0)?, kernel.dim(1)?);
    let kernel = kernel.reshape((i, j, ()))?;
    let taps = kernel.dim(2)?;
    let first = a.t()?.contiguous()?.matmul(&kernel.reshape((i, j * taps))?)?;
    let first = first.reshape(((), j, taps))?.transpose(1, 2)?.contiguous()?.reshape(((), j))?;
    let all = first.matmul(&b)?.reshape((a.dim(1)?, taps, ()))?;
    Ok(all.transpose(1, 2)?.contiguous()?)
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

/// DoRA (Liu et al. 2024): the changed weight is scaled to stored magnitudes, of outputs or of inputs. Magnitudes of
/// outputs are measured on the weight before the change, those of inputs after it, as ComfyUI does.
fn decompose(
    weight: &mut [f32],
    delta: &[f32],
    scale: f32,
    shape: &[usize],
    magnitudes: &Tensor,
    strength: f32,
) -> Result<()> {
    let (outputs, inputs) = (shape[0], shape.get(1).copied().unwrap_or(1));
    let taps = weight.len() / (outputs * inputs).max(1);
    let by_output = magnitudes.dim(0)? == outputs;
    let magnitudes = magnitudes.flatten_all()?.to_vec1::<f32>()?;
    let group = |i: usize| if by_output { i / (inputs * taps) } else { (i / taps) % inputs };
    let changed: Vec<f32> = weight.iter().zip(delta).map(|(w, d)| w + scale * d).collect();
    let mut norms = vec![0.0f64; if by_output { outputs } else { inputs }];
    if magnitudes.len() != norms.len() {
        return Err(Error::Shape {
            name: "dora_scale".into(),
            found: vec![magnitudes.len()],
            expected: format!("{} magnitudes", norms.len()),
        });
    }
    let measured: &[f32] = if by_output { weight } else { &changed };
    for (i, value) in measured.iter().enumerate() {
        norms[group(i)] += f64::from(*value) * f64::from(*value);
    }
    for (i, (w, c)) in weight.iter_mut().zip(&changed).enumerate() {
        let norm = norms[group(i)].sqrt() as f32 + f32::EPSILON;
        *w += strength * (c * magnitudes[group(i)] / norm - *w);
    }
    Ok(())
}
