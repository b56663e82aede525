//! Graph → plan: what runs, in which order, what dies when, and how much memory that takes.
//!
//! A plan is pure: the same graph, forecasts and cache give the same plan. It takes only what the
//! outputs need, does equal work once, and counts the remaining uses of every value, so that each
//! is dropped right after its last one. Lazy inputs and expansions make more of the graph known
//! while a job runs; the executor then has the new part planned the same way.

mod discover;
mod fit;
mod forecast;
mod order;
mod prepare;
mod problem;
mod render;
mod simulate;

use std::sync::Arc;

use serde::Serialize;

use crate::graph::NodeIx;
use crate::node::{NodeRef, Saving};
use crate::residency::ComponentSpec;

pub use fit::Refusal;
pub(crate) use prepare::{Prepared, Room};
pub use render::bytes as show_bytes;

/// What runs, in which order.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Plan {
    /// The steps in the order in which they run.
    pub steps: Vec<Step>,
    /// Nodes whose outputs are in the cache.
    pub cached: Vec<Arc<NodeRef>>,
    /// Nodes that run only if a lazy input asks for them.
    pub deferred: Vec<Arc<NodeRef>>,
    /// Bytes of values that are there before the first step.
    pub held_before: u64,
    /// The most bytes that are held at once: values, weights and scratch.
    pub predicted_peak: u64,
    /// Nodes that already say that they will not be able to run, and why.
    pub doubts: Vec<Doubt>,
    /// What is done differently so that it fits the budget.
    pub decisions: Vec<Decision>,
    /// It does not fit the budget in any way that is allowed: the node that is too large, and why.
    pub refusal: Option<(Arc<NodeRef>, Refusal)>,
}

/// One node that runs.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    /// Its place in the graph.
    #[serde(skip)]
    pub ix: NodeIx,
    /// The node.
    pub node: Arc<NodeRef>,
    /// The title that a person gave it.
    pub title: Option<String>,
    /// Nodes that are the same work and get its outputs.
    pub equal: Vec<Arc<NodeRef>>,
    /// Weights that are loaded for it.
    pub loads: Vec<ComponentSpec>,
    /// Weights that make way for it and are loaded again for a later step.
    pub evicts: Vec<ComponentSpec>,
    /// Weights that no later step needs.
    pub unloads: Vec<ComponentSpec>,
    /// How it is done in less memory than the plain way takes.
    pub savings: Vec<Saving>,
    /// Bytes of scratch while it runs.
    pub scratch: u64,
    /// Values that no later step reads.
    pub dies: Vec<Dying>,
    /// Bytes held while it runs.
    pub held_during: u64,
    /// Bytes held once it has run and what dies is gone.
    pub held_after: u64,
}

/// A step that is done in less memory than the plain way takes.
#[derive(Clone, Debug, Serialize)]
pub struct Decision {
    /// The node.
    pub node: Arc<NodeRef>,
    /// What is done differently.
    pub savings: Vec<Saving>,
    /// Bytes that the step would take in the plain way, with nothing else in memory.
    pub before: u64,
    /// Bytes that it takes so.
    pub after: u64,
}

/// A value at its end.
#[derive(Clone, Debug, Serialize)]
pub struct Dying {
    /// The node that made it.
    pub node: Arc<NodeRef>,
    /// Which of its outputs.
    pub slot: usize,
    /// That output's name.
    pub name: String,
    /// Its bytes.
    pub bytes: u64,
}

/// A node that already says that it will not be able to run.
#[derive(Clone, Debug, Serialize)]
pub struct Doubt {
    /// The node.
    pub node: Arc<NodeRef>,
    /// Why.
    pub message: String,
}
