//! Legacy group nodes (`workflow>NAME` with `extra.groupNodes`) become subgraphs, as the newer
//! editors turn them into on loading: only the ids of the nodes inside change.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value as Json, json};

use super::catalog::{Catalog, Position};
use super::error::ConvertError;
use super::scopes::Limits;
use super::values;

/// Replaces every group node of the root graph by an instance of a subgraph made for it.
pub(super) fn into_subgraphs(
    mut json: Json,
    catalog: &Catalog,
    limits: &Limits,
) -> Result<Json, ConvertError> {
    let Some(groups) = json.pointer("/extra/groupNodes").and_then(Json::as_object).cloned() else {
        return Ok(json);
    };
    let nodes = json.get("nodes").and_then(Json::as_array);
    let highest = nodes.into_iter().flatten().filter_map(|node| node.get("id")?.as_i64()).max().unwrap_or(0);
    let last = json.get("last_node_id").and_then(Json::as_i64).unwrap_or(0).max(highest);
    let mut maker =
        Maker { groups: &groups, catalog, limits, last_id: last, definitions: Vec::new(), made: 0, bytes: 0 };
    let mut renamed = HashMap::new();
    for node in json.get_mut("nodes").and_then(Json::as_array_mut).into_iter().flatten() {
        let old = node.get("id").map(ToString::to_string);
        if maker.replace(node, 0)?
            && let (Some(old), Some(new)) = (old, node.get("id"))
        {
            renamed.insert(old, new.clone());
        }
    }
    let definitions = maker.definitions;
    if definitions.is_empty() {
        return Ok(json);
    }
    for link in json.get_mut("links").and_then(Json::as_array_mut).into_iter().flatten() {
        for (index, name) in [(1, "origin_id"), (3, "target_id")] {
            let end = if link.is_array() { link.get_mut(index) } else { link.get_mut(name) };
            if let Some(end) = end
                && let Some(new) = renamed.get(&end.to_string())
            {
                *end = new.clone();
            }
        }
    }
    let Some(root) = json.as_object_mut() else { return Ok(json) };
    let known = root.entry("definitions").or_insert_with(|| json!({}));
    match known.get_mut("subgraphs").and_then(Json::as_array_mut) {
        Some(there) => there.extend(definitions),
        None => *known = json!({"subgraphs": definitions}),
    }
    Ok(json)
}

struct Maker<'g> {
    groups: &'g Map<String, Json>,
    catalog: &'g Catalog,
    limits: &'g Limits,
    last_id: i64,
    definitions: Vec<Json>,
    /// How much was copied, to meet the limits before memory runs out.
    made: usize,
    bytes: usize,
}

/// A group's inner links, by the node and slot at either end.
#[derive(Default)]
struct Wires {
    /// Inner target (node, input) → inner source (node, output).
    into: HashMap<(usize, usize), (usize, usize)>,
    sources: HashSet<(usize, usize)>,
    /// Outputs that are shown although something inside uses them.
    shown: HashSet<(usize, usize)>,
}

impl Maker<'_> {
    /// Turns a group node into an instance; tells whether it was one.
    fn replace(&mut self, node: &mut Json, depth: usize) -> Result<bool, ConvertError> {
        let class = node.get("type").and_then(Json::as_str).unwrap_or("");
        let name = class.strip_prefix("workflow>").or_else(|| class.strip_prefix("workflow/"));
        let Some((name, group)) = name.and_then(|name| self.groups.get_key_value(name)) else {
            return Ok(false);
        };
        if depth >= self.limits.depth {
            return Err(ConvertError::TooDeep { path: name.clone(), limit: self.limits.depth });
        }
        self.bytes += values::weight(group);
        if self.bytes > self.limits.bytes {
            return Err(ConvertError::TooLarge { limit: self.limits.bytes });
        }
        let (name, group) = (name.clone(), group.clone());
        let values = node.get("widgets_values").and_then(Json::as_array).cloned().unwrap_or_default();
        let definition = self.definition(&name, &group, values, depth)?;
        self.last_id += 1;
        let id = format!("group {name} {}", self.last_id);
        node["id"] = json!(self.last_id);
        node["type"] = json!(id);
        node["widgets_values"] = json!([]);
        let mut definition = definition;
        definition["id"] = json!(id);
        self.definitions.push(definition);
        Ok(true)
    }

    fn definition(
        &mut self,
        name: &str,
        group: &Json,
        values: Vec<Json>,
        depth: usize,
    ) -> Result<Json, ConvertError> {
        let mut nodes = group.get("nodes").and_then(Json::as_array).cloned().unwrap_or_default();
        self.made += nodes.len();
        if self.made > self.limits.nodes {
            return Err(ConvertError::TooManyNodes { limit: self.limits.nodes });
        }
        let wires = Wires::read(group);
        let mut values = values.into_iter();
        for (index, node) in nodes.iter_mut().enumerate().filter(|(_, node)| node.is_object()) {
            self.last_id += 1;
            node["id"] = json!(self.last_id);
            self.hand_out(node, index, &wires, &mut values);
        }
        let mut links = Vec::new();
        let inputs = connect_inputs(&mut nodes, group, &wires, &mut links);
        let outputs = connect_outputs(&nodes, group, &wires, &mut links);
        for node in nodes.iter_mut().filter(|node| node.is_object()) {
            // The links of this definition name the node by its id, so that it must not change any
            // more: a group within a group keeps the id that it has.
            let id = node["id"].clone();
            if self.replace(node, depth + 1)? {
                node["id"] = id;
            }
        }
        Ok(json!({"name": name, "nodes": nodes, "links": links, "inputs": inputs, "outputs": outputs}))
    }

    /// Gives an inner node its part of the group's widget values: those of its widgets that are
    /// neither wired nor turned into inputs.
    fn hand_out(&self, node: &mut Json, index: usize, wires: &Wires, values: &mut std::vec::IntoIter<Json>) {
        let class = node.get("type").and_then(Json::as_str).unwrap_or("");
        let own = node.get("widgets_values").and_then(Json::as_array).cloned().unwrap_or_default();
        let mut held = Vec::new();
        if class == "PrimitiveNode" {
            for old in own {
                held.push(values.next().unwrap_or(old));
            }
        } else if let Some(class) = self.catalog.get(class) {
            let converted = |name: &str| {
                let inputs = node.get("inputs").and_then(Json::as_array).into_iter().flatten();
                let mut named =
                    inputs.enumerate().filter(|(_, i)| i.get("name").and_then(Json::as_str) == Some(name));
                named.any(|(slot, i)| i.get("widget").is_some() || wires.into.contains_key(&(index, slot)))
            };
            let mut free = true;
            for (place, position) in class.positions.iter().enumerate() {
                let mut default = None;
                if let Position::Widget(widget) = position {
                    let widget = &class.widgets[*widget];
                    free = !converted(&widget.name);
                    default = widget.default.clone();
                }
                let old = own.get(place).cloned().or(default).unwrap_or_default();
                held.push(if free { values.next().unwrap_or(old) } else { old });
            }
        } else {
            return;
        }
        node["widgets_values"] = Json::Array(held);
    }
}

impl Wires {
    fn read(group: &Json) -> Self {
        let mut wires = Self::default();
        let index = |json: Option<&Json>| json.and_then(Json::as_u64).and_then(|i| usize::try_from(i).ok());
        for link in group.get("links").and_then(Json::as_array).into_iter().flatten() {
            let ends = (index(link.get(0)), index(link.get(1)), index(link.get(2)), index(link.get(3)));
            if let (Some(from), Some(output), Some(to), Some(input)) = ends {
                wires.into.insert((to, input), (from, output));
                wires.sources.insert((from, output));
            }
        }
        for shown in group.get("external").and_then(Json::as_array).into_iter().flatten() {
            if let (Some(node), Some(output)) = (index(shown.get(0)), index(shown.get(1))) {
                wires.shown.insert((node, output));
            }
        }
        wires
    }
}

/// Wires the inner nodes' inputs, and lists those that the group shows, under the names that the
/// editor gave them: the input's own, with the node's title before it where the name is taken.
fn connect_inputs(nodes: &mut [Json], group: &Json, wires: &Wires, links: &mut Vec<Json>) -> Vec<Json> {
    let ids: Vec<Json> = nodes.iter().map(|node| node.get("id").cloned().unwrap_or_default()).collect();
    let mut taken: HashMap<String, usize> = HashMap::new();
    let mut ports = Vec::new();
    for (index, node) in nodes.iter_mut().enumerate() {
        let text = |json: Option<&Json>| json.and_then(Json::as_str).map(str::to_owned);
        let title = text(node.get("title")).or_else(|| text(node.get("type"))).unwrap_or_default();
        let id = ids[index].clone();
        let Some(inputs) = node.get_mut("inputs").and_then(Json::as_array_mut) else { continue };
        for (slot, input) in inputs.iter_mut().enumerate().filter(|(_, input)| input.is_object()) {
            let link = links.len() + 1;
            if let Some((from, output)) = wires.into.get(&(index, slot)) {
                let Some(from) = ids.get(*from) else { continue };
                links.push(json!([link, from, output, id, slot, "*"]));
                input["link"] = json!(link);
                continue;
            }
            let own = text(input.get("name")).unwrap_or_default();
            let config = group.pointer(&format!("/config/{index}/input")).and_then(|config| config.get(&own));
            if config.and_then(|c| c.get("visible")) == Some(&Json::Bool(false)) {
                continue;
            }
            let renamed = text(config.and_then(|c| c.get("name"))).or_else(|| text(input.get("label")));
            let mut name = renamed.unwrap_or_else(|| own.clone());
            if taken.contains_key(&name) {
                name = format!("{title} {own}");
                if let Some(times) = taken.get(&name) {
                    name = format!("{title}  {times} {own}");
                }
            }
            *taken.entry(name.clone()).or_insert(0) += 1;
            links.push(json!([link, -10, ports.len(), id, slot, "*"]));
            input["link"] = json!(link);
            ports.push(json!({"name": name}));
        }
    }
    ports
}

/// Lists the outputs that the group shows: those that nothing inside uses, or that are marked.
fn connect_outputs(nodes: &[Json], group: &Json, wires: &Wires, links: &mut Vec<Json>) -> Vec<Json> {
    let mut ports = Vec::new();
    for (index, node) in nodes.iter().enumerate() {
        let outputs = node.get("outputs").and_then(Json::as_array).map_or(0, Vec::len);
        for slot in 0..outputs {
            let visible = group.pointer(&format!("/config/{index}/output/{slot}/visible"));
            let used = wires.sources.contains(&(index, slot)) && !wires.shown.contains(&(index, slot));
            if used || visible == Some(&Json::Bool(false)) {
                continue;
            }
            let link = links.len() + 1;
            links.push(json!([link, node["id"], slot, -20, ports.len(), "*"]));
            ports.push(json!({"name": slot.to_string()}));
        }
    }
    ports
}
