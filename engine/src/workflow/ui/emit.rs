//! From nodes to API entries: inputs by name, literals and links.

use std::collections::HashMap;

use serde_json::{Map, Value as Json, json};

use super::catalog::{Catalog, ClassInfo};
use super::document::{Document, Mode, Node};
use super::error::ConvertError;
use super::follow::{Follower, Source};
use super::scopes::Scope;
use super::{Converted, Options, UnknownNode, text, values};

/// Nodes whose `filename_prefix` takes placeholders.
const SAVERS: [&str; 15] = [
    "CLIPSave",
    "LoraSave",
    "ModelSave",
    "SaveAnimatedPNG",
    "SaveAnimatedWEBP",
    "SaveAudio",
    "SaveAudioMP3",
    "SaveAudioOpus",
    "SaveGLB",
    "SaveImage",
    "SaveLatent",
    "SaveSVGNode",
    "SaveVideo",
    "SaveWEBM",
    "VAESave",
];

/// Writes entries.
pub(super) struct Emitter<'d, 'a, 'o, 'p> {
    document: &'d Document<'a>,
    scopes: &'d [Scope],
    catalog: &'d Catalog,
    follower: Follower<'d, 'a>,
    options: &'o mut Options<'p>,
    /// Nodes by the names that placeholders use, once one is met.
    names: Option<HashMap<&'d str, (usize, usize)>>,
    /// How many bytes of values may still be written.
    room: usize,
}

impl<'d, 'a, 'o, 'p> Emitter<'d, 'a, 'o, 'p> {
    pub(super) fn new(
        document: &'d Document<'a>,
        scopes: &'d [Scope],
        catalog: &'d Catalog,
        options: &'o mut Options<'p>,
    ) -> Self {
        let follower = Follower::new(document, scopes, catalog, &options.limits);
        let room = options.limits.bytes;
        Self { document, scopes, catalog, follower, options, names: None, room }
    }

    /// Every node that computes: whole-number ids ascending, then the others in order, as
    /// JavaScript orders an object's keys.
    pub(super) fn prompt(mut self) -> Result<Converted, ConvertError> {
        let mut entries = Vec::new();
        let mut unknown = Vec::new();
        for (index, scope) in self.scopes.iter().enumerate() {
            for (position, node) in self.document.graphs[scope.graph].nodes.iter().enumerate() {
                if !self.computes(node) {
                    continue;
                }
                let id = format!("{}{}", scope.path, node.id);
                if !self.catalog.knows(node.class) {
                    unknown.push(UnknownNode { id: id.clone(), class: node.class.to_owned() });
                }
                entries.push((id, self.entry(index, position)?));
            }
        }
        // A stable sort keeps the others in order.
        entries.sort_by_key(|(id, _)| array_index(id).unwrap_or(u32::MAX));
        Ok(Converted { prompt: Json::Object(entries.into_iter().collect()), unknown })
    }

    /// Whether a node has an entry of its own.
    fn computes(&self, node: &Node<'_>) -> bool {
        let drawn = node.is_note() || node.is_reroute() || node.is_primitive();
        node.mode == Mode::Active && !drawn && self.document.definition(node.class).is_none()
    }

    fn entry(&mut self, scope: usize, index: usize) -> Result<Json, ConvertError> {
        let node = self.node(scope, index);
        let class = self.catalog.get(node.class);
        let mut inputs = Map::new();
        for (name, value) in values::own(node, class) {
            self.take(values::weight(value))?;
            inputs.insert(name, value.clone());
        }
        let mut links = Vec::new();
        for slot in node.inputs.iter().filter(|slot| !slot.name.is_empty() || slot.link.is_some()) {
            let Some(link) = slot.link else { continue };
            match self.follower.follow(scope, link, &slot.kind)? {
                Source::Output { scope, node, slot: output } => {
                    let (path, id) = (&self.scopes[scope].path, &self.node(scope, node).id);
                    links.push((slot.name, json!([format!("{path}{id}"), output])));
                }
                Source::Value(value) if slot.widget || has_widget(class, slot.name) => {
                    self.take(values::weight(value))?;
                    inputs.insert(slot.name.to_owned(), value.clone());
                }
                Source::Value(_) | Source::Nothing => {}
            }
        }
        self.finish_texts(node, class, &mut inputs)?;
        for value in inputs.values_mut().filter(|value| value.is_array()) {
            // A bare list would be a link.
            *value = json!({"__value__": value.take()});
        }
        for (name, link) in links {
            inputs.insert(name.to_owned(), link);
        }
        let mut entry = Map::new();
        entry.insert("inputs".into(), Json::Object(inputs));
        if class.is_some() {
            entry.insert("class_type".into(), json!(node.class));
        }
        let title = node.title.unwrap_or(class.map_or("", |class| &class.display_name));
        entry.insert("_meta".into(), json!({"title": title}));
        Ok(Json::Object(entry))
    }

    /// Resolves choices in prompts and placeholders in file names.
    fn finish_texts(
        &mut self,
        node: &Node<'_>,
        class: Option<&ClassInfo>,
        inputs: &mut Map<String, Json>,
    ) -> Result<(), ConvertError> {
        for widget in class.iter().flat_map(|class| &class.widgets) {
            if let (true, Some(Json::String(value))) = (widget.dynamic_prompts, inputs.get_mut(&widget.name))
            {
                *value = text::dynamic_prompt(value, &mut self.options.pick);
            }
        }
        if SAVERS.contains(&node.class)
            && let Some(Json::String(prefix)) = inputs.get_mut("filename_prefix")
        {
            let mut failed = None;
            let clock = self.options.clock;
            *prefix = text::placeholders(prefix, clock.as_ref(), |name, widget| {
                self.widget_text(name, widget).unwrap_or_else(|error| {
                    failed = Some(error);
                    None
                })
            });
            if let Some(error) = failed {
                return Err(error);
            }
        }
        Ok(())
    }

    /// The value of a widget of the node of a name, as text.
    fn widget_text(&mut self, name: &str, widget: &str) -> Result<Option<String>, ConvertError> {
        let names = self.names.get_or_insert_with(|| names(self.document, self.scopes, self.catalog));
        let Some(&(scope, index)) = names.get(name) else { return Ok(None) };
        let node = self.node(scope, index);
        let class = self.catalog.get(node.class);
        let mut value =
            values::own(node, class).into_iter().find(|(n, _)| n == widget).map(|(_, value)| value);
        if let Some((slot, link)) =
            node.inputs.iter().find(|s| s.name == widget).and_then(|s| Some((s, s.link?)))
            && let Source::Value(written) = self.follower.follow(scope, link, &slot.kind)?
        {
            value = Some(written);
        }
        let Some(value) = value else { return Ok(None) };
        self.take(values::weight(value))?;
        Ok(Some(values::as_text(value)))
    }

    fn node(&self, scope: usize, index: usize) -> &'d Node<'a> {
        &self.document.graphs[self.scopes[scope].graph].nodes[index]
    }

    /// Counts bytes that are about to be written.
    fn take(&mut self, bytes: usize) -> Result<(), ConvertError> {
        let limit = self.options.limits.bytes;
        self.room = self.room.checked_sub(bytes).ok_or(ConvertError::TooLarge { limit })?;
        Ok(())
    }
}

fn has_widget(class: Option<&ClassInfo>, name: &str) -> bool {
    class.is_some_and(|class| class.widget(name).is_some())
}

/// The names that placeholders may use for nodes: "Node name for S&R" before titles; where several
/// nodes share one, the first.
fn names<'d>(
    document: &'d Document<'_>,
    scopes: &'d [Scope],
    catalog: &'d Catalog,
) -> HashMap<&'d str, (usize, usize)> {
    let mut names = HashMap::new();
    let nodes = || {
        scopes.iter().enumerate().flat_map(|(s, scope)| {
            document.graphs[scope.graph].nodes.iter().enumerate().map(move |(n, node)| ((s, n), node))
        })
    };
    for (place, node) in nodes() {
        let name = node.properties.and_then(|p| p.get("Node name for S&R")).and_then(Json::as_str);
        if let Some(name) = name {
            names.entry(name).or_insert(place);
        }
    }
    for (place, node) in nodes() {
        let title = node.title.or_else(|| catalog.get(node.class).map(|class| class.display_name.as_str()));
        if let Some(title) = title {
            names.entry(title).or_insert(place);
        }
    }
    names
}

/// The id as JavaScript counts array indices: these keys come first.
fn array_index(id: &str) -> Option<u32> {
    let canonical = id == "0" || !id.starts_with(['0', '+']);
    id.parse().ok().filter(|&index| canonical && index != u32::MAX)
}
