//! Every class against ComfyUI's own description of it.

use std::sync::Arc;

use ebb_engine::registry::Registry;
use ebb_models::ops::{Ops, Precision};
use ebb_nodes::{Compute, Environment, Folders};
use ebb_weights::ModelFolders;
use serde_json::{Map, Value as Json, json};

/// What an option says: list values of model and file combos are the user's own, tooltips are texts.
fn spec(spec: &Json) -> (Json, Map<String, Json>) {
    let mut kind = spec[0].clone();
    let mut options = spec[1].as_object().cloned().unwrap_or_default();
    if kind == "COMBO" {
        kind = options.remove("options").unwrap_or_default();
    }
    options.remove("tooltip");
    options.retain(|name, value| name != "multiselect" || value != &json!(false));
    (kind, options)
}

fn same(a: &Json, b: &Json) -> bool {
    match (a, b) {
        (Json::Number(a), Json::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Json::Array(a), Json::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        _ => a == b,
    }
}

fn compare(ours: &Json, theirs: &Json, faults: &mut Vec<String>) {
    let class = ours["name"].as_str().unwrap_or_default();
    for section in ["required", "optional"] {
        let empty = Map::new();
        let mine = ours["input"][section].as_object().unwrap_or(&empty);
        let reference = theirs["input"][section].as_object().unwrap_or(&empty);
        let names = |map: &Map<String, Json>| map.keys().cloned().collect::<Vec<_>>();
        if names(mine) != names(reference) {
            faults.push(format!("{class}: {section} {:?}, expected {:?}", names(mine), names(reference)));
            continue;
        }
        for (name, theirs) in reference {
            let ((kind, options), (their_kind, their_options)) = (spec(&mine[name]), spec(theirs));
            // A list that is empty in the reference is one of files.
            // (`pixel_space` is ComfyUI's name for no autoencoder at all, beside the files.)
            let files = |values: &Vec<Json>| values.iter().all(|v| v == "pixel_space");
            let listed = their_kind.as_array().is_some_and(files) && kind.is_array();
            if !listed && kind != their_kind {
                faults.push(format!("{class}.{name}: type {kind}, expected {their_kind}"));
            }
            for (option, value) in &their_options {
                if !options.get(option).is_some_and(|mine| same(mine, value)) {
                    faults.push(format!(
                        "{class}.{name}: {option} {:?}, expected {value}",
                        options.get(option)
                    ));
                }
            }
            for option in options.keys().filter(|o| !their_options.contains_key(*o)) {
                faults.push(format!("{class}.{name}: has {option}, which ComfyUI's has not"));
            }
        }
    }
    for field in ["output", "output_is_list", "output_name", "category", "output_node", "python_module"] {
        if !same(&ours[field], &theirs[field]) {
            faults.push(format!("{class}: {field} {}, expected {}", ours[field], theirs[field]));
        }
    }
    if !theirs["display_name"].is_null() && ours["display_name"] != theirs["display_name"] {
        faults
            .push(format!("{class}: shown as {}, expected {}", ours["display_name"], theirs["display_name"]));
    }
    let hidden = |info: &Json| info["input"]["hidden"].as_object().cloned().unwrap_or_default();
    if hidden(ours) != hidden(theirs) {
        faults.push(format!("{class}: hidden {:?}, expected {:?}", hidden(ours), hidden(theirs)));
    }
}

#[test]
fn every_class_is_declared_as_comfyui_declares_it() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/conformance/object_info.core.json");
    let reference: Json = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut registry = Registry::new();
    let kernels = ebb_kernels::Kernels::new(ebb_kernels::Threads::new(1).unwrap(), ebb_kernels::Pool::new());
    let precision = Precision::F32;
    let environment = Environment {
        folders: Arc::new(Folders::under(folder.path())),
        models: Arc::new(ModelFolders::under(folder.path())),
        compute: Compute::new(Ops::cpu(kernels.unwrap(), precision), precision),
    };
    ebb_nodes::register(&mut registry, &environment).unwrap();
    assert!(!registry.is_empty());
    let mut faults = Vec::new();
    for class in registry.iter() {
        match reference.get(&class.schema.class) {
            Some(theirs) => compare(&class.schema.object_info(), theirs, &mut faults),
            // Widely used custom nodes that read what ComfyUI's own do not.
            None if class.schema.class.ends_with("GGUF") => {}
            None => faults.push(format!("{}: ComfyUI has no such class", class.schema.class)),
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
