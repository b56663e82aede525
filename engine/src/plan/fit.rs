//! Fitting what does not fit.
//!
//! First, weights that a step does not need make way for those that it needs, and are loaded again later. Where a
//! step is too large even alone, it takes the first of the ways that its node offers and the user allows which fits:
//! tiles, slices, weights streamed from their file, fewer bits. What fits in no way is refused before anything is
//! loaded.

use serde::Serialize;

use super::problem::Problem;
use super::render::bytes as show;
use super::simulate::{Idle, simulate};
use crate::node::{Saving, Savings};

/// A step that is done in another way than the plain one.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) task: u32,
    pub(super) savings: Vec<Saving>,
    /// What the step would take alone in the plain way.
    pub(super) before: u64,
    /// What it takes now.
    pub(super) after: u64,
}

/// A step that fits in no allowed way.
#[derive(Debug)]
pub(super) struct TooLarge {
    pub(super) task: u32,
    /// What it takes at the least.
    pub(super) least: u64,
    /// A saving that is not allowed would make it fit.
    pub(super) would_help: Option<Vec<Saving>>,
}

/// Changes the tasks that are too large for a budget even when nothing else is in memory.
pub(super) fn fit(
    problem: &mut Problem,
    order: &[u32],
    budget: u64,
    allowed: Savings,
) -> (Vec<Change>, Option<TooLarge>) {
    // With a budget of nothing, each step holds only its own weights.
    let alone = simulate(problem, order, Idle::Yields { budget: 0 });
    let mut changes = Vec::new();
    let mut worst: Option<TooLarge> = None;
    for (&id, moment) in order.iter().zip(&alone.moments) {
        if moment.most <= budget {
            continue;
        }
        let task = &problem.tasks[id as usize];
        let made: u64 = task.makes.iter().map(|value| problem.contents[*value as usize].bytes).sum();
        let needs = task.ways.iter().map(|way| {
            let specs = way.holds.iter().map(|weights| &problem.weights[*weights as usize]);
            let (held, overhead) = specs.fold((0u64, 0u64), |(held, overhead), spec| {
                (held.saturating_add(spec.bytes), overhead.max(spec.load_overhead))
            });
            let transient = way.way.scratch.max(overhead).max(made);
            (way, moment.values.saturating_add(held).saturating_add(transient))
        });
        let needs: Vec<_> = needs.collect();
        let permitted = || needs.iter().filter(|(way, _)| allowed.allow(&way.way));
        let fits = permitted().find(|(_, need)| *need <= budget);
        let chosen = fits.or_else(|| permitted().min_by_key(|(_, need)| *need).filter(|n| n.1 < moment.most));
        let least = chosen.map_or(moment.most, |(_, need)| *need);
        if least > budget && worst.as_ref().is_none_or(|worst| worst.least < least) {
            let other = needs.iter().find(|(_, need)| *need <= budget);
            let would_help = other.map(|(way, _)| way.way.savings.clone());
            worst = Some(TooLarge { task: id, least, would_help });
        }
        if let Some((way, need)) = chosen {
            let (savings, holds, scratch) = (way.way.savings.clone(), way.holds.clone(), way.way.scratch);
            changes.push(Change { task: id, savings, before: moment.most, after: *need });
            let task = &mut problem.tasks[id as usize];
            (task.holds, task.scratch) = (holds, scratch);
        }
    }
    (changes, worst)
}

/// A workflow that cannot run in the budget.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// Bytes that its largest step takes at the least.
    pub needed: u64,
    /// Bytes that there are.
    pub budget: u64,
    /// What could be done.
    pub advice: String,
}

impl Refusal {
    pub(super) fn new(needed: u64, budget: u64, would_help: Option<&[Saving]>) -> Self {
        let advice = match would_help {
            Some(savings) if savings.iter().any(|saving| matches!(saving, Saving::Narrow { .. })) => {
                "--allow-quantize would make it fit (with a slightly different picture); so would more memory, or a \
                 smaller picture, batch or model"
            }
            Some(_) => "a saving that --savings leaves out would make it fit; so would more memory",
            None => "give it more with --memory, or use a smaller picture, batch or model",
        };
        Self { needed, budget, advice: advice.into() }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "this step takes {} at the least, and there are {}; nothing was loaded; {}",
            show(self.needed),
            show(self.budget),
            self.advice
        )
    }
}
