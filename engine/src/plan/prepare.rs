//! Signatures, discovery, forecasts, order and counts, one after the other.

use std::collections::HashMap;
use std::sync::Arc;

use super::discover::{Canon, discover, producers_first};
use super::forecast::Forecasts;
use super::order::order;
use super::problem::{Problem, Setting};
use super::simulate::{Trace, simulate};
use super::{Doubt, Dying, Plan, Step};
use crate::cache::{Known, Signature, Signer};
use crate::graph::{Graph, NodeIx};
use crate::node::{NodeRef, Sketch};

/// A plan and what it was made from: the executor goes on with it as the graph grows.
pub(crate) struct Prepared {
    pub(crate) plan: Plan,
    pub(crate) signer: Signer,
    pub(crate) canon: Canon,
    pub(crate) forecasts: Forecasts,
    /// Whether a cache keeps what is made.
    pub(crate) keeps: bool,
    /// What happens to weights that nobody uses any more.
    pub(crate) room: Room,
}

/// What the cache knows of a signature.
pub(crate) type Lookup<'a> = &'a dyn Fn(&Signature) -> Option<Arc<[Sketch]>>;

impl Prepared {
    /// Signs the nodes of a graph. To be planned next.
    pub(crate) fn sign(graph: &Graph) -> Signer {
        let mut signer = Signer::default();
        signer.extend(graph, &Known::new());
        signer
    }

    /// Plans a graph.
    pub(crate) fn new(graph: &Graph, signer: Signer, cached: Lookup<'_>, keeps: bool, room: Room) -> Self {
        let mut forecasts = Forecasts::default();
        let leaf = |ix| cached(&signer.of(ix)).is_some();
        let mut seen = vec![false; graph.len()];
        let first = |ix: NodeIx| !std::mem::replace(&mut seen[ix.index()], true);
        let found = discover(graph, graph.outputs(), false, leaf, first);
        let perhaps = {
            let mut all = vec![false; graph.len()];
            let first = |ix: NodeIx| !std::mem::replace(&mut all[ix.index()], true);
            let reachable = discover(graph, graph.outputs(), true, leaf, first);
            reachable.into_iter().filter(|ix| !seen[ix.index()]).collect::<Vec<_>>()
        };
        let mut canon = Canon::default();
        let mut equal: HashMap<NodeIx, Vec<NodeIx>> = HashMap::new();
        let mut nodes = Vec::with_capacity(found.len());
        for &ix in &found {
            match canon.assign(ix, &signer) {
                own if own == ix => nodes.push(ix),
                other => equal.entry(other).or_default().push(ix),
            }
        }
        let mut deferred = Vec::new();
        for &ix in &perhaps {
            if canon.assign(ix, &signer) == ix {
                deferred.push(ix);
            }
        }
        let lookup = |ix: NodeIx| cached(&signer.of(ix));
        let roots: Vec<NodeIx> = nodes.iter().chain(&deferred).copied().collect();
        // Leaves are asked for nothing: what was foretold of them is in the cache.
        let mut leaves = Vec::new();
        for ix in &roots {
            let links = graph.node(*ix).inputs.iter().filter_map(|input| input.link());
            leaves.extend(links.filter_map(|(from, _)| Some((from, lookup(from)?))));
        }
        for (ix, sketches) in leaves {
            canon.assign(ix, &signer);
            forecasts.remember(canon.of(ix), &sketches);
        }
        let of = |ix| canon.of(ix);
        for ix in producers_first(graph, &roots, of, leaf) {
            forecasts.ask(graph, ix, &of);
        }

        let problem = Problem::new(&Setting { graph, canon: &of, forecasts: &forecasts, keeps }, &nodes);
        let tasks = order(&problem);
        let trace = room.trace(&problem, &tasks);
        let steps = tasks.iter().zip(&trace.moments).map(|(task, moment)| {
            let task = &problem.tasks[*task as usize];
            let node = graph.node(task.node);
            let submitted = graph.prompt().nodes.get(&node.info.id);
            let infos = |nodes: &[NodeIx]| nodes.iter().map(|ix| graph.node(*ix).info.clone()).collect();
            let specs =
                |weights: &[u32]| weights.iter().map(|w| problem.weights[*w as usize].clone()).collect();
            Step {
                ix: task.node,
                node: node.info.clone(),
                title: submitted.and_then(|node| node.title()).map(str::to_owned),
                equal: equal.get(&task.node).map(|nodes| infos(nodes)).unwrap_or_default(),
                loads: specs(&moment.loads),
                unloads: specs(&moment.unloads),
                scratch: task.scratch,
                dies: moment.dies.iter().map(|value| dying(graph, &problem, *value)).collect(),
                held_during: moment.during,
                held_after: moment.after,
            }
        });
        let steps = steps.collect();
        let info = |ix: NodeIx| graph.node(ix).info.clone();
        let plan = Plan {
            steps,
            cached: graph.submitted().filter(|ix| leaf(*ix)).map(info).collect(),
            deferred: deferred.into_iter().map(info).collect(),
            held_before: trace.before,
            predicted_peak: trace.peak,
            doubts: doubts(graph, &forecasts),
        };
        Self { plan, signer, canon, forecasts, keeps, room }
    }

    /// Takes in the nodes of an expansion: signs them, and finds out which are the same work as
    /// others. `roots` are those that it wants, `known` what is known of the values in it.
    pub(crate) fn take_in(&mut self, graph: &Graph, new: &[NodeIx], roots: &[NodeIx], known: &Known) {
        self.signer.extend(graph, known);
        let Some(oldest) = new.first() else { return };
        let mut seen = std::collections::HashSet::with_capacity(new.len());
        let found = discover(graph, roots, false, |ix| ix < *oldest, |ix| seen.insert(ix));
        for ix in found.iter().chain(new) {
            self.canon.assign(*ix, &self.signer);
        }
    }

    /// Plans nodes that have become part of the work: those of an expansion, or what a lazy input
    /// asked for. Gives their order and the peak on top of what is held.
    pub(crate) fn revise(&mut self, graph: &Graph, nodes: &[NodeIx]) -> (Vec<NodeIx>, u64) {
        let Self { canon, forecasts, keeps, room, .. } = self;
        let of = |ix| canon.of(ix);
        let unknown = producers_first(graph, nodes, of, |ix| forecasts.of(ix).is_some());
        for ix in unknown {
            forecasts.ask(graph, ix, &of);
        }
        let problem = Problem::new(&Setting { graph, canon: &of, forecasts, keeps: *keeps }, nodes);
        let tasks = order(&problem);
        let Trace { before, peak, .. } = room.trace(&problem, &tasks);
        (tasks.iter().map(|task| problem.tasks[*task as usize].node).collect(), peak - before)
    }
}

/// What happens to weights that nobody uses any more.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Room {
    /// They stay until something needs their place.
    pub(crate) keeps_unused: bool,
    /// Bytes that may be held at once.
    pub(crate) budget: Option<u64>,
}

impl Room {
    /// What an order does to memory. Unused weights that stay give way at the budget, so they never
    /// raise the peak above it.
    fn trace(self, problem: &Problem, order: &[u32]) -> Trace {
        let least = simulate(problem, order, false);
        if !self.keeps_unused {
            return least;
        }
        let most = simulate(problem, order, true);
        let cap = self.budget.map_or(u64::MAX, |budget| budget.max(least.peak));
        if most.peak <= cap { most } else { Trace { peak: cap, ..least } }
    }
}

fn dying(graph: &Graph, problem: &Problem, value: u32) -> Dying {
    let content = &problem.contents[value as usize];
    let (ix, slot) = content.maker;
    let node = graph.node(ix);
    let name = node.class.schema.outputs.get(slot).map(|output| output.name.clone()).unwrap_or_default();
    Dying { node: node.info.clone(), slot, name, bytes: content.bytes }
}

fn doubts(graph: &Graph, forecasts: &Forecasts) -> Vec<Doubt> {
    let doubts = forecasts.doubts().iter();
    doubts.map(|(ix, error)| Doubt { node: ref_of(graph, *ix), message: error.to_string() }).collect()
}

fn ref_of(graph: &Graph, ix: NodeIx) -> Arc<NodeRef> {
    graph.node(ix).info.clone()
}
