//! The widget values that a node holds itself.

use serde_json::Value as Json;

use super::catalog::{ClassInfo, Position};
use super::document::{Node, Values};

/// A node's own values by input name, in the order of its widgets. Where the file says nothing, the
/// declared default. Values of an unknown class have no names and are called `UNKNOWN`.
pub(super) fn own<'v>(node: &Node<'v>, class: Option<&'v ClassInfo>) -> Vec<(String, &'v Json)> {
    match (class, &node.values) {
        (Some(class), Values::Positional(values)) => {
            let mut held = vec![None; class.widgets.len()];
            for (position, value) in class.positions_for(values.len()).iter().zip(*values) {
                if let Position::Widget(index) = position {
                    held[*index] = Some(value);
                }
            }
            let widgets = class.widgets.iter().zip(held);
            widgets.filter_map(|(w, held)| Some((w.name.clone(), held.or(w.default.as_ref())?))).collect()
        }
        (Some(class), Values::Named(values)) => {
            let widgets = class.widgets.iter();
            let held = |name: &str| values.get(name);
            widgets.filter_map(|w| Some((w.name.clone(), held(&w.name).or(w.default.as_ref())?))).collect()
        }
        (None, Values::Positional(values)) => {
            let name = |index| if index == 0 { "UNKNOWN".to_owned() } else { format!("UNKNOWN_{index}") };
            values.iter().enumerate().map(|(index, value)| (name(index), value)).collect()
        }
        (None, Values::Named(values)) => values.iter().map(|(name, value)| (name.clone(), value)).collect(),
    }
}

/// Roughly how many bytes a value takes as text.
pub(super) fn weight(value: &Json) -> usize {
    match value {
        Json::String(text) => text.len() + 2,
        Json::Array(items) => 2 + items.iter().map(|item| 1 + weight(item)).sum::<usize>(),
        Json::Object(map) => 2 + map.iter().map(|(name, item)| name.len() + 4 + weight(item)).sum::<usize>(),
        _ => 8,
    }
}

/// A value as JavaScript turns it into text: 7.0 is `7`, null is nothing.
pub(super) fn as_text(value: &Json) -> String {
    match value {
        Json::Null => String::new(),
        Json::String(text) => text.clone(),
        Json::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < 1e21 => {
                format!("{float:.0}")
            }
            _ => number.to_string(),
        },
        Json::Array(items) => items.iter().map(as_text).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}
