//! A UI workflow as a document: nodes, links and subgraph definitions, read but not yet understood.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value as Json};

use super::error::ConvertError;
use crate::workflow::json_kind;

/// The node id that stands for a subgraph's own inputs.
const INPUT_NODE: &str = "-10";
/// The node id that stands for a subgraph's own outputs.
const OUTPUT_NODE: &str = "-20";

/// A whole file: the root graph first, then the subgraph definitions.
pub(super) struct Document<'a> {
    pub(super) graphs: Vec<Graph<'a>>,
    definitions: HashMap<&'a str, usize>,
}

/// One graph: the root, or a subgraph's definition.
pub(super) struct Graph<'a> {
    pub(super) name: &'a str,
    pub(super) nodes: Vec<Node<'a>>,
    /// The subgraph's inputs; empty for the root.
    pub(super) inputs: Vec<Port<'a>>,
    by_id: HashMap<String, usize>,
    links: HashMap<i64, Origin>,
    /// Which link feeds each output of the subgraph.
    outputs: HashMap<usize, i64>,
    /// Which node and input each link ends at, as the nodes tell it.
    ends: HashMap<i64, (usize, usize)>,
}

/// An input of a subgraph.
pub(super) struct Port<'a> {
    pub(super) name: &'a str,
    /// Where it leads inside: node index and input index.
    pub(super) targets: Vec<(usize, usize)>,
}

/// Where a link comes from.
#[derive(Clone, Copy)]
pub(super) enum Origin {
    /// An output slot of a node, by its index in the graph.
    Node(usize, usize),
    /// An input of the subgraph that the link is in.
    GraphInput(usize),
    /// A node that is not there.
    Missing,
}

/// What a node does when it is its turn.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Active,
    Muted,
    Bypassed,
}

/// A node of a graph.
pub(super) struct Node<'a> {
    /// Its id in the prompt, within its graph.
    pub(super) id: String,
    /// Its id in the file.
    pub(super) file_id: String,
    pub(super) class: &'a str,
    pub(super) mode: Mode,
    pub(super) title: Option<&'a str>,
    pub(super) inputs: Vec<Slot<'a>>,
    pub(super) output_kinds: Vec<Cow<'a, str>>,
    pub(super) values: Values<'a>,
    pub(super) properties: Option<&'a Map<String, Json>>,
}

/// An input slot of a node.
pub(super) struct Slot<'a> {
    pub(super) name: &'a str,
    pub(super) kind: Cow<'a, str>,
    pub(super) link: Option<i64>,
    /// The file says that it is the socket of a widget.
    pub(super) widget: bool,
}

/// The widget values of a node.
pub(super) enum Values<'a> {
    Positional(&'a [Json]),
    Named(&'a Map<String, Json>),
}

impl<'a> Document<'a> {
    pub(super) fn read(json: &'a Json) -> Result<Self, ConvertError> {
        let root = object(json, || "the workflow".into())?;
        let mut document =
            Self { graphs: vec![Graph::read(root, "the workflow")?], definitions: HashMap::new() };
        let definitions = root.get("definitions").and_then(|d| d.get("subgraphs"));
        for (i, json) in list(definitions, || "definitions.subgraphs".into())?.iter().enumerate() {
            let at = || format!("definitions.subgraphs[{i}]");
            let graph = object(json, at)?;
            let Some(id) = graph.get("id").and_then(Json::as_str) else {
                return Err(shape(at() + ".id", "a string", graph.get("id").unwrap_or(&Json::Null)));
            };
            let name = graph.get("name").and_then(Json::as_str).unwrap_or(id);
            if document.definitions.insert(id, document.graphs.len()).is_some() {
                return Err(ConvertError::DuplicateSubgraph { id: id.into() });
            }
            document.graphs.push(Graph::read(graph, name)?);
        }
        let last = root.get("last_node_id").or_else(|| json.pointer("/state/lastNodeId"));
        document.renumber(last.and_then(whole).unwrap_or(0));
        Ok(document)
    }

    /// Gives nodes of definitions whose id another graph has already the next free number, as the
    /// newest front end does on loading. It shows in the prompt's ids.
    fn renumber(&mut self, mut last: i64) {
        let mut used = HashSet::new();
        for (index, graph) in self.graphs.iter_mut().enumerate() {
            for node in &mut graph.nodes {
                if index > 0 && used.contains(&node.id) {
                    node.id = loop {
                        last = last.saturating_add(1);
                        let id = last.to_string();
                        if !used.contains(&id) || last == i64::MAX {
                            break id;
                        }
                    };
                } else if let (true, Ok(number)) = (index > 0, node.id.parse::<i64>()) {
                    last = last.max(number);
                }
                used.insert(node.id.clone());
            }
        }
    }

    /// The definition that a node is an instance of.
    pub(super) fn definition(&self, class: &str) -> Option<usize> {
        self.definitions.get(class).copied()
    }
}

impl<'a> Graph<'a> {
    fn read(json: &'a Map<String, Json>, name: &'a str) -> Result<Self, ConvertError> {
        let mut nodes = Vec::new();
        let mut by_id = HashMap::new();
        let mut ends = HashMap::new();
        for (i, node) in list(json.get("nodes"), || format!("nodes of {name}"))?.iter().enumerate() {
            let node = Node::read(node, || format!("nodes[{i}] of {name}"))?;
            if by_id.insert(node.id.clone(), i).is_some() {
                return Err(ConvertError::DuplicateNode { id: node.id, graph: name.into() });
            }
            for (input, slot) in node.inputs.iter().enumerate() {
                // The slot index in a link may be of another version of the node; the link's id counts.
                if let Some(link) = slot.link {
                    ends.entry(link).or_insert((i, input));
                }
            }
            nodes.push(node);
        }
        let mut graph = Self {
            name,
            nodes,
            ends,
            by_id,
            inputs: Vec::new(),
            links: HashMap::new(),
            outputs: HashMap::new(),
        };
        for port in list(json.get("inputs"), || format!("inputs of {name}"))? {
            let name = port.get("name").and_then(Json::as_str).unwrap_or("");
            graph.inputs.push(Port { name, targets: Vec::new() });
        }
        for link in list(json.get("links"), || format!("links of {name}"))? {
            graph.read_link(link);
        }
        Ok(graph)
    }

    /// Links are lists (version 0.4) or objects (version 1, and in subgraphs). The editor drops
    /// what it cannot read, and so do we: the input is then unlinked.
    fn read_link(&mut self, json: &Json) {
        let field = |index: usize, name: &str| match json {
            Json::Array(items) => items.get(index),
            _ => json.get(name),
        };
        let slot = |index, name| field(index, name).and_then(whole).and_then(|s| usize::try_from(s).ok());
        let Some(id) = field(0, "id").and_then(whole) else { return };
        let from = field(1, "origin_id").and_then(node_id).unwrap_or_default();
        let (Some(from_slot), Some(to_slot)) = (slot(2, "origin_slot"), slot(4, "target_slot")) else {
            return;
        };
        let to = field(3, "target_id").and_then(node_id).unwrap_or_default();
        let origin = match (from.as_str(), self.by_id.get(&from)) {
            (INPUT_NODE, _) => Origin::GraphInput(from_slot),
            (_, Some(&node)) => Origin::Node(node, from_slot),
            (_, None) => Origin::Missing,
        };
        if to == OUTPUT_NODE {
            self.outputs.entry(to_slot).or_insert(id);
        } else if let (Origin::GraphInput(port), Some(&end)) = (origin, self.ends.get(&id))
            && let Some(port) = self.inputs.get_mut(port)
        {
            port.targets.push(end);
        }
        self.links.insert(id, origin);
    }

    /// Where a link comes from.
    pub(super) fn origin(&self, link: i64) -> Origin {
        self.links.get(&link).copied().unwrap_or(Origin::Missing)
    }

    /// The link that feeds an output of the subgraph.
    pub(super) fn output_link(&self, slot: usize) -> Option<i64> {
        self.outputs.get(&slot).copied()
    }
}

impl<'a> Node<'a> {
    fn read(json: &'a Json, at: impl Fn() -> String) -> Result<Self, ConvertError> {
        let node = object(json, &at)?;
        let Some(id) = node.get("id").and_then(node_id) else {
            let found = node.get("id").unwrap_or(&Json::Null);
            return Err(shape(at() + ".id", "a whole number or a string of at most 128 bytes", found));
        };
        let Some(class) = node.get("type").and_then(Json::as_str) else {
            let found = node.get("type").unwrap_or(&Json::Null);
            return Err(shape(at() + ".type", "a string", found));
        };
        let inputs = list(node.get("inputs"), || at() + ".inputs")?;
        let outputs = list(node.get("outputs"), || at() + ".outputs")?;
        Ok(Self {
            file_id: id.clone(),
            id,
            class,
            mode: match node.get("mode").and_then(whole) {
                Some(2) => Mode::Muted,
                Some(4) => Mode::Bypassed,
                _ => Mode::Active,
            },
            title: node.get("title").and_then(Json::as_str),
            inputs: inputs.iter().map(Slot::read).collect(),
            output_kinds: outputs.iter().map(|o| kind(o.get("type"))).collect(),
            values: match node.get("widgets_values") {
                Some(Json::Object(map)) => Values::Named(map),
                Some(Json::Array(values)) => Values::Positional(values),
                _ => Values::Positional(&[]),
            },
            properties: node.get("properties").and_then(Json::as_object),
        })
    }

    /// The values by position; none where they are stored by name.
    pub(super) fn positional(&self) -> &'a [Json] {
        match self.values {
            Values::Positional(values) => values,
            Values::Named(_) => &[],
        }
    }

    /// Drawn by the editor, computed by nobody.
    pub(super) fn is_note(&self) -> bool {
        matches!(self.class, "Note" | "MarkdownNote")
    }

    /// Passes its input on.
    pub(super) fn is_reroute(&self) -> bool {
        self.class == "Reroute"
    }

    /// Holds one value for the widgets that it is wired to.
    pub(super) fn is_primitive(&self) -> bool {
        self.class == "PrimitiveNode"
    }
}

impl<'a> Slot<'a> {
    fn read(json: &'a Json) -> Self {
        Self {
            name: json.get("name").and_then(Json::as_str).unwrap_or(""),
            kind: kind(json.get("type")),
            link: json.get("link").and_then(whole),
            widget: json.get("widget").is_some_and(Json::is_object),
        }
    }
}

/// A slot's type. Lists are unions, and whatever is no type fits everything.
fn kind(json: Option<&Json>) -> Cow<'_, str> {
    match json {
        Some(Json::String(kind)) => Cow::Borrowed(kind),
        Some(Json::Array(_)) => Cow::Borrowed("COMBO"),
        _ => Cow::Borrowed("*"),
    }
}

/// A node's id: a whole number or a string. Ids add up to paths, so that long ones are refused.
fn node_id(json: &Json) -> Option<String> {
    match json {
        Json::String(id) => Some(id.clone()).filter(|id| id.len() <= 128),
        other => whole(other).map(|id| id.to_string()),
    }
}

fn whole(json: &Json) -> Option<i64> {
    // JavaScript writes 3 and 3.0 alike; 2^53 bounds what it can count.
    json.as_i64().or_else(|| json.as_f64().filter(|n| n.fract() == 0.0 && n.abs() < 9e15).map(|n| n as i64))
}

fn list(json: Option<&Json>, at: impl Fn() -> String) -> Result<&[Json], ConvertError> {
    match json {
        None | Some(Json::Null) => Ok(&[]),
        Some(Json::Array(items)) => Ok(items),
        Some(other) => Err(shape(at(), "an array", other)),
    }
}

fn object(json: &Json, at: impl Fn() -> String) -> Result<&Map<String, Json>, ConvertError> {
    json.as_object().ok_or_else(|| shape(at(), "an object", json))
}

fn shape(at: String, expected: &'static str, found: &Json) -> ConvertError {
    ConvertError::Shape { at, expected, found: json_kind(found) }
}
