//! What the outputs need, and which nodes are the same work.

use std::collections::HashMap;

use crate::cache::{BySignature, Signature, Signer};
use crate::graph::{Graph, NodeIx};

/// Everything that `roots` need, in the order in which ComfyUI comes upon it (the last input
/// first), so that equally good orders run as its users know them. `first` says whether the walk
/// has not come to a node before; the walk does not go beyond leaves.
pub(crate) fn discover(
    graph: &Graph,
    roots: &[NodeIx],
    lazy_too: bool,
    leaf: impl Fn(NodeIx) -> bool,
    mut first: impl FnMut(NodeIx) -> bool,
) -> Vec<NodeIx> {
    let mut found = Vec::new();
    let mut stack = Vec::new();
    for &root in roots {
        stack.push(root);
        while let Some(ix) = stack.pop() {
            if leaf(ix) || !first(ix) {
                continue;
            }
            found.push(ix);
            let links = graph.node(ix).inputs.iter().filter(|input| lazy_too || !input.lazy);
            stack.extend(links.filter_map(|input| input.link()).map(|(from, _)| from));
        }
    }
    found
}

/// Which node does the work of those that are equal to it: the one that was found first.
#[derive(Default)]
pub(crate) struct Canon {
    by_signature: HashMap<Signature, NodeIx, BySignature>,
    of: Vec<Option<NodeIx>>,
}

impl Canon {
    /// The node that does the work of `ix`; itself, if it was not assigned to another one.
    pub(crate) fn of(&self, ix: NodeIx) -> NodeIx {
        self.of.get(ix.index()).copied().flatten().unwrap_or(ix)
    }

    /// Has a node do its own work, whatever it equals.
    pub(crate) fn alone(&mut self, ix: NodeIx) {
        self.of.resize(self.of.len().max(ix.index() + 1), None);
        self.of[ix.index()] = Some(ix);
    }

    /// Finds the node that does the work of `ix`, which may be itself from now on.
    pub(crate) fn assign(&mut self, ix: NodeIx, signer: &Signer) -> NodeIx {
        if self.of.len() <= ix.index() {
            self.of.resize(ix.index() + 1, None);
        }
        *self.of[ix.index()].get_or_insert_with(|| *self.by_signature.entry(signer.of(ix)).or_insert(ix))
    }
}

/// `roots` and what they need, producers first, lazy inputs included.
pub(crate) fn producers_first(
    graph: &Graph,
    roots: &[NodeIx],
    canon: impl Fn(NodeIx) -> NodeIx,
    skip: impl Fn(NodeIx) -> bool,
) -> Vec<NodeIx> {
    let mut seen = std::collections::HashSet::with_capacity(roots.len());
    let mut order = Vec::with_capacity(roots.len());
    let mut path = Vec::new();
    for &root in roots {
        path.push((canon(root), false));
        while let Some((ix, done)) = path.pop() {
            if done {
                order.push(ix);
            } else if !skip(ix) && seen.insert(ix) {
                path.push((ix, true));
                let links = graph.node(ix).inputs.iter().filter_map(|input| input.link());
                path.extend(links.map(|(from, _)| (canon(from), false)));
            }
        }
    }
    order
}
