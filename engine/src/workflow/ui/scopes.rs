//! Subgraphs, laid out: every instance of a definition that is emitted is a scope of its own.

use std::collections::HashMap;

use super::document::{Document, Mode};
use super::error::ConvertError;

/// The bounds within which a workflow converts.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How deep subgraphs may be nested.
    pub depth: usize,
    /// How many nodes there may be once subgraphs are expanded.
    pub nodes: usize,
    /// How many bytes of values may be written once subgraphs are expanded.
    pub bytes: usize,
    /// How many steps following all links may take.
    pub steps: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { depth: 32, nodes: 200_000, bytes: 256 << 20, steps: 50_000_000 }
    }
}

/// The root graph, or one instance of a definition.
pub(super) struct Scope {
    /// Its graph in the document.
    pub(super) graph: usize,
    /// The scope that holds the instance, and the instance's index there; none for the root.
    pub(super) parent: Option<(usize, usize)>,
    /// The instance's ids from the root on, each followed by `:`.
    pub(super) path: String,
    /// Expanded instances in this scope by index, and their scopes.
    pub(super) children: HashMap<usize, usize>,
    depth: usize,
}

/// Expands instances, the root first.
pub(super) fn lay_out(document: &Document<'_>, limits: &Limits) -> Result<Vec<Scope>, ConvertError> {
    let mut scopes =
        vec![Scope { graph: 0, parent: None, path: String::new(), children: HashMap::new(), depth: 0 }];
    let mut nodes = 0;
    let mut next = 0;
    while next < scopes.len() {
        let graph = &document.graphs[scopes[next].graph];
        nodes += graph.nodes.len();
        if nodes > limits.nodes {
            return Err(ConvertError::TooManyNodes { limit: limits.nodes });
        }
        for (index, node) in graph.nodes.iter().enumerate() {
            let Some(definition) = document.definition(node.class) else { continue };
            // The newest front end drops what is inside a muted or bypassed instance of the root
            // graph. Deeper ones it expands all the same: links pass them by, but their nodes run.
            if next == 0 && node.mode != Mode::Active {
                continue;
            }
            let here = &scopes[next];
            let path = format!("{}{}", here.path, node.id);
            if encloses(&scopes, next, definition) {
                let name = document.graphs[definition].name.to_owned();
                return Err(ConvertError::RecursiveSubgraph { name, path });
            }
            let depth = here.depth + 1;
            if depth > limits.depth {
                return Err(ConvertError::TooDeep { path, limit: limits.depth });
            }
            // Instances of empty definitions cost as well.
            nodes += 1;
            let child = scopes.len();
            scopes.push(Scope {
                graph: definition,
                parent: Some((next, index)),
                path: path + ":",
                children: HashMap::new(),
                depth,
            });
            scopes[next].children.insert(index, child);
        }
        next += 1;
    }
    Ok(scopes)
}

/// Whether a scope is, or lies in, an instance of a definition.
fn encloses(scopes: &[Scope], mut scope: usize, definition: usize) -> bool {
    loop {
        if scopes[scope].graph == definition {
            return true;
        }
        match scopes[scope].parent {
            Some((parent, _)) => scope = parent,
            None => return false,
        }
    }
}
