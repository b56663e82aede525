//! Following a link to what feeds it: through reroutes, bypassed nodes and subgraph boundaries.

use std::collections::{HashMap, HashSet};

use serde_json::Value as Json;

use super::bypass;
use super::catalog::Catalog;
use super::document::{Document, Mode, Node, Origin};
use super::error::ConvertError;
use super::promoted::{Fed, Promoted};
use super::scopes::{Limits, Scope};

/// What feeds an input in the end.
#[derive(Clone, Debug)]
pub(super) enum Source<'a> {
    /// An output of a node that is emitted.
    Output { scope: usize, node: usize, slot: usize },
    /// A value: of a primitive node, or of a widget that a subgraph's instance shows.
    Value(&'a Json),
    /// Nothing: the input keeps its own value, or has none.
    Nothing,
}

/// An output slot wanted by an input of some type; the type decides the way through bypassed nodes.
type Key = (usize, usize, usize, usize);

/// Follows links, remembering what it found.
pub(super) struct Follower<'d, 'a> {
    document: &'d Document<'a>,
    scopes: &'d [Scope],
    catalog: &'d Catalog,
    promoted: Promoted,
    /// What each instance gives to the inputs of its definition, by scope.
    fed: HashMap<usize, Vec<Fed<'a>>>,
    kinds: HashMap<String, usize>,
    known: HashMap<Key, Source<'a>>,
    limit: usize,
    steps: usize,
}

impl<'d, 'a> Follower<'d, 'a> {
    pub(super) fn new(
        document: &'d Document<'a>,
        scopes: &'d [Scope],
        catalog: &'d Catalog,
        limits: &Limits,
    ) -> Self {
        Self {
            document,
            scopes,
            catalog,
            promoted: Promoted::default(),
            fed: HashMap::new(),
            kinds: HashMap::new(),
            known: HashMap::new(),
            limit: limits.steps,
            steps: 0,
        }
    }

    /// What feeds an input that has a link, wanted as a type.
    pub(super) fn follow(
        &mut self,
        scope: usize,
        link: i64,
        wanted: &str,
    ) -> Result<Source<'a>, ConvertError> {
        let next = self.kinds.len();
        let kind = *self.kinds.entry(wanted.to_owned()).or_insert(next);
        let mut path = Vec::new();
        let mut seen = HashSet::new();
        let mut at = Some((scope, link));
        let mut bypassed = false;
        let mut found = Source::Nothing;
        while let Some((scope, link)) = at {
            self.charge(1)?;
            let (node, slot) = match self.document.graphs[self.scopes[scope].graph].origin(link) {
                Origin::Missing => break,
                Origin::GraphInput(port) => match self.outwards(scope, port)? {
                    Some((parent, Fed::Link(link))) => {
                        at = Some((parent, link));
                        continue;
                    }
                    Some((_, Fed::Value(value))) => {
                        found = Source::Value(value);
                        break;
                    }
                    Some((_, Fed::Nothing)) | None => break,
                },
                Origin::Node(node, slot) => (node, slot),
            };
            let key = (scope, node, slot, kind);
            if let Some(known) = self.known.get(&key) {
                found = known.clone();
                break;
            }
            if !seen.insert(key) {
                let (path, id) = (&self.scopes[scope].path, &self.node(scope, node).id);
                return Err(ConvertError::LinkCycle { path: format!("{path}{id}") });
            }
            path.push(key);
            self.charge(self.node(scope, node).inputs.len())?;
            at = self.step(scope, node, slot, wanted, &mut found, &mut bypassed);
        }
        // A primitive writes into the widgets that it is wired to; through a bypassed node it is not.
        if bypassed && matches!(found, Source::Value(_)) {
            found = Source::Nothing;
        }
        for key in path {
            self.known.insert(key, found.clone());
        }
        Ok(found)
    }

    /// From an output slot to the link to follow next, or to what was found.
    fn step(
        &self,
        scope: usize,
        index: usize,
        slot: usize,
        wanted: &str,
        found: &mut Source<'a>,
        bypassed: &mut bool,
    ) -> Option<(usize, i64)> {
        let node = self.node(scope, index);
        if node.is_primitive() {
            // Muting does not stop it: its value is written before modes are looked at.
            *found = node.positional().first().map_or(Source::Nothing, Source::Value);
            return None;
        }
        match node.mode {
            Mode::Muted => None,
            Mode::Bypassed => {
                *bypassed = true;
                bypass::input_for(node, slot, wanted, self.catalog).map(|link| (scope, link))
            }
            Mode::Active if node.is_note() => None,
            Mode::Active if node.is_reroute() => Some((scope, node.inputs.first()?.link?)),
            Mode::Active => {
                if let Some(&child) = self.scopes[scope].children.get(&index) {
                    let link = self.document.graphs[self.scopes[child].graph].output_link(slot)?;
                    return Some((child, link));
                }
                *found = Source::Output { scope, node: index, slot };
                None
            }
        }
    }

    /// From a subgraph's input to what the instance is given there, and the scope that it is in.
    fn outwards(&mut self, scope: usize, port: usize) -> Result<Option<(usize, Fed<'a>)>, ConvertError> {
        let Some((parent, instance)) = self.scopes[scope].parent else { return Ok(None) };
        if let Some(fed) = self.fed.get(&scope) {
            return Ok(fed.get(port).map(|fed| (parent, *fed)));
        }
        let node = self.node(parent, instance);
        let graph = self.scopes[scope].graph;
        self.charge(node.inputs.len() + self.document.graphs[graph].inputs.len())?;
        // Editors keep an instance's own values for instances in the root graph only; inside
        // another subgraph the definition's values stand.
        let own_values = self.scopes[parent].parent.is_none();
        let fed = self.promoted.feed(self.document, self.catalog, node, graph, own_values);
        let found = fed.get(port).map(|fed| (parent, *fed));
        self.fed.insert(scope, fed);
        Ok(found)
    }

    fn node(&self, scope: usize, index: usize) -> &'d Node<'a> {
        &self.document.graphs[self.scopes[scope].graph].nodes[index]
    }

    fn charge(&mut self, steps: usize) -> Result<(), ConvertError> {
        self.steps += steps;
        if self.steps > self.limit {
            return Err(ConvertError::LinksTooLong { limit: self.limit });
        }
        Ok(())
    }
}
