//! Diffusion transformers: what SD 3, Flux and Z-Image share.

pub mod flux;
pub mod flux_control;
pub mod mmdit;
pub mod mmdit_control;
pub mod z_image;

use std::sync::Arc;

use candle_core::Tensor;

use crate::{
    Error, Result,
    denoiser::Input,
    ops::{Act, Activation, Cols, Dims, Epilogue, LayerNorm, Linear, Ops, Out},
    params::Loader,
    timestep,
};

/// Epsilon of the normalisations without weights.
pub(crate) const EPS: f32 = 1e-6;
/// Values that a timestep or a guidance is embedded in.
const EMBEDDED: usize = 256;

/// Two matrices with SiLU between: embeds a timestep, a guidance or a pooled prompt.
pub(crate) struct Embedder {
    first: Arc<Linear>,
    second: Arc<Linear>,
}

impl Embedder {
    pub(crate) fn load(w: &Loader<'_>, first: &str, second: &str) -> Result<Self> {
        Ok(Self { first: w.linear(first)?, second: w.linear(second)? })
    }

    /// Adds its result to `sum`.
    pub(crate) fn add(&self, ops: &Ops, x: &Act, sum: Option<Act>) -> Result<Act> {
        let h = ops.linear(&self.first, x, Epilogue::activation(Activation::Silu, Out::Operand))?;
        ops.linear(&self.second, &h, Epilogue { residual: sum.as_ref(), ..Epilogue::default() })
    }

    /// Embeds one number a sample.
    pub(crate) fn add_numbers(&self, ops: &Ops, numbers: &[f32], sum: Option<Act>) -> Result<Act> {
        let values = timestep::embedding(numbers, EMBEDDED, 10_000.0);
        let x = ops.upload(Dims::tokens(numbers.len(), 1, EMBEDDED), &values)?;
        self.add(ops, &x, sum)
    }
}

/// One row of shifts, scales and gates a sample, made from what the model is conditioned on (Peebles & Xie 2023).
pub(crate) struct Modulation {
    linear: Arc<Linear>,
    parts: usize,
}

impl Modulation {
    pub(crate) fn load(w: &Loader<'_>, name: &str, width: usize) -> Result<Self> {
        let linear = w.linear(name)?;
        let parts = linear.output / width;
        Ok(Self { linear, parts })
    }

    /// `condition` is already activated.
    pub(crate) fn forward(&self, ops: &Ops, condition: &Act) -> Result<Modulated> {
        Ok(Modulated { row: ops.linear(&self.linear, condition, Epilogue::default())?, parts: self.parts })
    }

    pub(crate) fn parts(&self) -> usize {
        self.parts
    }
}

/// The parts of a modulation's row.
pub(crate) struct Modulated {
    row: Act,
    parts: usize,
}

impl Modulated {
    pub(crate) fn part(&self, index: usize) -> Cols<'_> {
        self.row.chunk(index, self.parts)
    }

    /// Layer normalisation without weights, then part `shift` and the scale after it.
    pub(crate) fn norm(&self, ops: &Ops, x: &Act, shift: usize) -> Result<Act> {
        let modulation = Some((self.part(shift), self.part(shift + 1)));
        ops.layer_norm(x, LayerNorm { norm: None, eps: EPS, modulation, out: Out::Operand })
    }

    /// `x + gate · linear(a)`, with part `gate`.
    pub(crate) fn gated(&self, ops: &Ops, linear: &Linear, a: &Act, gate: usize, x: &Act) -> Result<Act> {
        ops.linear(linear, a, Epilogue { gate: Some(self.part(gate)), ..Epilogue::residual(x) })
    }
}

/// Repeats the first rows and columns at the end, up to whole patches: the reference's circular padding.
pub(crate) fn pad_to_patches(x: &Tensor, patch: usize) -> Result<Tensor> {
    let mut x = x.clone();
    for axis in [2, 3] {
        let size = x.dim(axis)?;
        let more = size.next_multiple_of(patch) - size;
        if more > 0 {
            x = Tensor::cat(&[&x, &x.narrow(axis, 0, more)?], axis)?;
        }
    }
    Ok(x)
}

/// What a control network adds is not for this model.
pub(crate) fn foreign(model: &'static str, found: String, expected: String) -> Error {
    let found = format!("{found} from a control network of another model");
    Error::Input { model, input: "control", found, expected }
}

/// `x` with what a control network adds to its positions from `start` on.
pub(crate) fn controlled(
    ops: &Ops,
    model: &'static str,
    x: Act,
    start: usize,
    added: Option<&Act>,
) -> Result<Act> {
    let Some(added) = added else { return Ok(x) };
    let (d, a) = (x.dims(), added.dims());
    let (all, some) = (d.positions(), a.positions());
    if (d.n, d.c) != (a.n, a.c) || start + some > all {
        let expected = format!("{} × at most {} tokens of {} channels", d.n, all - start, d.c);
        return Err(foreign(model, format!("{} × {some} tokens of {} channels", a.n, a.c), expected));
    }
    let sum = ops.add(&ops.slice(x.cols(), start, some)?, added, 1.0)?;
    if some == all {
        return Ok(sum);
    }
    let before = if start > 0 { Some(ops.slice(x.cols(), 0, start)?) } else { None };
    let end = start + some;
    let after = if end < all { Some(ops.slice(x.cols(), end, all - end)?) } else { None };
    drop(x);
    let parts: Vec<&Act> = before.iter().chain([&sum]).chain(&after).collect();
    ops.concat_stream(&parts)
}

/// Checks what every transformer reads.
pub(crate) fn check(
    model: &'static str,
    input: &Input<'_>,
    channels: usize,
    context: usize,
    y: usize,
) -> Result<()> {
    let wrong = |input, found, expected| Err(Error::Input { model, input, found, expected });
    let (n, c, _, _) = input.x.dims4()?;
    let (cn, _, cc) = input.context.dims3()?;
    if c != channels {
        return wrong("x", format!("{c} channels"), channels.to_string());
    }
    if (cn, cc) != (n, context) {
        return wrong("context", format!("{cn} × {cc} channels"), format!("{n} × {context}"));
    }
    if input.timesteps.len() != n {
        return wrong("timesteps", input.timesteps.len().to_string(), n.to_string());
    }
    match input.y.map(Tensor::dims) {
        Some(&[yn, yc]) if yn == n && yc >= y => Ok(()),
        other => wrong("y", format!("{other:?}"), format!("[{n}, {y}]")),
    }
}
