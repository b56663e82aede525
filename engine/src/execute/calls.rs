//! One node, several calls: how columns of inputs become calls, and results columns of outputs.

use std::sync::Arc;

use serde_json::{Map, Value as Json};

use crate::graph::{GraphInput, Source};
use crate::node::{Inputs, NodeError};
use crate::registry::Class;
use crate::value::{Column, Value};

/// What one call is given.
pub(super) enum Call {
    /// Inputs to run with.
    Run(Inputs),
    /// One of them is blocked: the call is skipped, and so is whoever reads its outputs.
    Blocked(Option<Arc<str>>),
}

/// The inputs of a node as columns: a name, and what is there of it (`None`: unset).
pub(super) type Columns = Vec<(Arc<str>, Option<Column>)>;

/// The columns of a node's inputs. `read` gives the column of a link, or `None` for a lazy input
/// that was not asked for.
pub(super) fn gather(inputs: &[GraphInput], read: impl Fn(usize, &GraphInput) -> Option<Column>) -> Columns {
    let column = |(place, input): (usize, &GraphInput)| {
        let column = match &input.source {
            Source::Value(value) => Some(Column::One(value.clone())),
            Source::Pair { pair, .. } => Some(Column::One(pair.clone())),
            Source::Wire { .. } => read(place, input),
        };
        (input.name.clone(), column)
    };
    inputs.iter().enumerate().map(column).collect()
}

/// The calls of a node: one for each element of its longest input (shorter ones repeat their last
/// element; an empty one means no call), or a single one if it takes whole lists.
pub(super) fn calls(class: &Class, columns: &Columns) -> Vec<Call> {
    if class.schema.input_is_list {
        let mut inputs = Inputs::with_capacity(columns.len());
        for (name, column) in columns {
            let Some(column) = column else {
                inputs.set(name.clone(), None);
                continue;
            };
            if let Some(Value::Blocked(why)) = column.values().iter().find(|v| matches!(v, Value::Blocked(_)))
            {
                return vec![Call::Blocked(why.clone())];
            }
            inputs.set(name.clone(), Some(Value::list(column.values().to_vec())));
        }
        return vec![Call::Run(inputs)];
    }
    let lengths = || columns.iter().filter_map(|(_, column)| column.as_ref()).map(Column::len);
    let count = if lengths().any(|length| length == 0) { 0 } else { lengths().max().unwrap_or(1) };
    (0..count).map(|call| one_call(columns, call)).collect()
}

fn one_call(columns: &Columns, call: usize) -> Call {
    let mut inputs = Inputs::with_capacity(columns.len());
    for (name, column) in columns {
        match column.as_ref().and_then(|column| column.get(call)) {
            Some(Value::Blocked(why)) => return Call::Blocked(why.clone()),
            value => inputs.set(name.clone(), value.cloned()),
        }
    }
    Call::Run(inputs)
}

/// The outputs of one call, a source for each slot; blocked calls have none.
pub(super) enum Made {
    /// A value for each slot.
    Values(Vec<Value>),
    /// An expansion will make them: links into it, or values.
    Sources(Vec<Source>),
    /// Nothing, because an input was blocked.
    Nothing,
}

impl Made {
    /// Refuses outputs that are not those that the class declares.
    pub(super) fn check(&self, class: &Class) -> Result<(), NodeError> {
        let declared = class.schema.outputs.len();
        let found = match self {
            Self::Values(values) => values.len(),
            Self::Sources(sources) => sources.len(),
            Self::Nothing => return Ok(()),
        };
        if found == declared {
            return Ok(());
        }
        Err(NodeError::failed(format!(
            "{} declares {declared} outputs and returned {found}: a defect of the node",
            class.name
        )))
    }
}

/// The columns of a node's outputs. `read` gives the column of a link into an expansion.
pub(super) fn merge(class: &Class, made: &[Made], read: impl Fn(&Source) -> Option<Column>) -> Vec<Column> {
    let outputs = class.schema.outputs.iter().enumerate();
    let column = |(slot, output): (usize, &crate::schema::Output)| {
        let mut values = Vec::with_capacity(made.len());
        for made in made {
            match made {
                Made::Nothing => values.push(Value::Blocked(None)),
                Made::Values(made) => match made.get(slot) {
                    Some(Value::List(elements)) if output.is_list => values.extend_from_slice(elements),
                    Some(value) => values.push(value.clone()),
                    None => {}
                },
                Made::Sources(sources) => match sources.get(slot) {
                    Some(Source::Value(Value::List(elements))) if output.is_list => {
                        values.extend_from_slice(elements);
                    }
                    Some(Source::Value(value)) => values.push(value.clone()),
                    Some(source) => {
                        if let Some(column) = read(source) {
                            values.extend_from_slice(column.values());
                        }
                    }
                    None => {}
                },
            }
        }
        Column::from(values)
    };
    outputs.map(column).collect()
}

/// What clients are shown of several calls: lists joined key by key.
pub(super) fn merge_ui(uis: Vec<Map<String, Json>>) -> Option<Arc<Map<String, Json>>> {
    let mut uis = uis.into_iter();
    let mut all = uis.next()?;
    for ui in uis {
        for (key, value) in ui {
            let entry = all.entry(key).or_insert_with(|| Json::Array(Vec::new()));
            if !entry.is_array() {
                *entry = Json::Array(vec![entry.take()]);
            }
            if let Json::Array(items) = entry {
                match value {
                    Json::Array(more) => items.extend(more),
                    one => items.push(one),
                }
            }
        }
    }
    Some(Arc::new(all))
}

/// The inputs as an error shows them: each a list of what its calls were given.
pub(super) fn shown(columns: &Columns) -> Map<String, Json> {
    let column = |(name, column): &(Arc<str>, Option<Column>)| {
        let values = column.as_ref()?.values().iter().take(SHOWN).map(|value| match value.as_json() {
            Some(json) => json.clone(),
            None => Json::String(format!("{value:?}")),
        });
        Some((name.to_string(), Json::Array(values.collect())))
    };
    columns.iter().filter_map(column).collect()
}

/// No error repeats more elements of a list than this.
const SHOWN: usize = 20;
