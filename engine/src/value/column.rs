//! What an output slot holds.

use std::sync::Arc;

use super::Value;

/// What an output slot holds: a value for each call of the node, or the elements of a list
/// output. Consumers run once for each.
#[derive(Clone, Debug)]
pub enum Column {
    /// One value: by far the most common.
    One(Value),
    /// None or several.
    Many(Arc<[Value]>),
}

impl Column {
    /// How many values there are.
    pub fn len(&self) -> usize {
        self.values().len()
    }

    /// Whether there is none: consumers do not run at all.
    pub fn is_empty(&self) -> bool {
        self.values().is_empty()
    }

    /// The values.
    pub fn values(&self) -> &[Value] {
        match self {
            Self::One(value) => std::slice::from_ref(value),
            Self::Many(values) => values,
        }
    }

    /// The value for a call; shorter columns repeat their last one.
    pub fn get(&self, call: usize) -> Option<&Value> {
        let values = self.values();
        values.get(call).or(values.last())
    }

    /// Bytes of the values.
    pub fn bytes(&self) -> u64 {
        self.values().iter().map(Value::bytes).sum()
    }
}

impl From<Vec<Value>> for Column {
    fn from(mut values: Vec<Value>) -> Self {
        match (values.len(), values.pop()) {
            (1, Some(value)) => Self::One(value),
            (_, None) => Self::Many(Arc::new([])),
            (_, Some(last)) => {
                values.push(last);
                Self::Many(values.into())
            }
        }
    }
}
