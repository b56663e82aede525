//! What travels along a wire.
//!
//! A value is immutable and shared: cloning one copies a pointer. The engine can read the plain
//! ones (numbers, strings, booleans, lists) and knows of the others ([`Payload`]) just their type
//! name and their bytes.

mod column;

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use serde_json::Value as Json;

pub use column::Column;

/// Something that a node made and that the engine carries without looking inside: an image, a
/// latent, a conditioning, a handle to a model.
pub trait Payload: Any + Send + Sync {
    /// The type's name on the wire, as ComfyUI spells it: `IMAGE`, `LATENT`, `MODEL` …
    fn type_name(&self) -> &str;

    /// Bytes that are freed when the last reference goes. Handles to weights count as nothing:
    /// the weights are counted where they are held (see [`crate::residency`]).
    fn bytes(&self) -> u64;

    /// A short text for errors and reports, such as `[1, 512, 512, 3]`.
    fn summary(&self) -> String {
        String::new()
    }
}

/// A value on a wire.
#[derive(Clone)]
pub enum Value {
    /// A literal, or a number, string or boolean that a node computed.
    Plain(Arc<Json>),
    /// An opaque value of a node library.
    Payload(Arc<dyn Payload>),
    /// Several values; consumers run once for each unless they take lists.
    List(Arc<Vec<Value>>),
    /// Stops its consumers. With a message the user is told.
    Blocked(Option<Arc<str>>),
}

impl Value {
    /// Wraps a payload.
    pub fn payload<P: Payload>(payload: P) -> Self {
        Self::Payload(Arc::new(payload))
    }

    /// Wraps a plain JSON value.
    pub fn plain(json: impl Into<Json>) -> Self {
        Self::Plain(Arc::new(json.into()))
    }

    /// A list of values.
    pub fn list(values: Vec<Value>) -> Self {
        Self::List(Arc::new(values))
    }

    /// The payload as a `P`, if it is one.
    pub fn downcast<P: Payload>(&self) -> Option<Arc<P>> {
        match self {
            Self::Payload(payload) => {
                let any: Arc<dyn Any + Send + Sync> = payload.clone();
                any.downcast().ok()
            }
            _ => None,
        }
    }

    /// The plain JSON value, if it is one.
    pub fn as_json(&self) -> Option<&Json> {
        match self {
            Self::Plain(json) => Some(json),
            _ => None,
        }
    }

    /// Where the payload lives: the same for every reference to it.
    pub(crate) fn address(&self) -> Option<usize> {
        match self {
            Self::Payload(payload) => Some(Arc::as_ptr(payload).cast::<()>() as usize),
            _ => None,
        }
    }

    /// Bytes held by this value (a list is the sum of its elements; plain values count as nothing).
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Payload(payload) => payload.bytes(),
            Self::List(values) => values.iter().map(Value::bytes).sum(),
            Self::Plain(_) | Self::Blocked(_) => 0,
        }
    }

    /// The type's name, as ComfyUI spells it.
    pub fn type_name(&self) -> &str {
        match self {
            Self::Payload(payload) => payload.type_name(),
            Self::List(_) => "LIST",
            Self::Blocked(_) => "BLOCKED",
            Self::Plain(json) => match &**json {
                Json::Null => "NONE",
                Json::Bool(_) => "BOOLEAN",
                Json::Number(n) if n.is_f64() => "FLOAT",
                Json::Number(_) => "INT",
                Json::String(_) => "STRING",
                Json::Array(_) | Json::Object(_) => "JSON",
            },
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(json) => write!(f, "{json}"),
            Self::Payload(payload) => write!(f, "{} {}", payload.type_name(), payload.summary()),
            Self::List(values) => f.debug_list().entries(values.iter()).finish(),
            Self::Blocked(message) => write!(f, "blocked({message:?})"),
        }
    }
}

impl<T: Into<Json>> From<T> for Value {
    fn from(value: T) -> Self {
        Self::plain(value)
    }
}
