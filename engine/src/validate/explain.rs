//! What is wrong, in words for a person at a terminal.

use std::fmt::Write;

use serde_json::Value as Json;

use super::issue::{Dangling, Issue, IssueKind};
use super::report::{NodeErrors, NodeIssues, Rejection, UnknownClass};
use super::text;
use crate::workflow::{NodeId, Workflow};

impl Rejection {
    /// What is wrong and what to do, a line for each thing.
    pub fn explain(&self, workflow: &Workflow) -> String {
        let mut out = match self.unknown.as_slice() {
            [] => self.to_string(),
            _ => "the workflow has nodes that ebb does not have".to_owned(),
        };
        if self.code == "prompt_no_outputs" {
            out.push_str(": nothing would be saved or shown; add a node such as SaveImage");
        }
        out.push('\n');
        for UnknownClass { id, class, suggestion } in &self.unknown {
            let title = workflow.nodes.get(id).and_then(|node| node.title());
            let title = title.map(|title| format!(" \"{title}\"")).unwrap_or_default();
            let _ = match class {
                Some(class) => write!(out, "  node #{id}{title} is a `{class}`"),
                None => write!(out, "  node #{id}{title} has no `class_type`"),
            };
            if let Some(suggestion) = suggestion {
                let _ = write!(out, "; did you mean `{suggestion}`?");
            }
            out.push('\n');
        }
        for cycle in &self.cycles {
            let ids: Vec<String> = cycle.iter().map(|id| name(id, workflow)).collect();
            let _ = writeln!(out, "  these nodes need each other: {}; cut one link", ids.join(" → "));
        }
        out + &self.node_errors.explain(workflow) + &self.beside.explain(workflow)
    }
}

impl NodeErrors {
    /// What is wrong and what to do, a line for each thing.
    pub fn explain(&self, workflow: &Workflow) -> String {
        let mut out = String::new();
        for (id, node) in &self.0 {
            let _ = writeln!(out, "  node {}:", name(id, workflow));
            for issue in &node.issues {
                let _ = writeln!(out, "    {}", issue.explain(id, node, workflow));
            }
        }
        out
    }
}

fn name(id: &NodeId, workflow: &Workflow) -> String {
    let node = workflow.nodes.get(id);
    let class = node.and_then(|node| node.class_type.as_deref()).unwrap_or("?");
    match node.and_then(|node| node.title()).filter(|title| *title != class) {
        Some(title) => format!("#{id} \"{title}\" ({class})"),
        None => format!("#{id} ({class})"),
    }
}

impl Issue {
    fn explain(&self, id: &NodeId, node: &NodeIssues, workflow: &Workflow) -> String {
        let input = self.input.as_deref().unwrap_or("");
        match &self.kind {
            IssueKind::Missing => {
                let given = workflow.nodes.get(id).map(|node| &node.inputs);
                let names = given.into_iter().flat_map(|inputs| inputs.keys().map(String::as_str));
                let hint = match text::closest(input, names) {
                    Some(close) => format!(" (`{close}` is given, which {} does not take)", node.class),
                    None => String::new(),
                };
                format!("`{input}` is required and missing{hint}")
            }
            IssueKind::BadLink { received } => {
                format!(
                    "`{input}` holds the list {received}: a link is [\"node id\", output number]; a list of \
                     values is written {{\"__value__\": […]}}"
                )
            }
            IssueKind::WrongType { expected, received, link } => format!(
                "`{input}` takes {}, but output {} of node {} is {}",
                text::plain(expected),
                link.slot,
                name(&link.node, workflow),
                text::plain(received)
            ),
            IssueKind::NotConvertible { expected, reason, .. } => {
                format!("`{input}` takes {expected}: {reason}")
            }
            IssueKind::TooSmall { received, min } => {
                format!("`{input}` is {received}, but must be at least {min}")
            }
            IssueKind::TooBig { received, max } => {
                format!("`{input}` is {received}, but must be at most {max}")
            }
            IssueKind::NotInList { received, choices } => not_in_list(input, received, choices),
            IssueKind::Refused { reason } => match reason {
                Some(reason) => format!("`{input}` was refused: {reason}"),
                None => format!("`{input}` was refused by the node"),
            },
            IssueKind::Dangling { dangling: Dangling::Node { input, id }, .. } => {
                let there = id.as_str().map(NodeId::from).filter(|id| workflow.nodes.contains_key(id));
                match there {
                    Some(id) => format!(
                        "`{input}` links to node {}, but not to an output of it: outputs are numbers from 0",
                        name(&id, workflow)
                    ),
                    None => format!("`{input}` links to node {id}, which does not exist"),
                }
            }
            IssueKind::Dangling { dangling: Dangling::Slot { input, link, outputs }, .. } => format!(
                "`{input}` links to output {} of node {}, which has {outputs} (counted from 0)",
                link.slot,
                name(&link.node, workflow)
            ),
        }
    }
}

fn not_in_list(input: &str, received: &Json, choices: &[Json]) -> String {
    if choices.is_empty() {
        return format!("`{input}` is {received}, but there is nothing to choose from: no such files yet");
    }
    let close = text::closest(&text::plain(received), choices.iter().filter_map(Json::as_str));
    let hint = match close {
        Some(close) => format!("did you mean \"{close}\"?"),
        None if choices.len() <= 8 => {
            let listed: Vec<String> = choices.iter().map(Json::to_string).collect();
            format!("expected one of {}", listed.join(", "))
        }
        None => format!("it is none of the {} values", choices.len()),
    };
    format!("`{input}` is {received}: {hint}")
}
