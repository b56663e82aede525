//! One input of a node: its type, its bounds, its widget.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Number, Value as Json, json};

/// Where an input stands in `object_info`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// Must be there.
    Required,
    /// May be left out.
    Optional,
}

/// The values of a combo.
#[derive(Clone)]
pub enum Choices {
    /// Known when the node is registered.
    Fixed(Arc<[Json]>),
    /// Read anew at each look: the files of a folder.
    Listed(Arc<dyn Fn() -> Vec<String> + Send + Sync>),
}

impl Choices {
    /// The values as they are now.
    pub fn values(&self) -> Vec<Json> {
        match self {
            Self::Fixed(values) => values.to_vec(),
            Self::Listed(list) => list().into_iter().map(Json::String).collect(),
        }
    }
}

impl fmt::Debug for Choices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(values) => f.debug_list().entries(values.iter()).finish(),
            Self::Listed(_) => f.write_str("(listed)"),
        }
    }
}

/// An input's type.
#[derive(Clone, Debug)]
pub enum InputType {
    /// A whole number.
    Int,
    /// A number.
    Float,
    /// Text.
    String,
    /// True or false.
    Boolean,
    /// One of a list.
    Combo {
        /// The values.
        choices: Choices,
        /// Printed as `["COMBO", {"options": […]}]` rather than as a bare list.
        named: bool,
    },
    /// A wire's type: `IMAGE`; several with commas; `*` for any.
    Wire(String),
}

/// One declared input.
#[derive(Clone, Debug)]
pub struct Input {
    /// The name that workflows use.
    pub name: String,
    /// Required or optional.
    pub section: Section,
    /// The type.
    pub kind: InputType,
    /// The literal taken where the editor shows a fresh node.
    pub default: Option<Json>,
    /// Smallest allowed number.
    pub min: Option<Number>,
    /// Largest allowed number.
    pub max: Option<Number>,
    /// Asked for by the node itself ([`crate::node::Node::needs`]) rather than before it runs.
    pub lazy: bool,
    /// The node gets the `[id, slot]` pair, not the value.
    pub raw_link: bool,
    /// Whatever else the editor reads: step, round, multiline, tooltip …, in order.
    pub options: Map<String, Json>,
}

impl Input {
    /// A required input of a kind; the other constructors are shorter.
    pub fn new(name: &str, kind: InputType) -> Self {
        Self {
            name: name.into(),
            section: Section::Required,
            kind,
            default: None,
            min: None,
            max: None,
            lazy: false,
            raw_link: false,
            options: Map::new(),
        }
    }

    /// A whole number with a default.
    pub fn int(name: &str, default: impl Into<Number>) -> Self {
        Self { default: Some(Json::Number(default.into())), ..Self::new(name, InputType::Int) }
    }

    /// A number with a default.
    pub fn float(name: &str, default: f64) -> Self {
        Self { default: Some(json!(default)), ..Self::new(name, InputType::Float) }
    }

    /// Text with a default.
    pub fn string(name: &str, default: &str) -> Self {
        Self { default: Some(json!(default)), ..Self::new(name, InputType::String) }
    }

    /// True or false with a default.
    pub fn boolean(name: &str, default: bool) -> Self {
        Self { default: Some(json!(default)), ..Self::new(name, InputType::Boolean) }
    }

    /// One of some names. No default is declared: editors take the first.
    pub fn combo<S: AsRef<str>>(name: &str, values: impl IntoIterator<Item = S>) -> Self {
        let values: Vec<Json> = values.into_iter().map(|v| json!(v.as_ref())).collect();
        Self::new(name, InputType::Combo { choices: Choices::Fixed(values.into()), named: false })
    }

    /// One of a list that is read anew at each look.
    pub fn listed(name: &str, list: impl Fn() -> Vec<String> + Send + Sync + 'static) -> Self {
        Self::new(name, InputType::Combo { choices: Choices::Listed(Arc::new(list)), named: false })
    }

    /// A wire of a type.
    pub fn wire(name: &str, kind: &str) -> Self {
        Self::new(name, InputType::Wire(kind.into()))
    }

    /// May be left out.
    pub fn optional(mut self) -> Self {
        self.section = Section::Optional;
        self
    }

    /// Bounds, both included.
    pub fn range(mut self, min: impl Into<Number>, max: impl Into<Number>) -> Self {
        self.min = Some(min.into());
        self.max = Some(max.into());
        self
    }

    /// Bounds of a float, both included. A bound that is not finite is left out.
    pub fn between(mut self, min: f64, max: f64) -> Self {
        self.min = Number::from_f64(min);
        self.max = Number::from_f64(max);
        self
    }

    /// Sets the default.
    pub fn default(mut self, value: impl Into<Json>) -> Self {
        self.default = Some(value.into());
        self
    }

    /// Asked for by the node itself.
    pub fn lazy(mut self) -> Self {
        self.lazy = true;
        self
    }

    /// The node gets the link itself.
    pub fn raw_link(mut self) -> Self {
        self.raw_link = true;
        self
    }

    /// Prints a combo in the newer form.
    pub fn named_combo(mut self) -> Self {
        if let InputType::Combo { named, .. } = &mut self.kind {
            *named = true;
        }
        self
    }

    /// Sets an option for the editor, such as `step` or `multiline`.
    pub fn option(mut self, name: &str, value: impl Into<Json>) -> Self {
        self.options.insert(name.into(), value.into());
        self
    }

    /// Whether the editor shows a widget for it (numbers, text, booleans, combos without
    /// `forceInput`), so that a UI workflow stores a value for it.
    pub fn is_widget(&self) -> bool {
        !matches!(self.kind, InputType::Wire(_))
            && self.options.get("forceInput").is_none_or(|f| f != &Json::Bool(true))
    }

    /// The type's name: `INT`, `COMBO`, `IMAGE` …
    pub fn type_name(&self) -> &str {
        match &self.kind {
            InputType::Int => "INT",
            InputType::Float => "FLOAT",
            InputType::String => "STRING",
            InputType::Boolean => "BOOLEAN",
            InputType::Combo { .. } => "COMBO",
            InputType::Wire(kind) => kind,
        }
    }
}
