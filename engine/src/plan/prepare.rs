//! Signatures, discovery, forecasts, order and counts, one after the other.

use std::collections::HashMap;
use std::sync::Arc;

use super::discover::{Canon, discover, producers_first};
use super::fit::{Change, TooLarge, fit};
use super::forecast::Forecasts;
use super::order::order;
use super::problem::{Problem, Setting};
use super::simulate::{Idle, Trace, simulate};
use super::{Decision, Doubt, Dying, Plan, Refusal, Step};
use crate::cache::{Known, Signer};
use crate::graph::{Graph, NodeIx};
use crate::node::{NodeRef, Saving, Savings, Sketch};
use crate::residency::ComponentKey;

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
    /// How nodes are to need less memory, where they are.
    savings: HashMap<NodeIx, Arc<[Saving]>>,
}

/// What the cache has of the nodes of a workflow, by their place: what was foretold of their outputs.
pub(crate) type Cached<'a> = &'a [Option<Arc<[Sketch]>>];

impl Prepared {
    /// Signs the nodes of a graph. To be planned next.
    pub(crate) fn sign(graph: &Graph) -> Signer {
        let mut signer = Signer::default();
        signer.extend(graph, &Known::new());
        signer
    }

    /// Plans a graph.
    pub(crate) fn new(graph: &Graph, signer: Signer, cached: Cached<'_>, keeps: bool, room: Room) -> Self {
        let mut forecasts = Forecasts::default();
        let lookup = |ix: NodeIx| cached.get(ix.index())?.clone();
        let leaf = |ix: NodeIx| cached.get(ix.index()).is_some_and(Option::is_some);
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

        let mut problem = Problem::new(&Setting { graph, canon: &of, forecasts: &forecasts, keeps }, &nodes);
        let tasks = order(&problem);
        let (changes, too_large) = room.fit(&mut problem, &tasks);
        let trace = room.trace(&problem, &tasks);
        let ref_of_task = |task: u32| graph.node(problem.tasks[task as usize].node).info.clone();
        let savings: HashMap<NodeIx, Arc<[Saving]>> = changes
            .iter()
            .map(|change| (problem.tasks[change.task as usize].node, change.savings.as_slice().into()))
            .collect();
        let decisions = changes.iter().map(|change| Decision {
            node: ref_of_task(change.task),
            savings: change.savings.clone(),
            before: change.before,
            after: change.after,
        });
        let decisions = decisions.collect();
        let refusal = too_large.map(|large| {
            let budget = room.budget.unwrap_or(u64::MAX);
            (ref_of_task(large.task), Refusal::new(large.least, budget, large.would_help.as_deref()))
        });
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
                evicts: specs(&moment.evicts),
                savings: savings.get(&task.node).map(|savings| savings.to_vec()).unwrap_or_default(),
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
            predicted_peak: room.with_idle(trace.peak, &problem),
            doubts: doubts(graph, &forecasts),
            decisions,
            refusal,
        };
        Self { plan, signer, canon, forecasts, keeps, room, savings }
    }

    /// How a node is to need less memory.
    pub(crate) fn savings_of(&self, ix: NodeIx) -> Arc<[Saving]> {
        self.savings.get(&ix).cloned().unwrap_or_default()
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
        let Self { canon, forecasts, keeps, room, savings, .. } = self;
        let of = |ix| canon.of(ix);
        let unknown = producers_first(graph, nodes, of, |ix| forecasts.of(ix).is_some());
        for ix in unknown {
            forecasts.ask(graph, ix, &of);
        }
        let mut problem = Problem::new(&Setting { graph, canon: &of, forecasts, keeps: *keeps }, nodes);
        let tasks = order(&problem);
        // What fits in no way is refused when the node asks for it: by then, more may have been given back.
        let (changes, _) = room.fit(&mut problem, &tasks);
        savings.extend(changes.into_iter().map(|c| (problem.tasks[c.task as usize].node, c.savings.into())));
        let Trace { before, peak, .. } = room.trace(&problem, &tasks);
        (tasks.iter().map(|task| problem.tasks[*task as usize].node).collect(), peak - before)
    }
}

/// What happens to weights that nobody uses any more.
#[derive(Clone, Debug, Default)]
pub(crate) struct Room {
    /// They stay until something needs their place.
    pub(crate) keeps_unused: bool,
    /// Bytes that may be held at once.
    pub(crate) budget: Option<u64>,
    /// Which savings may be chosen where a budget is too small.
    pub(crate) savings: Savings,
    /// Weights that are in memory before the run, and their bytes.
    pub(crate) residents: Vec<(ComponentKey, u64)>,
}

impl Room {
    /// What an order does to memory. Unused weights that stay give way at the budget.
    fn trace(&self, problem: &Problem, order: &[u32]) -> Trace {
        if !self.keeps_unused {
            // What a later step needs stays, and gives way only where the budget asks for it.
            let trace = simulate(problem, order, Idle::Goes);
            if self.budget.is_none_or(|budget| trace.peak <= budget) {
                return trace;
            }
        }
        let idle = self.budget.map_or(Idle::Stays, |budget| Idle::Yields { budget });
        simulate(problem, order, idle)
    }

    /// Has steps that the budget is too small for done in other ways.
    fn fit(&self, problem: &mut Problem, order: &[u32]) -> (Vec<Change>, Option<TooLarge>) {
        match self.budget {
            Some(budget) => fit(problem, order, budget, self.savings),
            None => (Vec::new(), None),
        }
    }

    /// A peak with the weights of earlier runs that this one does not use: they stay while there is room.
    fn with_idle(&self, peak: u64, problem: &Problem) -> u64 {
        let used = |key: &ComponentKey| problem.weights.iter().any(|spec| spec.key == *key);
        let idle: u64 = self.residents.iter().filter(|(key, _)| !used(key)).map(|(_, bytes)| bytes).sum();
        let cap = self.budget.map_or(u64::MAX, |budget| budget.max(peak));
        peak.saturating_add(idle).min(cap)
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
