//! Workflows: ComfyUI's API format (node id → class and inputs), and the ways to it.
//!
//! [`source`] finds a workflow in a file, [`png`] reads the texts of pictures, and [`ui`] converts
//! what the editor saves. [`sweep`] varies one along axes.
//!
//! Parsing is lenient where ComfyUI is (unknown keys are kept, `_meta` is carried along) and never
//! judges the content: that is validation's part, which sees every error at once.

pub mod png;
pub mod source;
pub mod sweep;
pub mod ui;

use std::fmt;
use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::{Map, Value as Json, json};

use crate::value::Value;

/// A node's id: any string in a workflow, dotted (`5.0.0.1`) where a node expanded into others.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(Arc<str>);

impl NodeId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<T: AsRef<str>> From<T> for NodeId {
    fn from(id: T) -> Self {
        Self(Arc::from(id.as_ref()))
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// One end of a wire: an output slot of a node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Link {
    /// The node that makes the value.
    pub node: NodeId,
    /// Which of its outputs, from 0.
    pub slot: usize,
}

/// What stands at a node's input.
#[derive(Clone, Debug)]
pub enum InputValue {
    /// A literal of the workflow.
    Literal(Json),
    /// A wire from another node.
    Link(Link),
    /// In a subgraph that a node expands into: a wire from a node that was there before, by its
    /// full id. (A [`Link`](Self::Link) to an id of the subgraph stays inside.)
    Outside(Link),
    /// A bare list that is no link (a list literal comes wrapped in `__value__`): an error when
    /// the input is checked.
    BadLink(Vec<Json>),
    /// A value that an expanding node put there; never in a file.
    Value(Value),
}

impl InputValue {
    /// Reads ComfyUI's form: `["id", slot]` is a link, `{"__value__": [...]}` a wrapped list
    /// literal, everything else a literal.
    pub fn from_json(json: Json) -> Self {
        match json {
            Json::Array(items) => match Link::from_json(&items) {
                Some(link) => Self::Link(link),
                None => Self::BadLink(items),
            },
            Json::Object(mut map) if map.len() == 1 && map.contains_key("__value__") => {
                Self::Literal(map.remove("__value__").unwrap_or_default())
            }
            other => Self::Literal(other),
        }
    }

    /// The wire, if there is one.
    pub fn link(&self) -> Option<&Link> {
        match self {
            Self::Link(link) | Self::Outside(link) => Some(link),
            Self::Literal(_) | Self::BadLink(_) | Self::Value(_) => None,
        }
    }

    /// ComfyUI's form again. A carried value prints as its type's name.
    pub fn to_json(&self) -> Json {
        match self {
            Self::Literal(Json::Array(items)) => json!({"__value__": items}),
            Self::Literal(json) => json.clone(),
            Self::BadLink(items) => Json::Array(items.clone()),
            Self::Link(link) | Self::Outside(link) => json!([link.node.as_str(), link.slot]),
            Self::Value(value) => match value.as_json() {
                Some(json) => json.clone(),
                None => json!(format!("{value:?}")),
            },
        }
    }
}

impl Link {
    /// A link to an output slot of a node.
    pub fn new(node: impl Into<NodeId>, slot: usize) -> Self {
        Self { node: node.into(), slot }
    }

    /// `["id", slot]`, and nothing else, is a link.
    fn from_json(items: &[Json]) -> Option<Self> {
        let [Json::String(node), Json::Number(slot)] = items else { return None };
        let slot = slot
            .as_u64()
            .or_else(|| slot.as_f64().filter(|s| s.fract() == 0.0 && *s >= 0.0).map(|s| s as u64))?;
        Some(Self { node: NodeId::from(node), slot: usize::try_from(slot).ok()? })
    }
}

/// A node of a workflow.
#[derive(Clone, Debug)]
pub struct WorkflowNode {
    /// The class, such as `KSampler`; absent in broken workflows.
    pub class_type: Option<String>,
    /// Inputs in the order of the file; undeclared ones are kept.
    pub inputs: IndexMap<String, InputValue>,
    /// `_meta` and whatever else the file holds.
    pub extra: Map<String, Json>,
}

impl WorkflowNode {
    /// A node of a class without inputs, to build expansions from.
    pub fn new(class_type: impl Into<String>) -> Self {
        Self { class_type: Some(class_type.into()), inputs: IndexMap::new(), extra: Map::new() }
    }

    /// Sets an input to a literal.
    pub fn literal(mut self, name: &str, value: impl Into<Json>) -> Self {
        self.inputs.insert(name.into(), InputValue::Literal(value.into()));
        self
    }

    /// Sets an input to a wire.
    pub fn link(mut self, name: &str, node: impl Into<NodeId>, slot: usize) -> Self {
        self.inputs.insert(name.into(), InputValue::Link(Link::new(node, slot)));
        self
    }

    /// In a subgraph that a node expands into: sets an input to a wire from a node that was there
    /// before.
    pub fn outside(mut self, name: &str, node: impl Into<NodeId>, slot: usize) -> Self {
        self.inputs.insert(name.into(), InputValue::Outside(Link::new(node, slot)));
        self
    }

    /// Sets an input to a value that is already there.
    pub fn value(mut self, name: &str, value: Value) -> Self {
        self.inputs.insert(name.into(), InputValue::Value(value));
        self
    }

    /// The title that a person gave the node, if any.
    pub fn title(&self) -> Option<&str> {
        self.extra.get("_meta")?.get("title")?.as_str()
    }
}

/// A workflow in API format, in the order of its file.
#[derive(Clone, Debug, Default)]
pub struct Workflow {
    /// The nodes by id.
    pub nodes: IndexMap<NodeId, WorkflowNode>,
}

/// Why a JSON value is no workflow.
#[derive(Debug, thiserror::Error)]
pub enum WorkflowError {
    /// The top level is not an object.
    #[error("a workflow is a JSON object of node id → node; found {found}")]
    NotAnObject {
        /// What stands there.
        found: &'static str,
    },
    /// A node is not an object.
    #[error("node {id:?}: a node is a JSON object with class_type and inputs; found {found}")]
    NodeNotAnObject {
        /// The node.
        id: NodeId,
        /// What stands there.
        found: &'static str,
    },
    /// `inputs` is not an object.
    #[error("node {id:?}: `inputs` is a JSON object of input name → value; found {found}")]
    InputsNotAnObject {
        /// The node.
        id: NodeId,
        /// What stands there.
        found: &'static str,
    },
}

/// The JSON kind of a value, for errors.
pub fn json_kind(json: &Json) -> &'static str {
    match json {
        Json::Null => "null",
        Json::Bool(_) => "a boolean",
        Json::Number(_) => "a number",
        Json::String(_) => "a string",
        Json::Array(_) => "an array",
        Json::Object(_) => "an object",
    }
}

impl Workflow {
    /// Reads the API format.
    ///
    /// # Errors
    /// Where the shape is not id → {class_type, inputs}. A missing or unknown class, a bad link or
    /// a wrong value is left to validation.
    pub fn from_json(json: Json) -> Result<Self, WorkflowError> {
        let Json::Object(map) = json else {
            return Err(WorkflowError::NotAnObject { found: json_kind(&json) });
        };
        let mut nodes = IndexMap::with_capacity(map.len());
        for (id, node) in map {
            let id = NodeId::from(id);
            let Json::Object(mut node) = node else {
                return Err(WorkflowError::NodeNotAnObject { id, found: json_kind(&node) });
            };
            let class_type = match node.shift_remove("class_type") {
                Some(Json::String(class)) => Some(class),
                _ => None,
            };
            let inputs = match node.shift_remove("inputs") {
                Some(Json::Object(inputs)) => inputs,
                None => Map::new(),
                Some(other) => {
                    return Err(WorkflowError::InputsNotAnObject { id, found: json_kind(&other) });
                }
            };
            let inputs = inputs.into_iter().map(|(k, v)| (k, InputValue::from_json(v))).collect();
            nodes.insert(id, WorkflowNode { class_type, inputs, extra: node });
        }
        Ok(Self { nodes })
    }

    /// The API format again: what PNGs and history carry.
    pub fn to_json(&self) -> Json {
        let nodes = self.nodes.iter().map(|(id, node)| {
            let inputs: Map<_, _> = node.inputs.iter().map(|(k, v)| (k.clone(), v.to_json())).collect();
            let mut map = Map::new();
            map.insert("inputs".into(), Json::Object(inputs));
            if let Some(class) = &node.class_type {
                map.insert("class_type".into(), json!(class));
            }
            map.extend(node.extra.clone());
            (id.as_str().to_owned(), Json::Object(map))
        });
        Json::Object(nodes.collect())
    }
}
