//! The nodes that this process knows.

use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::{Map, Value as Json};

use crate::node::Node;
use crate::schema::Schema;

/// A class: what it declares and what it does.
#[derive(Clone)]
pub struct Class {
    /// What it declares.
    pub schema: Arc<Schema>,
    /// What it does.
    pub node: Arc<dyn Node>,
    /// Its name, shared by all that is said of its nodes.
    pub(crate) name: Arc<str>,
    /// The names of its declared inputs, in order.
    pub(crate) inputs: Arc<[Arc<str>]>,
}

/// Class name → class, in the order of registration. Built once, then shared.
#[derive(Clone, Default)]
pub struct Registry {
    classes: IndexMap<String, Class>,
}

/// A class name that is taken.
#[derive(Debug, thiserror::Error)]
#[error("two nodes are called `{class}`: the one from `{first}` is there already; rename the other")]
pub struct DuplicateClass {
    /// The name.
    pub class: String,
    /// The module of the one that is there.
    pub first: String,
}

impl Registry {
    /// Knows nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a node.
    ///
    /// # Errors
    /// Where its class name is taken.
    pub fn add(&mut self, node: impl Node) -> Result<(), DuplicateClass> {
        let schema = Arc::new(node.schema());
        if let Some(there) = self.classes.get(&schema.class) {
            return Err(DuplicateClass { class: schema.class.clone(), first: there.schema.module.clone() });
        }
        let name = Arc::from(schema.class.as_str());
        let inputs = schema.inputs.iter().map(|input| Arc::from(input.name.as_str())).collect();
        let class = Class { name, inputs, node: Arc::new(node), schema };
        self.classes.insert(class.schema.class.clone(), class);
        Ok(())
    }

    /// The class of a name.
    pub fn get(&self, class: &str) -> Option<&Class> {
        self.classes.get(class)
    }

    /// Every class, in the order of registration.
    pub fn iter(&self) -> impl Iterator<Item = &Class> {
        self.classes.values()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.classes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.classes.is_empty()
    }

    /// ComfyUI's `object_info` of every class.
    pub fn object_info(&self) -> Json {
        let infos: Map<_, _> =
            self.iter().map(|class| (class.schema.class.clone(), class.schema.object_info())).collect();
        Json::Object(infos)
    }
}
