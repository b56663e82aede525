//! A model under guidance: what samplers call.

use candle_core::Tensor;

use super::combine::{self, Scales};
use super::conditioning::{Conditioning, Opaque};
use super::hooks::Hooks;
use super::lazy::Lazy;
use super::model::{InputContext, Model, Side};
use super::predict::Evaluator;
use super::prepare::{Prepared, prepare};
use crate::model_sampling::ModelSampling;
use crate::observer::Observer;
use crate::{Error, Result};

/// How prompts are weighed against each other.
#[derive(Clone, Debug)]
pub enum Guidance {
    /// One prompt, no guidance.
    Basic {
        /// What the picture should show.
        positive: Vec<Conditioning>,
    },
    /// Classifier-free guidance (Ho and Salimans 2022): negative + (positive − negative) · scale.
    Cfg {
        /// What the picture should show.
        positive: Vec<Conditioning>,
        /// What it should not show.
        negative: Vec<Conditioning>,
        /// How strongly; 1 leaves the negative side out.
        scale: f64,
    },
    /// Two prompts and a negative one.
    Dual {
        /// The first prompt, and the stronger one.
        positive: Vec<Conditioning>,
        /// The second prompt.
        middle: Vec<Conditioning>,
        /// What the picture should not show.
        negative: Vec<Conditioning>,
        /// How strongly the first prompt differs from the second.
        scale_positive: f64,
        /// How strongly the second differs from the negative.
        scale_middle: f64,
        /// Guides the first by the second, then the result by the negative, instead of adding both.
        nested: bool,
    },
    /// A negative prompt of which only that part counts which does not contradict the positive one
    /// (Armandpour et al. 2023, "Re-imagine the Negative Prompt Algorithm: Perp-Neg").
    PerpNeg {
        /// What the picture should show.
        positive: Vec<Conditioning>,
        /// What it should not show.
        negative: Vec<Conditioning>,
        /// An empty prompt, from which both directions are measured.
        empty: Vec<Conditioning>,
        /// How strongly the picture is guided.
        scale: f64,
        /// How strongly the negative prompt counts.
        negative_scale: f64,
    },
}

impl Guidance {
    /// Every entry of every side.
    pub fn entries(&self) -> impl Iterator<Item = &Conditioning> {
        self.sides().into_iter().flat_map(|(_, entries)| entries)
    }

    fn sides(&self) -> Vec<(Side, &[Conditioning])> {
        match self {
            Self::Basic { positive } => vec![(Side::Positive, positive)],
            Self::Cfg { positive, negative, .. } => {
                vec![(Side::Positive, positive), (Side::Negative, negative)]
            }
            Self::Dual { positive, middle, negative, .. } => {
                vec![(Side::Positive, positive), (Side::Middle, middle), (Side::Negative, negative)]
            }
            Self::PerpNeg { positive, negative, empty, .. } => {
                vec![(Side::Positive, positive), (Side::Middle, empty), (Side::Negative, negative)]
            }
        }
    }

    fn scales(&self) -> Scales {
        match *self {
            Self::Basic { .. } => Scales::Cfg(1.0),
            Self::Cfg { scale, .. } => Scales::Cfg(scale),
            Self::Dual { scale_positive, scale_middle, nested: true, .. } => {
                Scales::Nested { positive: scale_positive, middle: scale_middle }
            }
            Self::Dual { scale_positive, scale_middle, nested: false, .. } => {
                Scales::Dual { positive: scale_positive, middle: scale_middle }
            }
            Self::PerpNeg { scale, negative_scale, .. } => {
                Scales::PerpNeg { scale, negative: negative_scale }
            }
        }
    }
}

/// What guidance says at one point of sampling.
#[derive(Clone, Debug)]
pub struct Prediction {
    /// The clean latent.
    pub denoised: Tensor,
    /// The clean latent as the negative side alone sees it; zeros where it was not evaluated.
    pub negative: Tensor,
}

/// A model, its prompts and its hooks, ready to be asked at any sigma.
pub struct Guided<'a> {
    evaluator: Evaluator<'a>,
    sides: Vec<(Side, Vec<Prepared>)>,
    scales: Scales,
    hooks: &'a Hooks,
    lazy: Option<Lazy>,
}

impl<'a> Guided<'a> {
    /// Prepares the prompts for a latent.
    pub fn new(
        guidance: &Guidance,
        model: &'a mut dyn Model,
        sampling: &'a ModelSampling,
        hooks: &'a Hooks,
        observer: &'a dyn Observer,
        context: InputContext<'_>,
    ) -> Result<Self> {
        let sides = prepare(&guidance.sides(), model, sampling, context)?;
        Ok(Self {
            evaluator: Evaluator { model, sampling, observer },
            sides,
            scales: guidance.scales(),
            hooks,
            lazy: hooks.lazy.map(|settings| Lazy::new(settings, sampling)),
        })
    }

    /// The clean latent that `x` at noise level `sigma` stands for. `needs_negative` asks for the negative
    /// side even where the scales make it irrelevant.
    pub fn predict(&mut self, x: &Tensor, sigma: f64, needs_negative: bool) -> Result<Prediction> {
        let Some(mut lazy) = self.lazy.take() else { return self.compute(x, sigma, needs_negative) };
        let found = lazy.answer(x, sigma, || self.compute(x, sigma, needs_negative));
        self.lazy = Some(lazy);
        found
    }

    fn compute(&mut self, x: &Tensor, sigma: f64, needs_negative: bool) -> Result<Prediction> {
        let left_out =
            if needs_negative || self.hooks.needs_negative { &[][..] } else { self.scales.irrelevant() };
        let wanted: Vec<(Side, Option<&[Prepared]>)> = self
            .scales
            .order()
            .iter()
            .map(|side| (*side, if left_out.contains(side) { None } else { entries(&self.sides, *side) }))
            .collect();
        let mut predictions = self.evaluator.evaluate_patching_negative(
            &wanted,
            x,
            sigma,
            self.hooks.negative_patch.as_ref(),
        )?;
        let (evaluator, sides) = (&mut self.evaluator, &self.sides);
        let sampling = evaluator.sampling;
        let mut again = |side: Side, x: &Tensor, patch: Option<&Opaque>| {
            let found = evaluator.evaluate(&[(side, entries(sides, side))], x, sigma, patch)?;
            found.into_iter().next().ok_or(Error::Cancelled)
        };
        combine::combine(
            &mut predictions,
            self.scales,
            &mut combine::Context { hooks: self.hooks, sampling, x, sigma, evaluate: &mut again },
        )
    }
}

fn entries(sides: &[(Side, Vec<Prepared>)], side: Side) -> Option<&[Prepared]> {
    sides.iter().find(|(name, _)| *name == side).map(|(_, entries)| entries.as_slice())
}
