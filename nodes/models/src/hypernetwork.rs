//! Hypernetworks: small networks that change what keys and values are made from.

use std::sync::Arc;

use crate::{
    Error, LoadOptions, Params, Result,
    ops::{Act, Activation, Dims, Epilogue, LayerNorm, Linear, Norm, Ops, Out},
    params::{Loader, load},
    source::Source,
};

/// The function between a hypernetwork's layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    /// None.
    Linear,
    /// `max(x, 0)`.
    Relu,
    /// `x` where positive, else `0.01 · x`.
    LeakyRelu,
    /// `x` where positive, else `eˣ − 1`.
    Elu,
    /// `x · min(max(x + 3, 0), 6) / 6`: what training tools wrote as swish.
    HardSwish,
    /// The hyperbolic tangent.
    Tanh,
    /// The logistic function.
    Sigmoid,
    /// `x / (1 + |x|)`.
    Softsign,
    /// `x · tanh(ln(1 + eˣ))`.
    Mish,
}

impl Function {
    /// By the name that files have for it.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "linear" => Self::Linear,
            "relu" => Self::Relu,
            "leakyrelu" => Self::LeakyRelu,
            "elu" => Self::Elu,
            "swish" => Self::HardSwish,
            "tanh" => Self::Tanh,
            "sigmoid" => Self::Sigmoid,
            "softsign" => Self::Softsign,
            "mish" => Self::Mish,
            _ => return None,
        })
    }

    fn of(self, x: f32) -> f32 {
        match self {
            Self::Linear => x,
            Self::Relu => x.max(0.0),
            Self::LeakyRelu => {
                if x < 0.0 {
                    0.01 * x
                } else {
                    x
                }
            }
            Self::Elu => {
                if x < 0.0 {
                    x.exp_m1()
                } else {
                    x
                }
            }
            Self::HardSwish => x * (x + 3.0).clamp(0.0, 6.0) / 6.0,
            Self::Tanh => x.tanh(),
            Self::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Self::Softsign => x / (1.0 + x.abs()),
            Self::Mish => x * (x.max(0.0) + (-x.abs()).exp().ln_1p()).tanh(),
        }
    }
}

/// What a file says of its networks beside their weights.
#[derive(Debug, Clone, Copy)]
pub struct Form {
    /// The function between layers.
    pub function: Function,
    /// Whether every second layer is a normalisation.
    pub normed: bool,
    /// Whether the function follows the last layer too.
    pub activates_output: bool,
}

enum Layer {
    Linear(Arc<Linear>),
    Norm(Arc<Norm>),
    Function,
}

/// Networks by the channels of what they change: one for keys, one for values.
pub struct Hypernetwork {
    form: Form,
    by_width: Vec<(usize, [Vec<Layer>; 2])>,
    params: Params,
}

impl Hypernetwork {
    /// Loads tensors named `WIDTH.0.linear.0.weight` (for keys) and `WIDTH.1.…` (for values).
    pub fn load<'a>(
        ops: &'a Ops,
        source: &'a dyn Source,
        form: Form,
        options: LoadOptions<'a>,
    ) -> Result<Self> {
        let mut widths: Vec<usize> =
            source.names().iter().filter_map(|name| name.split('.').next()?.parse().ok()).collect();
        widths.sort_unstable();
        widths.dedup();
        if widths.is_empty() {
            return Err(Error::MissingTensor { what: "hypernetwork", name: "768.0.linear.0.weight".into() });
        }
        let (by_width, params) = load(ops, source, "hypernetwork", options, |w| {
            let both = |width: usize| -> Result<[Vec<Layer>; 2]> {
                let w = w.at(width);
                Ok([network(&w.at(0), form)?, network(&w.at(1), form)?])
            };
            widths.iter().map(|width| Ok((*width, both(*width)?))).collect::<Result<Vec<_>>>()
        })?;
        Ok(Self { form, by_width, params })
    }

    /// Bytes of its weights.
    pub fn bytes(&self) -> usize {
        self.params.bytes()
    }

    /// What keys and values are made from, in place of `context`; `None` where it knows nothing of this width.
    pub(crate) fn apply(&self, ops: &Ops, context: &Act, strength: f32) -> Result<Option<[Act; 2]>> {
        let width = context.dims().c;
        let Some((_, [keys, values])) = self.by_width.iter().find(|(w, _)| *w == width) else {
            return Ok(None);
        };
        let changed =
            |layers| -> Result<Act> { ops.add(context, &self.run(ops, layers, context)?, strength) };
        Ok(Some([changed(keys)?, changed(values)?]))
    }

    fn run(&self, ops: &Ops, layers: &[Layer], x: &Act) -> Result<Act> {
        let d = x.dims();
        let mut h = ops.upload(Dims::tokens(d.n, d.positions(), d.c), &ops.download(x)?)?;
        for layer in layers {
            h = match layer {
                Layer::Linear(linear) => ops.linear(linear, &h, Epilogue::default())?,
                Layer::Norm(norm) => {
                    let how = LayerNorm { norm: Some(norm), eps: 1e-5, modulation: None, out: Out::Stream };
                    ops.layer_norm(&h, how)?
                }
                Layer::Function => match self.form.function {
                    Function::Relu => ops.activate(&h, Activation::Relu, Out::Stream)?,
                    function => {
                        let mut values = ops.download(&h)?;
                        values.iter_mut().for_each(|v| *v = function.of(*v));
                        ops.upload(h.dims(), &values)?
                    }
                },
            };
        }
        Ok(h)
    }
}

/// The layers below `w`: `linear.N`, of which some are normalisations.
fn network(w: &Loader<'_>, form: Form) -> Result<Vec<Layer>> {
    let mut names: Vec<(usize, String)> = Vec::new();
    for i in 0..64 {
        let name = format!("linear.{i}");
        if w.has(&format!("{name}.weight")) {
            names.push((w.shape(&format!("{name}.weight"))?.len(), name));
        }
    }
    let last = names.iter().rposition(|(rank, _)| *rank == 2);
    let mut layers = Vec::new();
    for (i, (rank, name)) in names.iter().enumerate() {
        if *rank == 2 {
            layers.push(Layer::Linear(w.linear(name)?));
            if form.function != Function::Linear && (Some(i) != last || form.activates_output) {
                layers.push(Layer::Function);
            }
        } else if form.normed {
            layers.push(Layer::Norm(w.norm(name)?));
        }
    }
    Ok(layers)
}
