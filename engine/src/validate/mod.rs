//! A workflow checked against the schemas: every error at once, or a [`Graph`].
//!
//! The walk starts at each output node and follows links to their producers with a stack of its
//! own, so that a chain of any length is checked. Each node is checked once. Codes, messages and
//! details are ComfyUI's, because clients read them; [`Rejection::explain`] words them for people.

mod check;
mod coerce;
mod explain;
mod grown;
mod issue;
mod report;
mod text;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

pub use issue::{Dangling, Issue, IssueKind};
pub use report::{NodeErrors, NodeIssues, Rejection, UnknownClass, Validated};

use crate::graph::Graph;
use crate::registry::Registry;
use crate::workflow::{InputValue, NodeId, Workflow};
use check::{Checked, Checker};
pub(crate) use grown::{coerce_literals, objection};

/// Checks a workflow. With `targets`, only those of its output nodes are to run.
///
/// Literals of the nodes that the outputs need are coerced to their declared types; the rest of
/// the workflow stays as it is.
///
/// # Errors
/// Where no output can run, with everything that is wrong.
pub async fn validate(
    workflow: Workflow,
    registry: &Registry,
    targets: Option<&[NodeId]>,
) -> Result<Validated, Rejection> {
    if let Some(mut rejection) = check_classes(&workflow, registry) {
        rejection.beside = check_rest(workflow, registry, &rejection.unknown).await;
        return Err(rejection);
    }
    let targets: Option<HashSet<&NodeId>> = targets.map(|targets| targets.iter().collect());
    let wanted: Vec<usize> = workflow
        .nodes
        .iter()
        .enumerate()
        .filter(|(_, (id, node))| {
            let class = node.class_type.as_deref().and_then(|class| registry.get(class));
            class.is_some_and(|class| class.schema.output_node)
                && targets.as_ref().is_none_or(|targets| targets.contains(id))
        })
        .map(|(place, _)| place)
        .collect();
    if wanted.is_empty() {
        return Err(Rejection::new("prompt_no_outputs", "Prompt has no outputs", ""));
    }

    let mut checker = Checker::new(workflow, registry);
    let mut passed = Vec::new();
    let mut failed = Vec::new();
    for output in wanted {
        if checker.check(output).await { passed.push(output) } else { failed.push(output) }
    }
    let Checked { workflow, issues, cycles } = checker.finish();
    let node_errors = collect(&workflow, issues, &failed);
    if passed.is_empty() {
        let own = failed.iter().filter_map(|output| {
            let (id, _) = workflow.nodes.get_index(*output)?;
            node_errors.0.get(id)
        });
        let details: Vec<String> = own
            .flat_map(|node| &node.issues)
            .map(|issue| format!("{}: {}", issue.message(), issue.details()))
            .collect();
        let mut rejection = Rejection::new(
            "prompt_outputs_failed_validation",
            "Prompt outputs failed validation",
            details.join("\n"),
        );
        rejection.node_errors = node_errors;
        rejection.cycles = cycles;
        return Err(rejection);
    }
    let id = |place: &usize| workflow.nodes.get_index(*place).map(|(id, _)| id.clone());
    let outputs: Vec<NodeId> = passed.iter().filter_map(id).collect();
    let workflow = Arc::new(workflow);
    let graph = Graph::build(workflow.clone(), registry, &outputs);
    Ok(Validated { workflow, graph, outputs, node_errors })
}

/// One node without a known class rejects the whole workflow, needed or not.
fn check_classes(workflow: &Workflow, registry: &Registry) -> Option<Rejection> {
    let mut unknown = Vec::new();
    for (id, node) in &workflow.nodes {
        let class = node.class_type.as_deref();
        if class.is_some_and(|class| registry.get(class).is_some()) {
            continue;
        }
        let known = || registry.iter().map(|class| class.schema.class.as_str());
        let suggestion = class.and_then(|class| text::closest(class, known())).map(str::to_owned);
        unknown.push(UnknownClass { id: id.clone(), class: class.map(str::to_owned), suggestion });
    }
    // ComfyUI's answer names the first.
    let first = unknown.first()?;
    let message = match &first.class {
        None => "Cannot execute because a node is missing the class_type property.".to_owned(),
        Some(class) => format!("Cannot execute because node {class} does not exist."),
    };
    let mut rejection = Rejection::new("invalid_prompt", message, format!("Node ID '#{}'", first.id));
    rejection.unknown = unknown;
    Some(rejection)
}

/// What is wrong with the nodes that are known: those that outputs and unknown nodes need.
async fn check_rest(workflow: Workflow, registry: &Registry, unknown: &[UnknownClass]) -> NodeErrors {
    let outputs = workflow.nodes.iter().enumerate().filter(|(_, (_, node))| {
        let class = node.class_type.as_deref().and_then(|class| registry.get(class));
        class.is_some_and(|class| class.schema.output_node)
    });
    let links = unknown.iter().filter_map(|unknown| workflow.nodes.get(&unknown.id));
    let links = links.flat_map(|node| node.inputs.values()).filter_map(InputValue::link);
    let needed = links.filter_map(|link| workflow.nodes.get_index_of(&link.node));
    let roots: Vec<usize> = outputs.map(|(place, _)| place).chain(needed).collect();
    let mut checker = Checker::new(workflow, registry);
    for root in &roots {
        checker.check(*root).await;
    }
    let Checked { workflow, issues, .. } = checker.finish();
    collect(&workflow, issues, &[])
}

/// Nodes that are come upon while it is found out which failed outputs need which wrong node. Thousands of outputs on
/// thousands of wrong nodes are the square of the workflow; a refusal of that size then names some of them.
const WALK: usize = 1_000_000;

/// Issues by node, each with the failed outputs that need the node.
fn collect(workflow: &Workflow, issues: BTreeMap<usize, Vec<Issue>>, failed: &[usize]) -> NodeErrors {
    let mut errors = NodeErrors::default();
    for (place, issues) in issues {
        if let Some((id, node)) = workflow.nodes.get_index(place) {
            let class = node.class_type.clone().unwrap_or_default();
            errors.0.insert(id.clone(), NodeIssues { class, issues, dependent_outputs: Vec::new() });
        }
    }
    if errors.is_empty() {
        return errors;
    }
    let mut walked = 0;
    for output in failed {
        let mut seen = HashSet::from([*output]);
        let mut stack = vec![*output];
        while let Some(place) = stack.pop() {
            walked += 1;
            if walked > WALK {
                return errors;
            }
            let Some((id, node)) = workflow.nodes.get_index(place) else { continue };
            if let Some(entry) = errors.0.get_mut(id)
                && let Some((output, _)) = workflow.nodes.get_index(*output)
            {
                entry.dependent_outputs.push(output.clone());
            }
            for value in node.inputs.values() {
                if let Some(link) = value.link()
                    && let Some(next) = workflow.nodes.get_index_of(&link.node)
                    && seen.insert(next)
                {
                    stack.push(next);
                }
            }
        }
    }
    errors
}
