//! `NODE.INPUT=v1,v2,…` → an axis.

use std::path::Path;

use ebb_engine::registry::Registry;
use ebb_engine::schema::{Input, InputType};
use ebb_engine::workflow::sweep::{Axis, AxisValue, values};
use ebb_engine::workflow::{InputValue, NodeId, Workflow};
use serde_json::json;

use super::super::set;

/// Reads one axis.
pub(super) fn read(axis: &str, workflow: &Workflow, registry: &Registry) -> Result<Axis, String> {
    let named = |error: &dyn std::fmt::Display| format!("--axis {axis}: {error}");
    let shape = "expected NODE.INPUT=VALUES, such as KSampler.seed=1,2,3";
    let (place, list) = split_place(axis).ok_or_else(|| named(&shape))?;
    let listed = texts(list).map_err(|error| named(&error))?;
    if let Some((place, search)) = place.split_once('~') {
        let only = match place.trim() {
            "" => None,
            place => Some(set::find_input(place, workflow, registry).map_err(|error| named(&error))?),
        };
        return Ok(Axis::replace(search, only, search, listed));
    }
    let (node, input) = set::find_input(place, workflow, registry).map_err(|error| named(&error))?;
    let declared = declared(workflow, registry, &node, &input);
    let mut found: Vec<AxisValue> = Vec::new();
    for text in listed {
        let all = match declared {
            Some(declared) => expand(&text, declared).map_err(|error| named(&error))?,
            None => vec![text],
        };
        for text in all {
            let value = match declared {
                Some(declared) => set::typed(&text, declared).map_err(|error| named(&error))?,
                // Inputs that a node takes without declaring them.
                None => InputValue::from_json(serde_json::from_str(&text).unwrap_or_else(|_| json!(text))),
            };
            found.push(AxisValue { label: text, value });
        }
    }
    Ok(Axis::input(place, node, &input, found))
}

/// At the first `=` that is not within the quotation marks of a search.
fn split_place(axis: &str) -> Option<(&str, &str)> {
    axis.split_once('=').filter(|(place, _)| !place.trim().is_empty())
}

fn declared<'r>(
    workflow: &Workflow,
    registry: &'r Registry,
    node: &NodeId,
    input: &str,
) -> Option<&'r Input> {
    let class = workflow.nodes.get(node)?.class_type.as_deref()?;
    registry.get(class)?.schema.find(input)
}

/// The values as texts: a list, or the lines of the file that `@` names.
fn texts(list: &str) -> Result<Vec<String>, String> {
    let Some(file) = list.trim().strip_prefix('@') else {
        return values::split(list).map_err(|error| error.to_string());
    };
    let path = Path::new(file);
    let text = std::fs::read_to_string(path).map_err(|error| format!("cannot read {file}: {error}"))?;
    let lines = text.trim_start_matches('\u{feff}').lines().map(str::trim).filter(|line| !line.is_empty());
    Ok(lines.map(str::to_owned).collect())
}

/// A range of numbers, or the choices that a pattern means.
fn expand(text: &str, input: &Input) -> Result<Vec<String>, String> {
    match &input.kind {
        InputType::Int | InputType::Float => {
            let range = values::range(text).map_err(|error| error.to_string())?;
            Ok(range.unwrap_or_else(|| vec![text.to_owned()]))
        }
        InputType::Combo { choices, .. } if text.contains('*') => {
            let all = choices.values();
            let all = all.iter().filter_map(|choice| choice.as_str());
            let found: Vec<String> = all.filter(|choice| matches(text, choice)).map(str::to_owned).collect();
            if found.is_empty() {
                Err(format!("no choice of `{}` matches `{text}`", input.name))
            } else {
                Ok(found)
            }
        }
        _ => Ok(vec![text.to_owned()]),
    }
}

/// Whether a name matches a pattern in which `*` is anything.
fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use ebb_engine::node::{Context, Inputs, Node, NodeError, Outcome};
    use ebb_engine::schema::Schema;
    use ebb_engine::workflow::sweep::Change;

    use super::*;

    struct Draw;

    impl Node for Draw {
        fn schema(&self) -> Schema {
            Schema::new("Draw")
                .input(Input::int("seed", 0))
                .input(Input::float("cfg", 8.0))
                .input(Input::string("text", ""))
                .input(Input::combo("model", ["a.gguf", "x/b.safetensors", "x/c.safetensors"]))
        }

        fn execute(&self, _: &Context, _: &Inputs) -> Result<Outcome, NodeError> {
            Err(NodeError::failed("never run"))
        }
    }

    fn axis(text: &str) -> Result<Axis, String> {
        let mut registry = Registry::new();
        registry.add(Draw).unwrap();
        let json = json!({"3": {"class_type": "Draw", "inputs": {"text": "an apple = red"}}});
        read(text, &Workflow::from_json(json).unwrap(), &registry)
    }

    fn values_of(text: &str) -> Vec<serde_json::Value> {
        axis(text).unwrap().values.iter().map(|value| value.value.to_json()).collect()
    }

    #[test]
    fn values_are_read_as_their_input_declares() {
        assert_eq!(values_of("3.seed=7, 1..3"), [json!(7), json!(1), json!(2), json!(3)]);
        assert_eq!(values_of("Draw.cfg=4..5 step 0.5"), [json!(4.0), json!(4.5), json!(5.0)]);
        assert_eq!(values_of("3.text=1..3,\"a, b\""), [json!("1..3"), json!("a, b")]);
        assert_eq!(values_of("3.model=x/*"), [json!("x/b.safetensors"), json!("x/c.safetensors")]);
    }

    #[test]
    fn texts_are_replaced_in_one_input_or_everywhere() {
        let one = axis("3.text~apple=pear,plum").unwrap();
        let place = Some((NodeId::from("3"), "text".to_owned()));
        assert_eq!(one.change, Change::Replace { place, search: "apple".into() });
        assert_eq!(one.values[1].label, "plum");
        let all = axis("~apple=pear").unwrap();
        assert_eq!(all.change, Change::Replace { place: None, search: "apple".into() });
    }

    #[test]
    fn files_give_a_value_a_line() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "a, b\n\n  c \r\n").unwrap();
        let listed = values_of(&format!("3.text=@{}", file.path().display()));
        assert_eq!(listed, [json!("a, b"), json!("c")]);
        assert!(axis("3.text=@/no/such/file").unwrap_err().contains("cannot read /no/such/file"));
    }

    #[test]
    fn mistakes_are_named() {
        for (text, part) in [
            ("3.seed", "expected NODE.INPUT=VALUES"),
            ("=1", "expected NODE.INPUT=VALUES"),
            ("3.sede=1", "did you mean `seed`?"),
            ("3.seed=1.5", "takes a whole number"),
            ("3.seed=1..99999999", "has more than 100000 values"),
            ("3.text=\"a", "a quotation mark is not closed"),
            ("3.model=y*", "no choice of `model` matches `y*`"),
        ] {
            let error = axis(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn patterns_match_whole_names() {
        for (pattern, name, fits) in [
            ("*", "", true),
            ("a*", "abc", true),
            ("*c", "abc", true),
            ("a*c*e", "abcde", true),
            ("a*c", "abcd", false),
            ("*bc*bc", "abc", false),
        ] {
            assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
        }
    }
}
