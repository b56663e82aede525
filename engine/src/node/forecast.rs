//! What a node will cost and make, told before it runs.
//!
//! The plan walks the graph once with *sketches* in place of values: a loader sketches a handle to
//! its model from the file's header, an empty latent sketches its size, a sampler reads both and
//! tells which weights it will hold and how much scratch it needs. Nothing is loaded for it.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::Value as Json;

use super::Way;
use crate::residency::{ComponentKey, ComponentSpec, Loader};
use crate::value::Payload;

/// What is known of a value before it exists.
#[derive(Clone, Default)]
pub enum Sketch {
    /// Nothing.
    #[default]
    Unknown,
    /// A literal of the workflow, or a plain value that is certain.
    Plain(Json),
    /// A value of known size, and whatever downstream forecasts want to know of it.
    Known {
        /// Bytes that it will hold.
        bytes: u64,
        /// A description (a shape, a model handle) for downstream nodes of the same library.
        what: Arc<dyn Any + Send + Sync>,
    },
}

impl Sketch {
    /// A value of known size with a description.
    pub fn known<T: Any + Send + Sync>(bytes: u64, what: T) -> Self {
        Self::Known { bytes, what: Arc::new(what) }
    }

    /// A payload that exists already because it weighs nothing (a handle).
    pub fn handle<P: Payload>(payload: Arc<P>) -> Self {
        Self::Known { bytes: payload.bytes(), what: payload }
    }

    /// Bytes of the value; 0 where unknown.
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Known { bytes, .. } => *bytes,
            _ => 0,
        }
    }

    /// The description as a `T`.
    pub fn what<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        match self {
            Self::Known { what, .. } => what.clone().downcast().ok(),
            _ => None,
        }
    }

    /// The plain value.
    pub fn as_json(&self) -> Option<&Json> {
        match self {
            Self::Plain(json) => Some(json),
            _ => None,
        }
    }
}

impl fmt::Debug for Sketch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("unknown"),
            Self::Plain(json) => write!(f, "{json}"),
            Self::Known { bytes, .. } => write!(f, "{bytes} bytes"),
        }
    }
}

/// The sketches at a node's inputs.
#[derive(Clone, Debug, Default)]
pub struct Sketches {
    values: IndexMap<Arc<str>, Sketch>,
}

impl Sketches {
    /// Sets an input.
    pub fn set(&mut self, name: impl Into<Arc<str>>, sketch: Sketch) {
        self.values.insert(name.into(), sketch);
    }

    /// The sketch at an input; unknown where there is none.
    pub fn get(&self, name: &str) -> &Sketch {
        self.values.get(name).unwrap_or(&Sketch::Unknown)
    }

    /// The description at an input as a `T`.
    pub fn what<T: Any + Send + Sync>(&self, name: &str) -> Option<Arc<T>> {
        self.get(name).what()
    }

    /// A whole number of 0 or more at an input.
    pub fn uint(&self, name: &str) -> Option<u64> {
        self.get(name).as_json()?.as_u64()
    }

    /// Text at an input.
    pub fn str(&self, name: &str) -> Option<&str> {
        self.get(name).as_json()?.as_str()
    }

    /// Every input in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Sketch)> {
        self.values.iter().map(|(name, sketch)| (&**name, sketch))
    }
}

/// What a node will cost and make.
#[derive(Clone, Debug, Default)]
pub struct Forecast {
    /// Its outputs, by slot; missing slots are unknown.
    pub outputs: Vec<Sketch>,
    /// Weights that it holds while it runs.
    pub uses: Vec<ComponentSpec>,
    /// Bytes of scratch (activations) at their peak, outputs not counted.
    pub scratch: u64,
    /// How it could be done in less memory, the least costly way first.
    pub ways: Vec<Way>,
    /// How those weights can be read before the node runs, where they can.
    pub loaders: Vec<(ComponentKey, Loader)>,
}

impl Forecast {
    /// Nothing is known.
    pub fn unknown() -> Self {
        Self::default()
    }

    /// One output, no weights, no scratch.
    pub fn output(sketch: Sketch) -> Self {
        Self { outputs: vec![sketch], ..Self::default() }
    }

    /// Adds weights that it holds while it runs.
    pub fn using(mut self, component: ComponentSpec) -> Self {
        self.uses.push(component);
        self
    }

    /// Offers ways to need less memory, the least costly first.
    pub fn or(mut self, ways: impl IntoIterator<Item = Way>) -> Self {
        self.ways.extend(ways);
        self
    }

    /// Adds weights that it holds while it runs, and how to read them ahead, while another node computes.
    pub fn loading(mut self, component: ComponentSpec, loader: Loader) -> Self {
        self.loaders.push((component.key.clone(), loader));
        self.using(component)
    }

    /// Sets the scratch.
    pub fn scratch(mut self, bytes: u64) -> Self {
        self.scratch = bytes;
        self
    }
}
