//! The inputs of one call of a node.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value as Json;

use super::NodeError;
use crate::value::{Payload, Value};

/// Input name → value, for one call. An input may be *unset*: lazy and not asked for yet, or a
/// link where only literals are shown.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    values: Vec<(Arc<str>, Option<Value>)>,
    /// Where each name stands, once there are so many that looking at each takes longer.
    places: HashMap<Arc<str>, usize>,
}

/// Nearly every node has fewer inputs, and few are found faster by looking than by hashing.
const FEW: usize = 16;

impl Inputs {
    /// No inputs.
    pub fn new() -> Self {
        Self::default()
    }

    pub(crate) fn with_capacity(inputs: usize) -> Self {
        Self { values: Vec::with_capacity(inputs), places: HashMap::new() }
    }

    pub(crate) fn clear(&mut self) {
        self.values.clear();
        self.places.clear();
    }

    fn place(&self, name: &str) -> Option<usize> {
        if self.places.is_empty() {
            return self.values.iter().position(|(there, _)| &**there == name);
        }
        self.places.get(name).copied()
    }

    /// Sets an input; `None` is unset.
    pub fn set(&mut self, name: impl Into<Arc<str>>, value: Option<Value>) {
        let name = name.into();
        if let Some(place) = self.place(&name) {
            self.values[place].1 = value;
            return;
        }
        self.values.push((name.clone(), value));
        if !self.places.is_empty() {
            self.places.insert(name, self.values.len() - 1);
        } else if self.values.len() > FEW {
            let names = self.values.iter().enumerate().map(|(place, (name, _))| (name.clone(), place));
            self.places = names.collect();
        }
    }

    /// Whether the workflow gives the input at all, set or unset.
    pub fn has(&self, name: &str) -> bool {
        self.place(name).is_some()
    }

    /// The value, if it is set.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.values[self.place(name)?].1.as_ref()
    }

    /// Every input in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&Value>)> {
        self.values.iter().map(|(name, value)| (&**name, value.as_ref()))
    }

    /// The names of those that are not set.
    pub fn unset(&self) -> impl Iterator<Item = &str> {
        self.values.iter().filter(|(_, value)| value.is_none()).map(|(name, _)| &**name)
    }

    /// The value.
    ///
    /// # Errors
    /// Where it is missing or not set.
    pub fn value(&self, name: &str) -> Result<&Value, NodeError> {
        self.get(name).ok_or_else(|| NodeError::input(name, "is required and was not given"))
    }

    fn plain(&self, name: &str, expected: &str) -> Result<&Json, NodeError> {
        let value = self.value(name)?;
        value.as_json().ok_or_else(|| mismatch(name, expected, value))
    }

    /// A whole number.
    ///
    /// # Errors
    /// Where it is missing, another type, or outside of 64 bits.
    pub fn int(&self, name: &str) -> Result<i64, NodeError> {
        let json = self.plain(name, "a whole number")?;
        let int = match json {
            Json::Bool(b) => Some(i64::from(*b)),
            _ => json
                .as_i64()
                .or_else(|| json.as_f64().filter(|f| f.fract() == 0.0 && f.abs() < 9.0e18).map(|f| f as i64)),
        };
        int.ok_or_else(|| NodeError::input(name, format!("expected a whole number, found {json}")))
    }

    /// A seed or another whole number from 0 to 2⁶⁴−1.
    ///
    /// # Errors
    /// Where it is missing, another type, or outside of that range.
    pub fn uint(&self, name: &str) -> Result<u64, NodeError> {
        let json = self.plain(name, "a whole number")?;
        match json.as_u64() {
            Some(uint) => Ok(uint),
            None => u64::try_from(self.int(name)?)
                .map_err(|_| NodeError::input(name, format!("expected a number of 0 or more, found {json}"))),
        }
    }

    /// A size or count: a whole number of 0 or more.
    ///
    /// # Errors
    /// Where it is missing, another type, or negative.
    pub fn size(&self, name: &str) -> Result<usize, NodeError> {
        usize::try_from(self.uint(name)?)
            .map_err(|_| NodeError::input(name, "is larger than this machine can count"))
    }

    /// A number.
    ///
    /// # Errors
    /// Where it is missing or another type.
    pub fn float(&self, name: &str) -> Result<f64, NodeError> {
        let json = self.plain(name, "a number")?;
        match json {
            Json::Bool(b) => Ok(f64::from(u8::from(*b))),
            _ => json
                .as_f64()
                .ok_or_else(|| NodeError::input(name, format!("expected a number, found {json}"))),
        }
    }

    /// True or false.
    ///
    /// # Errors
    /// Where it is missing or another type.
    pub fn bool(&self, name: &str) -> Result<bool, NodeError> {
        let json = self.plain(name, "true or false")?;
        match json {
            Json::Number(n) => Ok(n.as_f64() != Some(0.0)),
            _ => json
                .as_bool()
                .ok_or_else(|| NodeError::input(name, format!("expected true or false, found {json}"))),
        }
    }

    /// Text.
    ///
    /// # Errors
    /// Where it is missing or another type.
    pub fn str(&self, name: &str) -> Result<&str, NodeError> {
        let json = self.plain(name, "text")?;
        json.as_str().ok_or_else(|| NodeError::input(name, format!("expected text, found {json}")))
    }

    /// A payload of a type.
    ///
    /// # Errors
    /// Where it is missing or another type.
    pub fn payload<P: Payload>(&self, name: &str) -> Result<Arc<P>, NodeError> {
        let value = self.value(name)?;
        value.downcast().ok_or_else(|| {
            mismatch(name, std::any::type_name::<P>().rsplit("::").next().unwrap_or(""), value)
        })
    }

    /// A payload of a type, or `None` where the input is left out.
    ///
    /// # Errors
    /// Where it is another type.
    pub fn optional<P: Payload>(&self, name: &str) -> Result<Option<Arc<P>>, NodeError> {
        match self.get(name) {
            None => Ok(None),
            Some(value) if value.as_json().is_some_and(Json::is_null) => Ok(None),
            Some(_) => self.payload(name).map(Some),
        }
    }

    /// The values of a list input (for nodes that take lists); a single value is a list of one.
    ///
    /// # Errors
    /// Where it is missing.
    pub fn list(&self, name: &str) -> Result<Vec<Value>, NodeError> {
        Ok(match self.value(name)? {
            Value::List(values) => values.to_vec(),
            single => vec![single.clone()],
        })
    }
}

fn mismatch(name: &str, expected: &str, found: &Value) -> NodeError {
    NodeError::input(name, format!("expected {expected}, found {} ({found:?})", found.type_name()))
        .exception("TypeError")
}

impl<N: Into<Arc<str>>> FromIterator<(N, Option<Value>)> for Inputs {
    fn from_iter<I: IntoIterator<Item = (N, Option<Value>)>>(iter: I) -> Self {
        let mut inputs = Self::new();
        iter.into_iter().for_each(|(name, value)| inputs.set(name, value));
        inputs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_inputs_are_found_like_few_and_keep_their_order() {
        for count in [3, FEW, FEW + 1, 100] {
            let mut inputs: Inputs =
                (0..count).map(|i| (format!("input{i}"), Some(Value::plain(i)))).collect();
            inputs.set("input1", None);
            inputs.set("input2", Some(Value::plain("again")));
            let names: Vec<String> = inputs.iter().map(|(name, _)| name.to_owned()).collect();
            assert_eq!(names, (0..count).map(|i| format!("input{i}")).collect::<Vec<_>>());
            assert_eq!(inputs.unset().collect::<Vec<_>>(), ["input1"]);
            assert_eq!(inputs.str("input2").unwrap(), "again");
            assert!(inputs.has("input1") && inputs.get("input1").is_none() && !inputs.has("input"));
            inputs.clear();
            assert!(!inputs.has("input0"));
        }
    }
}
