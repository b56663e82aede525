//! Nodes that expansions add: coerced as those of the workflow are, and checked before they run.

use serde_json::{Value as Json, json};

use super::check::out_of_bounds;
use super::coerce::{coerce, fits, kind_fits};
use super::issue::{Issue, IssueKind};
use crate::graph::{Graph, GraphNode, NodeIx, Source};
use crate::node::ValidatorScope;
use crate::schema::{Input, InputType, Section};
use crate::value::Value;
use crate::workflow::Link;

/// Turns the literals of a node into their declared types where that is possible; [`objection`] names the others.
/// Texts stay as they are: a node may put anything where a text is declared.
pub(crate) fn coerce_literals(node: &mut GraphNode) {
    for (declared, name) in node.class.schema.inputs.iter().zip(node.class.inputs.iter()) {
        if matches!(declared.kind, InputType::String) {
            continue;
        }
        let given = node.inputs.iter_mut().find(|given| given.name == *name);
        if let Some(Source::Value(value)) = given.map(|given| &mut given.source)
            && let Some(json) = value.as_json()
            && let Ok(coerced) = coerce(declared, json)
            && coerced != *json
        {
            *value = Value::plain(coerced);
        }
    }
}

/// The first thing that is wrong with a node of a graph, in words: an input that is missing, a value outside of its
/// range or list, a link or a carried value of another type.
pub(crate) fn objection(graph: &Graph, ix: NodeIx) -> Option<String> {
    let node = graph.node(ix);
    if node.spent {
        // Its values are gone, and it was checked when they were there.
        return None;
    }
    let scope = node.class.node.validator();
    for (declared, name) in node.class.schema.inputs.iter().zip(node.class.inputs.iter()) {
        let source = node.inputs.iter().find(|given| given.name == *name).map(|given| &given.source);
        let kind = match source {
            None if declared.section == Section::Required => Some(IssueKind::Missing),
            Some(Source::Wire { from, slot } | Source::Pair { from, slot, .. }) => {
                let types_are_its_own = scope.as_ref().is_some_and(|scope| scope.link_types);
                if types_are_its_own { None } else { wrong_link(graph, declared, *from, *slot) }
            }
            Some(Source::Value(Value::Plain(json))) => {
                // A node that takes lists may be given one.
                let list = node.class.schema.input_is_list && json.is_array();
                if list { None } else { wrong_literal(declared, json, scope.as_ref()) }
            }
            Some(Source::Value(Value::Payload(payload))) if !kind_fits(payload.type_name(), declared) => {
                Some(wrong_type(declared, json!(payload.type_name()), Link::new("", 0)))
            }
            None | Some(Source::Value(_)) => None,
        };
        if let Some(kind) = kind {
            let issue = match kind {
                IssueKind::Missing => Issue::named(&declared.name, kind),
                kind => Issue::new(declared, kind),
            };
            return Some(format!("{}: {}", issue.message(), issue.details()));
        }
    }
    None
}

fn wrong_type(declared: &Input, received: Json, link: Link) -> IssueKind {
    IssueKind::WrongType { expected: json!(declared.type_name()), received, link }
}

fn wrong_link(graph: &Graph, declared: &Input, from: NodeIx, slot: usize) -> Option<IssueKind> {
    let producer = graph.node(from);
    let output = producer.class.schema.outputs.get(slot)?;
    let link = Link::new(producer.info.id.clone(), slot);
    (!fits(output, declared)).then(|| wrong_type(declared, json!(output.kind), link))
}

fn wrong_literal(declared: &Input, json: &Json, scope: Option<&ValidatorScope>) -> Option<IssueKind> {
    match coerce(declared, json) {
        Err(reason) => {
            let expected = declared.type_name().to_owned();
            Some(IssueKind::NotConvertible { expected, received: json.clone(), reason })
        }
        Ok(value) => {
            let own = scope.is_some_and(|scope| scope.all_inputs || scope.inputs.contains(&declared.name));
            if own { None } else { out_of_bounds(declared, &value) }
        }
    }
}
