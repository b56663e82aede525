//! The way through a bypassed node: which of its inputs stands in for an output.

use super::catalog::Catalog;
use super::document::Node;

/// The link of the input that a bypassed node passes on for an output slot, for a consumer of type
/// `wanted`.
///
/// A consumer that takes anything gets the input of the same place. Otherwise the input of the same
/// place if it fits both the output and the consumer; else the first input of exactly the wanted
/// type; else the first that fits; else nothing.
pub(super) fn input_for(node: &Node<'_>, slot: usize, wanted: &str, catalog: &Catalog) -> Option<i64> {
    let inputs = inputs(node, catalog);
    if wanted.is_empty() || wanted == "*" {
        let place = if slot < inputs.len() { slot } else { 0 };
        return inputs.get(place)?.1;
    }
    let output = node.output_kinds.get(slot).map_or("*", |kind| kind.as_ref());
    let same_place = inputs.get(slot).filter(|(kind, _)| fits(kind, output) && fits(kind, wanted));
    same_place
        .or_else(|| inputs.iter().find(|(kind, _)| *kind == wanted))
        .or_else(|| inputs.iter().find(|(kind, _)| fits(kind, wanted)))?
        .1
}

/// A node's inputs as the editor lays them out: declared sockets, then declared widgets, then
/// whatever else the file has.
fn inputs<'n>(node: &'n Node<'_>, catalog: &'n Catalog) -> Vec<(&'n str, Option<i64>)> {
    let Some(class) = catalog.get(node.class) else {
        return node.inputs.iter().map(|slot| (slot.kind.as_ref(), slot.link)).collect();
    };
    let sockets = class.sockets.iter().map(|(name, kind)| (name.as_str(), kind.as_str()));
    let declared: Vec<_> =
        sockets.chain(class.widgets.iter().map(|w| (w.name.as_str(), w.kind.as_str()))).collect();
    let extra = node.inputs.iter().filter(|slot| !declared.iter().any(|(name, _)| *name == slot.name));
    let extra: Vec<_> = extra.map(|slot| (slot.kind.as_ref(), slot.link)).collect();
    let link = |name: &str| node.inputs.iter().find(|slot| slot.name == name).and_then(|slot| slot.link);
    declared.iter().map(|(name, kind)| (*kind, link(name))).chain(extra).collect()
}

/// Whether two types connect: equal without regard to case, anything with anything, or unions that
/// share a member.
fn fits(a: &str, b: &str) -> bool {
    let any = |kind: &str| kind.is_empty() || kind == "*";
    any(a) || any(b) || a.split(',').any(|a| b.split(',').any(|b| a.trim().eq_ignore_ascii_case(b.trim())))
}
