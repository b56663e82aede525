//! One thing that is wrong with one node.

use serde_json::{Map, Value as Json, json};

use super::text;
use crate::schema::Input;
use crate::workflow::Link;

/// Above so many options a message does not repeat them.
const LISTED_OPTIONS: usize = 20;

/// One thing that is wrong with one node.
#[derive(Clone, Debug)]
pub struct Issue {
    /// The input that it is about, if one.
    pub input: Option<String>,
    /// `[TYPE, OPTIONS]` of that input.
    pub config: Option<Json>,
    /// What is wrong.
    pub kind: IssueKind,
}

/// What is wrong.
#[derive(Clone, Debug)]
pub enum IssueKind {
    /// A required input is not there.
    Missing,
    /// A bare list that is no link.
    BadLink {
        /// The list.
        received: Json,
    },
    /// A link brings another type.
    WrongType {
        /// The type that the input takes.
        expected: Json,
        /// The type that the link brings.
        received: Json,
        /// The link.
        link: Link,
    },
    /// A literal cannot be read as the declared type.
    NotConvertible {
        /// The type that the input takes.
        expected: String,
        /// The literal.
        received: Json,
        /// Why not.
        reason: String,
    },
    /// Below the smallest allowed number.
    TooSmall {
        /// The number.
        received: Json,
        /// The bound.
        min: Json,
    },
    /// Above the largest allowed number.
    TooBig {
        /// The number.
        received: Json,
        /// The bound.
        max: Json,
    },
    /// Not one of a combo's values.
    NotInList {
        /// The value.
        received: Json,
        /// The values that are there.
        choices: Vec<Json>,
    },
    /// The node's own validator refused.
    Refused {
        /// Its reason.
        reason: Option<String>,
    },
    /// One of the node's own links leads nowhere.
    Dangling {
        /// The end that is not there.
        dangling: Dangling,
        /// The consumer's link through which validation came to this node; `input` and `config`
        /// are the consumer's then. `None` for an output node.
        via: Option<Link>,
    },
}

/// A link's end that is not there.
#[derive(Clone, Debug)]
pub enum Dangling {
    /// No such node.
    Node {
        /// The input that holds the link.
        input: String,
        /// The node as it was written.
        id: Json,
    },
    /// The node has fewer outputs.
    Slot {
        /// The input that holds the link.
        input: String,
        /// The link.
        link: Link,
        /// How many outputs there are.
        outputs: usize,
    },
}

impl Dangling {
    /// As ComfyUI words it, for clients that show it.
    fn wording(&self) -> (String, &'static str) {
        match self {
            Self::Node { id, .. } => (text::quoted(id), "KeyError"),
            Self::Slot { .. } => ("tuple index out of range".into(), "IndexError"),
        }
    }
}

impl Issue {
    pub(super) fn new(input: &Input, kind: IssueKind) -> Self {
        Self { input: Some(input.name.clone()), config: Some(input.config()), kind }
    }

    pub(super) fn named(input: &str, kind: IssueKind) -> Self {
        Self { input: Some(input.to_owned()), config: None, kind }
    }

    /// The stable code that clients know it by.
    pub fn code(&self) -> &'static str {
        match &self.kind {
            IssueKind::Missing => "required_input_missing",
            IssueKind::BadLink { .. } => "bad_linked_input",
            IssueKind::WrongType { .. } => "return_type_mismatch",
            IssueKind::NotConvertible { .. } => "invalid_input_type",
            IssueKind::TooSmall { .. } => "value_smaller_than_min",
            IssueKind::TooBig { .. } => "value_bigger_than_max",
            IssueKind::NotInList { .. } => "value_not_in_list",
            IssueKind::Refused { .. } => "custom_validation_failed",
            IssueKind::Dangling { via: Some(_), .. } => "exception_during_inner_validation",
            IssueKind::Dangling { via: None, .. } => "exception_during_validation",
        }
    }

    /// ComfyUI's message.
    pub fn message(&self) -> String {
        match &self.kind {
            IssueKind::Missing => "Required input is missing".into(),
            IssueKind::BadLink { .. } => {
                "Bad linked input, must be a length-2 list of [node_id, slot_index]".into()
            }
            IssueKind::WrongType { .. } => "Return type mismatch between linked nodes".into(),
            IssueKind::NotConvertible { expected, .. } => {
                format!("Failed to convert an input value to a {expected} value")
            }
            IssueKind::TooSmall { received, min } => {
                format!("Value {} smaller than min of {}", text::plain(received), text::plain(min))
            }
            IssueKind::TooBig { received, max } => {
                format!("Value {} bigger than max of {}", text::plain(received), text::plain(max))
            }
            IssueKind::NotInList { .. } => "Value not in list".into(),
            IssueKind::Refused { .. } => "Custom validation failed for node".into(),
            IssueKind::Dangling { via: Some(_), .. } => "Exception when validating inner node".into(),
            IssueKind::Dangling { via: None, .. } => "Exception when validating node".into(),
        }
    }

    /// ComfyUI's details.
    pub fn details(&self) -> String {
        let name = self.input.as_deref().unwrap_or("");
        match &self.kind {
            IssueKind::Missing
            | IssueKind::BadLink { .. }
            | IssueKind::TooSmall { .. }
            | IssueKind::TooBig { .. } => name.to_owned(),
            IssueKind::WrongType { expected, received, .. } => format!(
                "{name}, received_type({}) mismatch input_type({})",
                text::plain(received),
                text::plain(expected)
            ),
            IssueKind::NotConvertible { received, reason, .. } => {
                format!("{name}, {}, {reason}", text::plain(received))
            }
            IssueKind::NotInList { received, choices } if choices.len() > LISTED_OPTIONS => {
                format!("{name}: '{}' not in (list of length {})", text::plain(received), choices.len())
            }
            IssueKind::NotInList { received, choices } => {
                let listed = text::quoted(&Json::Array(choices.clone()));
                format!("{name}: '{}' not in {listed}", text::plain(received))
            }
            IssueKind::Refused { reason: Some(reason) } => format!("{name} - {reason}"),
            IssueKind::Refused { reason: None } => name.to_owned(),
            IssueKind::Dangling { dangling, .. } => dangling.wording().0,
        }
    }

    /// ComfyUI's `extra_info`.
    pub fn extra_info(&self) -> Json {
        let mut extra = Map::new();
        if let Some(input) = &self.input {
            extra.insert("input_name".into(), json!(input));
        }
        if let Some(config) = &self.config {
            let long =
                matches!(&self.kind, IssueKind::NotInList { choices, .. } if choices.len() > LISTED_OPTIONS);
            extra.insert("input_config".into(), if long { Json::Null } else { config.clone() });
        }
        let mut set = |name: &str, value: Json| extra.insert(name.into(), value);
        match &self.kind {
            IssueKind::Missing | IssueKind::Refused { .. } => {}
            IssueKind::BadLink { received }
            | IssueKind::TooSmall { received, .. }
            | IssueKind::TooBig { received, .. }
            | IssueKind::NotInList { received, .. } => {
                set("received_value", received.clone());
            }
            IssueKind::WrongType { received, link, .. } => {
                set("received_type", received.clone());
                set("linked_node", json!([link.node.as_str(), link.slot]));
            }
            IssueKind::NotConvertible { received, reason, .. } => {
                set("received_value", received.clone());
                set("exception_message", json!(reason));
            }
            IssueKind::Dangling { dangling, via } => {
                let (message, exception) = dangling.wording();
                if via.is_some() {
                    set("exception_message", json!(message));
                }
                set("exception_type", json!(exception));
                set("traceback", json!([]));
                if let Some(link) = via {
                    set("linked_node", json!([link.node.as_str(), link.slot]));
                }
            }
        }
        Json::Object(extra)
    }

    /// `{"type", "message", "details", "extra_info"}`.
    pub fn to_json(&self) -> Json {
        json!({
            "type": self.code(),
            "message": self.message(),
            "details": self.details(),
            "extra_info": self.extra_info(),
        })
    }
}
