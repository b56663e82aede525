//! `--set NODE.INPUT=VALUE`: a node by id or title, a value by the input's declared type.

use ebb_engine::registry::Registry;
use ebb_engine::schema::{Input, InputType};
use ebb_engine::workflow::{InputValue, NodeId, Workflow};
use serde_json::{Value as Json, json};

use super::similar;

/// Applies one change.
pub(super) fn apply(change: &str, workflow: &mut Workflow, registry: &Registry) -> Result<(), String> {
    let (place, value) = change.split_once('=').ok_or_else(|| {
        format!("--set {change}: expected NODE.INPUT=VALUE, such as 6.text=\"a red apple\"")
    })?;
    let (id, input) =
        find_input(place, workflow, registry).map_err(|error| format!("--set {change}: {error}"))?;
    let node = workflow.nodes.get_mut(&id).ok_or_else(|| format!("--set {change}: no node {id}"))?;
    let schema = node.class_type.as_deref().and_then(|class| registry.get(class)).map(|class| &class.schema);
    let value = match schema.and_then(|schema| schema.find(&input)) {
        Some(declared) => typed(value, declared).map_err(|error| format!("--set {change}: {error}"))?,
        // Inputs that a node takes without declaring them.
        None => InputValue::from_json(serde_json::from_str(value).unwrap_or_else(|_| json!(value))),
    };
    node.inputs.insert(input, value);
    Ok(())
}

/// The node and the input that `NODE.INPUT` means. Titles may hold dots themselves.
pub(super) fn find_input(
    place: &str,
    workflow: &Workflow,
    registry: &Registry,
) -> Result<(NodeId, String), String> {
    let splits = place.match_indices('.').map(|(at, _)| (&place[..at], &place[at + 1..]));
    let mut problem = None;
    for (name, input) in splits.collect::<Vec<_>>().into_iter().rev() {
        let id = match find_node(name, workflow) {
            Ok(id) => id,
            Err(error) => {
                problem.get_or_insert(error);
                continue;
            }
        };
        let node = &workflow.nodes[&id];
        let class = node.class_type.as_deref().unwrap_or_default();
        let schema = registry.get(class).map(|class| &class.schema);
        let declared = schema.is_none_or(|schema| schema.accepts_undeclared || schema.find(input).is_some());
        if declared || node.inputs.contains_key(input) {
            return Ok((id, input.to_owned()));
        }
        let names = schema.into_iter().flat_map(|schema| schema.inputs.iter().map(|i| i.name.as_str()));
        let hint = similar::hint(input, names.clone());
        let listed = names.collect::<Vec<_>>().join(", ");
        problem = Some(format!("{class} #{id} has no input `{input}`{hint} (it has {listed})"));
    }
    Err(problem.unwrap_or_else(|| "expected NODE.INPUT=VALUE, such as 6.text=\"a red apple\"".into()))
}

/// The node of an id; else the one of a title, else the one of a class, if there is only one.
pub(super) fn find_node(name: &str, workflow: &Workflow) -> Result<NodeId, String> {
    let id = NodeId::from(name.strip_prefix('#').unwrap_or(name));
    if workflow.nodes.contains_key(&id) {
        return Ok(id);
    }
    let titled = |node: &ebb_engine::workflow::WorkflowNode| node.title() == Some(name);
    let classed = |node: &ebb_engine::workflow::WorkflowNode| node.class_type.as_deref() == Some(name);
    for matches in [&titled as &dyn Fn(&_) -> bool, &classed] {
        let found: Vec<&NodeId> =
            workflow.nodes.iter().filter(|(_, n)| matches(n)).map(|(id, _)| id).collect();
        match found.as_slice() {
            [] => {}
            [id] => return Ok((*id).clone()),
            several => {
                let ids: Vec<String> = several.iter().map(|id| format!("#{id}")).collect();
                return Err(format!("several nodes are called `{name}`: use an id ({})", ids.join(", ")));
            }
        }
    }
    let names = workflow.nodes.iter().flat_map(|(id, node)| {
        [Some(id.as_str()), node.title(), node.class_type.as_deref()].into_iter().flatten()
    });
    Err(format!("no node has the id or title `{name}`{}", similar::hint(name, names)))
}

/// A value as an input declares it.
pub(super) fn typed(text: &str, input: &Input) -> Result<InputValue, String> {
    let literal = |value: Json| Ok(InputValue::Literal(value));
    match &input.kind {
        InputType::String => literal(json!(text)),
        InputType::Int => match (text.parse::<i64>(), text.parse::<u64>()) {
            (Ok(value), _) => literal(json!(value)),
            (_, Ok(value)) => literal(json!(value)),
            _ => Err(format!("`{}` takes a whole number, not `{text}`", input.name)),
        },
        InputType::Float => match text.parse::<f64>() {
            Ok(value) if value.is_finite() => literal(json!(value)),
            _ => Err(format!("`{}` takes a number, not `{text}`", input.name)),
        },
        InputType::Boolean => match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => literal(json!(true)),
            "false" | "no" | "off" | "0" => literal(json!(false)),
            _ => Err(format!("`{}` takes true or false, not `{text}`", input.name)),
        },
        InputType::Combo { choices, .. } => {
            // Lists may hold numbers. Whether the value is in the list is validation's question.
            let same = |choice: &Json| !choice.is_string() && format!("{choice}") == text;
            literal(choices.values().into_iter().find(same).unwrap_or_else(|| json!(text)))
        }
        InputType::Wire(kind) => match serde_json::from_str(text).map(InputValue::from_json) {
            Ok(link @ InputValue::Link(_)) => Ok(link),
            _ => Err(format!(
                "`{}` takes a link to a {kind} output, such as '[\"4\", 0]' (node and output number)",
                input.name
            )),
        },
    }
}

#[cfg(test)]
mod tests {
    use ebb_engine::node::{Inputs, Node, NodeError, Outcome};
    use ebb_engine::schema::Schema;

    use super::*;

    struct Sampler;

    impl Node for Sampler {
        fn schema(&self) -> Schema {
            Schema::new("KSampler")
                .input(Input::wire("model", "MODEL"))
                .input(Input::int("seed", 0))
                .input(Input::float("cfg", 8.0))
                .input(Input::string("text", ""))
        }

        fn execute(&self, _: &ebb_engine::node::Context, _: &Inputs) -> Result<Outcome, NodeError> {
            Err(NodeError::failed("never run"))
        }
    }

    fn set(change: &str) -> Result<Json, String> {
        let mut registry = Registry::new();
        registry.add(Sampler).unwrap();
        let json = json!({
            "3": {"class_type": "KSampler", "inputs": {}, "_meta": {"title": "v1.5 base"}},
            "12:3": {"class_type": "KSampler", "inputs": {}, "_meta": {"title": "Refine"}},
        });
        let mut workflow = Workflow::from_json(json).unwrap();
        apply(change, &mut workflow, &registry)?;
        Ok(workflow.to_json())
    }

    #[test]
    fn nodes_are_found_by_id_and_title() {
        assert_eq!(set("3.seed=18446744073709551615").unwrap()["3"]["inputs"]["seed"], json!(u64::MAX));
        assert_eq!(set("12:3.cfg=7").unwrap()["12:3"]["inputs"]["cfg"], json!(7.0));
        assert_eq!(set("v1.5 base.seed=-1").unwrap()["3"]["inputs"]["seed"], json!(-1));
        assert_eq!(set("Refine.text=a=b.c").unwrap()["12:3"]["inputs"]["text"], json!("a=b.c"));
        assert_eq!(set("3.model=[\"12:3\",0]").unwrap()["3"]["inputs"]["model"], json!(["12:3", 0]));
    }

    #[test]
    fn mistakes_are_named() {
        for (change, part) in [
            ("3.seed", "expected NODE.INPUT=VALUE"),
            ("seed=1", "expected NODE.INPUT=VALUE"),
            ("3.sede=1", "has no input `sede`; did you mean `seed`?"),
            ("3.seed=1.5", "`seed` takes a whole number, not `1.5`"),
            ("3.cfg=NaN", "`cfg` takes a number"),
            ("Refin.seed=1", "did you mean `Refine`?"),
            ("KSampler.seed=1", "several nodes are called `KSampler`: use an id (#3, #12:3)"),
            ("3.model=x", "takes a link to a MODEL output"),
        ] {
            let error = set(change).unwrap_err();
            assert!(error.contains(part), "{change}: {error}");
        }
    }
}
