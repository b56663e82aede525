//! Every recorded pair of UI workflow and API prompt, converted and compared.

use std::path::{Path, PathBuf};

use ebb_engine::workflow::ui::{Catalog, Options, convert};
use serde_json::{Map, Value as Json};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/conformance")
}

fn read(path: &Path) -> Json {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Equal with numbers compared by value: a browser writes 1.0 as 1.
fn same(a: &Json, b: &Json) -> bool {
    match (a, b) {
        (Json::Number(a), Json::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Json::Array(a), Json::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Json::Object(a), Json::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        _ => a == b,
    }
}

/// What differs between two prompts, node by node. Titles are the editor's translation, and packages'
/// versions its bookkeeping: of `_meta`, nothing is compared.
fn differences(found: &Json, expected: &Json) -> Vec<String> {
    let empty = Map::new();
    let (found, expected) = (found.as_object().unwrap_or(&empty), expected.as_object().unwrap_or(&empty));
    let mut differences = Vec::new();
    for id in expected.keys().filter(|id| !found.contains_key(*id)) {
        differences.push(format!("node {id} is missing"));
    }
    for (id, node) in found {
        let Some(wanted) = expected.get(id) else {
            differences.push(format!("node {id} should not be there: {node}"));
            continue;
        };
        for part in ["class_type", "inputs"] {
            let (a, b) = (node.get(part).unwrap_or(&Json::Null), wanted.get(part).unwrap_or(&Json::Null));
            if !same(a, b) {
                differences.push(format!("node {id} {part}:\n    found    {a}\n    expected {b}"));
            }
        }
    }
    differences
}

#[test]
fn every_pair_converts_as_the_newest_front_end_does() {
    let catalog = Catalog::from_object_info(&read(&folder().join("object_info.core.json")));
    let pairs = folder().join("ui2api");
    let mut names: Vec<String> = std::fs::read_dir(&pairs)
        .unwrap()
        .filter_map(|entry| Some(entry.ok()?.file_name().to_str()?.strip_suffix(".ui.json")?.to_owned()))
        .collect();
    names.sort();
    assert!(names.len() >= 27, "only {} pairs in {}", names.len(), pairs.display());
    let mut report = String::new();
    for name in &names {
        // Where front ends disagree, the newest one's answer has its version in the name.
        let newest = pairs.join(format!("{name}.api-fe1.58.json"));
        let expected = if newest.exists() { newest } else { pairs.join(format!("{name}.api.json")) };
        let drawn = read(&pairs.join(format!("{name}.ui.json")));
        match convert(drawn, &catalog, &mut Options::seeded(0)) {
            Ok(converted) => {
                for difference in differences(&converted.prompt, &read(&expected)) {
                    report += &format!("{name}: {difference}\n");
                }
            }
            Err(error) => report += &format!("{name}: {error}\n"),
        }
    }
    assert!(report.is_empty(), "{report}");
}

#[test]
fn an_unknown_class_is_named() {
    let catalog = Catalog::from_object_info(&read(&folder().join("object_info.core.json")));
    let drawn = read(&folder().join("ui2api/syn_unknown_node.ui.json"));
    let converted = convert(drawn, &catalog, &mut Options::seeded(0)).unwrap();
    let unknown: Vec<_> = converted.unknown.iter().map(|u| (u.id.as_str(), u.class.as_str())).collect();
    assert_eq!(unknown, [("2", "TotallyUnknownNode")]);
}
