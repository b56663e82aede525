//! What the converter knows about node classes: their widgets, in the order of `object_info`.
//!
//! Editors store widget values by position, so that a file can only be read with the declarations
//! of its nodes at hand. They come from this process's registry, from an `object_info` file (which
//! tells of nodes that this process does not have), or from both.

use std::collections::HashMap;

use serde_json::{Map, Value as Json};

use crate::registry::Registry;

/// The declarations of node classes, by class name.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    classes: HashMap<String, ClassInfo>,
}

/// What a class declares, as far as the converter needs it.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClassInfo {
    /// The title of nodes that nobody renamed.
    pub(crate) display_name: String,
    /// Declared inputs without a widget: name and type.
    pub(crate) sockets: Vec<(String, String)>,
    /// Declared inputs with a widget.
    pub(crate) widgets: Vec<Widget>,
    /// What each position of `widgets_values` holds.
    pub(crate) positions: Vec<Position>,
    /// The same for files of early editors, which stored a value for `forceInput` inputs too; none
    /// where the two do not differ.
    pub(crate) early_positions: Option<Vec<Position>>,
}

/// A declared input with a widget.
#[derive(Clone, Debug)]
pub(crate) struct Widget {
    pub(crate) name: String,
    pub(crate) kind: String,
    /// What it holds where a file says nothing.
    pub(crate) default: Option<Json>,
    pub(crate) dynamic_prompts: bool,
}

/// One position of a node's `widgets_values`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Position {
    /// The value of a widget, by its index.
    Widget(usize),
    /// What the editor keeps for itself: seed controls, upload buttons, dead values.
    Skipped,
}

impl Catalog {
    /// The classes of an `object_info` document (what `GET /object_info` answers). Entries of a
    /// wrong shape are left out: their nodes are then unknown.
    pub fn from_object_info(info: &Json) -> Self {
        let entries = info.as_object().into_iter().flatten();
        Self { classes: entries.filter_map(|(n, i)| Some((n.clone(), ClassInfo::read(n, i)?))).collect() }
    }

    /// The classes of a registry.
    pub fn from_registry(registry: &Registry) -> Self {
        Self::from_object_info(&registry.object_info())
    }

    /// Adds the classes of another catalog; those that are here already stay as they are.
    pub fn or(mut self, other: Self) -> Self {
        for (name, class) in other.classes {
            self.classes.entry(name).or_insert(class);
        }
        self
    }

    /// Whether it knows a class.
    pub fn knows(&self, class: &str) -> bool {
        self.classes.contains_key(class)
    }

    /// The names of its classes, in no order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.classes.keys().map(String::as_str)
    }

    pub(crate) fn get(&self, class: &str) -> Option<&ClassInfo> {
        self.classes.get(class)
    }
}

impl ClassInfo {
    fn read(name: &str, info: &Json) -> Option<Self> {
        let input = info.get("input")?.as_object()?;
        let order = info.get("input_order");
        let mut class = Self {
            display_name: info.get("display_name").and_then(Json::as_str).unwrap_or(name).to_owned(),
            ..Self::default()
        };
        let mut early = Vec::new();
        let mut differs = false;
        for section in ["required", "optional"] {
            let Some(inputs) = input.get(section).and_then(Json::as_object) else { continue };
            let mut uploads = 0;
            for (name, spec) in ordered(inputs, order.and_then(|o| o.get(section))) {
                let Some(spec) = Spec::read(name, spec) else { continue };
                uploads += spec.upload_widgets();
                let controls = spec.control_widgets();
                if spec.is_widget {
                    let position = Position::Widget(class.widgets.len());
                    for positions in [&mut class.positions, &mut early] {
                        positions.push(position);
                        positions.extend(std::iter::repeat_n(Position::Skipped, controls));
                    }
                    class.widgets.push(spec.widget());
                } else {
                    if spec.force_input {
                        differs = true;
                        early.extend(std::iter::repeat_n(Position::Skipped, 1 + controls));
                    }
                    class.sockets.push((name.to_owned(), spec.kind));
                }
            }
            // Upload buttons stand at the end of the section, not behind the list they belong to.
            for positions in [&mut class.positions, &mut early] {
                positions.extend(std::iter::repeat_n(Position::Skipped, uploads));
            }
        }
        class.early_positions = differs.then_some(early);
        Some(class)
    }

    /// The widget of a name.
    pub(crate) fn widget(&self, name: &str) -> Option<usize> {
        self.widgets.iter().position(|w| w.name == name)
    }

    /// What the positions of a list of values hold.
    pub(crate) fn positions_for(&self, values: usize) -> &[Position] {
        match &self.early_positions {
            Some(early) if early.len() == values => early,
            _ => &self.positions,
        }
    }
}

/// The inputs of a section in their declared order.
fn ordered<'a>(
    inputs: &'a Map<String, Json>,
    order: Option<&'a Json>,
) -> impl Iterator<Item = (&'a String, &'a Json)> {
    let listed: Vec<&str> =
        order.and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str).collect();
    let rest: Vec<_> = inputs.iter().filter(|(name, _)| !listed.contains(&name.as_str())).collect();
    listed.into_iter().filter_map(|name| inputs.get_key_value(name)).chain(rest)
}

/// An input's `[TYPE, OPTIONS]`, read.
struct Spec<'a> {
    name: &'a str,
    kind: String,
    options: Option<&'a Map<String, Json>>,
    first_choice: Option<&'a Json>,
    is_widget: bool,
    force_input: bool,
}

impl<'a> Spec<'a> {
    fn read(name: &'a str, spec: &'a Json) -> Option<Self> {
        let parts = spec.as_array()?;
        let options = parts.get(1).and_then(Json::as_object);
        let option = |key: &str| options.and_then(|o| o.get(key));
        let (kind, choices) = match parts.first()? {
            Json::String(kind) => (kind.clone(), option("options").and_then(Json::as_array)),
            Json::Array(choices) => ("COMBO".to_owned(), Some(choices)),
            _ => return None,
        };
        let force_input = option("forceInput") == Some(&Json::Bool(true));
        let shown_as = option("widgetType").and_then(Json::as_str).unwrap_or(&kind);
        let has_widget = matches!(
            shown_as,
            "INT"
                | "FLOAT"
                | "STRING"
                | "BOOLEAN"
                | "COMBO"
                | "COLOR"
                | "MARKDOWN"
                | "WEBCAM"
                | "LOAD_3D"
                | "LOAD_3D_ANIMATION"
                | "AUDIO_RECORD"
        );
        Some(Self {
            name,
            options,
            first_choice: choices.and_then(|c| c.first()),
            is_widget: has_widget && !force_input,
            force_input,
            kind,
        })
    }

    fn option(&self, key: &str) -> Option<&'a Json> {
        self.options.and_then(|o| o.get(key))
    }

    /// How many control widgets the editor puts behind this one: whether a seed is kept, counted
    /// up or drawn anew, and for lists a filter as well.
    fn control_widgets(&self) -> usize {
        let asked = match self.option("control_after_generate") {
            Some(Json::Bool(asked)) => *asked,
            Some(Json::String(mode)) => !mode.is_empty(),
            Some(_) => false,
            None => self.kind == "INT" && matches!(self.name, "seed" | "noise_seed"),
        };
        match (asked, self.kind.as_str()) {
            (true, "INT") => 1,
            (true, "COMBO") => 2,
            _ => 0,
        }
    }

    /// How many widgets its upload button adds.
    fn upload_widgets(&self) -> usize {
        let on = |key| self.option(key) == Some(&Json::Bool(true));
        if on("audio_upload") {
            2
        } else {
            usize::from(on("image_upload") || on("video_upload") || on("animated_image_upload"))
        }
    }

    fn widget(&self) -> Widget {
        let default = self.option("default").or(self.first_choice).cloned();
        let default = default.or_else(|| match self.kind.as_str() {
            "INT" | "FLOAT" => Some(Json::from(0)),
            "STRING" => Some(Json::from("")),
            "BOOLEAN" => Some(Json::from(false)),
            _ => None,
        });
        Widget {
            name: self.name.to_owned(),
            kind: self.kind.clone(),
            default,
            dynamic_prompts: self.option("dynamicPrompts") == Some(&Json::Bool(true)),
        }
    }
}
