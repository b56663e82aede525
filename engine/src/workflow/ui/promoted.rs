//! What an instance gives to its definition's inputs: links, and values of promoted widgets (those
//! that the instance shows in place of widgets inside).

use std::collections::HashMap;

use serde_json::Value as Json;

use super::catalog::Catalog;
use super::document::{Document, Node, Port};

/// How many definitions deep a promoted widget is looked for.
const DEPTH: usize = 32;

/// What an instance gives to one input.
#[derive(Clone, Copy)]
pub(super) enum Fed<'a> {
    /// A link of the graph that the instance is in.
    Link(i64),
    /// The instance's own value.
    Value(&'a Json),
    /// Nothing: the value inside stands.
    Nothing,
}

/// Which inputs of definitions lead to widgets, as far as anyone asked.
#[derive(Default)]
pub(super) struct Promoted {
    known: HashMap<(usize, usize), bool>,
}

impl Promoted {
    /// What an instance gives to each input of its definition.
    pub(super) fn feed<'a>(
        &mut self,
        document: &Document<'a>,
        catalog: &Catalog,
        instance: &Node<'a>,
        graph: usize,
        own_values: bool,
    ) -> Vec<Fed<'a>> {
        let mut links = HashMap::new();
        for slot in &instance.inputs {
            links.entry(slot.name).or_insert(slot.link);
        }
        let ports = &document.graphs[graph].inputs;
        let values = match own_values {
            true => self.values(document, catalog, instance, graph),
            false => vec![None; ports.len()],
        };
        let fed = |(port, value): (&Port<'_>, Option<&'a Json>)| match (links.get(port.name), value) {
            (Some(Some(link)), _) => Fed::Link(*link),
            (_, Some(value)) => Fed::Value(value),
            (_, None) => Fed::Nothing,
        };
        ports.iter().zip(values).map(fed).collect()
    }

    /// The values that an instance holds, by input of its definition.
    fn values<'a>(
        &mut self,
        document: &Document<'a>,
        catalog: &Catalog,
        instance: &Node<'a>,
        graph: usize,
    ) -> Vec<Option<&'a Json>> {
        let ports = &document.graphs[graph].inputs;
        let values = instance.positional();
        if values.is_empty() {
            return vec![None; ports.len()];
        }
        let proxies = instance.properties.and_then(|p| p.get("proxyWidgets")).and_then(Json::as_array);
        if let Some(proxies) = proxies.filter(|proxies| proxies.len() == values.len()) {
            return by_proxy(document, graph, proxies, values);
        }
        let mut values = values.iter();
        let mut next = |port| {
            let shown = self.is_widget(document, catalog, graph, port, DEPTH);
            if shown { values.next() } else { None }
        };
        (0..ports.len()).map(&mut next).collect()
    }

    /// Whether an input of a definition leads to a widget, so that an instance shows one for it.
    fn is_widget(
        &mut self,
        document: &Document<'_>,
        catalog: &Catalog,
        graph: usize,
        port: usize,
        depth: usize,
    ) -> bool {
        if let Some(known) = self.known.get(&(graph, port)) {
            return *known;
        }
        // A definition that leads back to itself shows nothing on the way.
        self.known.insert((graph, port), false);
        let here = &document.graphs[graph];
        let shown = here.inputs[port].targets.iter().any(|&(node, input)| {
            let node = &here.nodes[node];
            let slot = &node.inputs[input];
            if slot.widget || catalog.get(node.class).is_some_and(|class| class.widget(slot.name).is_some()) {
                return true;
            }
            let Some(inner) = document.definition(node.class).filter(|_| depth > 0) else { return false };
            let port = document.graphs[inner].inputs.iter().position(|port| port.name == slot.name);
            port.is_some_and(|port| self.is_widget(document, catalog, inner, port, depth - 1))
        });
        self.known.insert((graph, port), shown);
        shown
    }
}

/// Values where the instance lists `[inner node, widget]` for each; an inner node of -1 names an
/// input of the definition.
fn by_proxy<'a>(
    document: &Document<'a>,
    graph: usize,
    proxies: &[Json],
    values: &'a [Json],
) -> Vec<Option<&'a Json>> {
    let mut listed = HashMap::new();
    for (proxy, value) in proxies.iter().zip(values) {
        if let (Some(node), Some(widget)) =
            (proxy.get(0).and_then(Json::as_str), proxy.get(1).and_then(Json::as_str))
        {
            listed.entry((node, widget)).or_insert(value);
        }
    }
    let graph = &document.graphs[graph];
    let value = |port: &Port<'_>| {
        let mut targets = port.targets.iter().map(|&(node, input)| {
            let node = &graph.nodes[node];
            (node.file_id.as_str(), node.inputs[input].name)
        });
        let own = listed.get(&("-1", port.name)).copied();
        own.or_else(|| targets.find_map(|target| listed.get(&target).copied()))
    };
    graph.inputs.iter().map(value).collect()
}
