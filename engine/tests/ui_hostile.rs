//! UI workflows that nobody drew by hand: every one is an answer or an error, and none is a panic, a
//! deep stack or a long wait.

use std::path::Path;
use std::sync::OnceLock;

use ebb_engine::workflow::source::Source;
use ebb_engine::workflow::ui::{Catalog, ConvertError, Converted, Options, convert};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

fn catalog() -> Catalog {
    Catalog::from_object_info(&json!({
        "Make": {"input": {"required": {"n": ["INT", {"default": 1}]}}, "output": ["IMAGE"]},
        "Take": {"input": {"required": {"image": ["IMAGE"], "text": ["STRING", {"dynamicPrompts": true}]}}},
    }))
}

fn run(json: Json) -> Result<Converted, ConvertError> {
    convert(json, &catalog(), &mut Options::seeded(1))
}

fn node(id: usize, class: &str, link: Option<usize>) -> Json {
    json!({"id": id, "type": class, "inputs": [{"name": "image", "type": "IMAGE", "link": link}],
           "outputs": [{"type": "IMAGE"}]})
}

/// A definition of one instance of each of the given definitions, its input passed to all of them.
fn definition(id: &str, inside: &[&str]) -> Json {
    let nodes: Vec<_> = inside.iter().enumerate().map(|(i, class)| node(i + 1, class, Some(i + 1))).collect();
    let links: Vec<_> = (1..=nodes.len()).map(|i| json!([i, -10, 0, i, 0, "IMAGE"])).collect();
    json!({"id": id, "name": id, "nodes": nodes, "links": links, "inputs": [{"name": "image"}]})
}

#[test]
fn a_million_links_through_reroutes_are_followed() {
    let reroutes = 200_000;
    let takers = 20_000;
    let mut nodes = vec![node(0, "Make", None)];
    let mut links = Vec::new();
    for i in 1..=reroutes {
        nodes.push(node(i, "Reroute", Some(i)));
        links.push(json!([i, i - 1, 0, i, 0, "*"]));
    }
    for i in 1..=takers {
        let id = reroutes + i;
        nodes.push(node(id, "Take", Some(id)));
        links.push(json!([id, reroutes, 0, id, 0, "*"]));
    }
    links.extend((1_000_000..2_000_000).map(|i| json!([i, 0, 0, 0, 0, "*"])));
    let mut options = Options::seeded(0);
    options.limits.nodes = 1_000_000;
    let converted = convert(json!({"nodes": nodes, "links": links}), &catalog(), &mut options).unwrap();
    assert_eq!(converted.prompt.as_object().unwrap().len(), 1 + takers);
    assert_eq!(converted.prompt[(reroutes + takers).to_string()]["inputs"]["image"], json!(["0", 0]));
}

#[test]
fn circles_of_links_are_errors() {
    let nodes = [node(1, "Reroute", Some(2)), node(2, "Reroute", Some(1)), node(3, "Take", Some(3))];
    let links = json!([[1, 1, 0, 2, 0, "*"], [2, 2, 0, 1, 0, "*"], [3, 2, 0, 3, 0, "*"]]);
    assert!(matches!(run(json!({"nodes": nodes, "links": links})), Err(ConvertError::LinkCycle { .. })));
    let itself = json!({"nodes": [node(7, "Reroute", Some(1)), node(8, "Take", Some(2))],
                        "links": [[1, 7, 0, 7, 0, "*"], [2, 7, 0, 8, 0, "*"]]});
    assert_eq!(
        run(itself).unwrap_err().to_string(),
        "the links through node 7 go round in a circle without reaching a node that computes"
    );
}

#[test]
fn links_to_nothing_leave_the_input_out() {
    let nodes = [node(1, "Take", Some(5)), node(2, "Take", Some(99)), node(3, "Take", Some(6))];
    let links =
        json!([[5, 77, 0, 1, 0, "*"], [6, -10, 3, 3, 0, "*"], null, 7, [], {"id": "x"}, [8, 1, -1, 2, 0]]);
    let converted = run(json!({"nodes": nodes, "links": links})).unwrap();
    for id in ["1", "2", "3"] {
        assert!(converted.prompt[id]["inputs"].get("image").is_none(), "{id}");
    }
}

#[test]
fn subgraphs_that_hold_themselves_are_errors() {
    let root =
        |definitions: Json| json!({"nodes": [node(1, "a", None)], "definitions": {"subgraphs": definitions}});
    // The node inside is renumbered, since the root has its id.
    let direct = run(root(json!([definition("a", &["a"])])));
    assert!(matches!(direct, Err(ConvertError::RecursiveSubgraph { path, .. }) if path == "1:2"));
    let pair = run(root(json!([definition("a", &["b"]), definition("b", &["Take", "a"])])));
    assert!(matches!(pair, Err(ConvertError::RecursiveSubgraph { .. })));
}

#[test]
fn deep_and_wide_nesting_meets_its_limit() {
    let names: Vec<String> = (0..=40).map(|i| format!("level {i}")).collect();
    let tower = |copies: usize, levels: usize| {
        let definitions: Vec<_> = (0..levels)
            .map(|i| match i + 1 < levels {
                true => definition(&names[i], &vec![names[i + 1].as_str(); copies]),
                false => definition(&names[i], &["Take"]),
            })
            .collect();
        run(json!({"nodes": [node(1, &names[0], None)], "definitions": {"subgraphs": definitions}}))
    };
    let converted = tower(1, 32).unwrap();
    assert_eq!(converted.prompt.as_object().unwrap().len(), 1);
    assert!(matches!(tower(1, 40), Err(ConvertError::TooDeep { limit: 32, .. })));
    assert!(matches!(tower(2, 30), Err(ConvertError::TooManyNodes { .. })));
}

#[test]
fn values_multiplied_by_subgraphs_meet_their_limit() {
    let text = "x".repeat(1 << 20);
    let inner = json!({"id": 1, "type": "Take", "widgets_values": [text]});
    let definition = json!({"id": "a", "nodes": [inner]});
    let nodes: Vec<_> = (0..1000).map(|i| node(i, "a", None)).collect();
    let result = run(json!({"nodes": nodes, "definitions": {"subgraphs": [definition]}}));
    assert!(matches!(result, Err(ConvertError::TooLarge { .. })));
}

#[test]
fn group_nodes_that_hold_themselves_are_errors() {
    let inside = json!({"nodes": [{"type": "workflow>g"}, {"type": "workflow>g"}]});
    let drawn = json!({"nodes": [{"id": 1, "type": "workflow>g"}], "extra": {"groupNodes": {"g": inside}}});
    assert!(matches!(run(drawn), Err(ConvertError::TooDeep { .. } | ConvertError::TooManyNodes { .. })));
}

#[test]
fn names_that_mean_something_to_javascript_mean_nothing_here() {
    let drawn = json!({
        "nodes": [
            {"id": "__proto__", "type": "Take", "inputs": [{"name": "__proto__", "link": 1}],
             "widgets_values": {"__proto__": {"polluted": true}, "text": "constructor"}},
            {"id": "constructor", "type": "__proto__", "widgets_values": {"__proto__": 1}},
            {"id": 3, "type": "Make"},
        ],
        "links": [[1, 3, 0, "__proto__", 0, "*"]],
    });
    let converted = run(drawn).unwrap();
    assert_eq!(
        converted.prompt["__proto__"]["inputs"],
        json!({"text": "constructor", "__proto__": ["3", 0]})
    );
    assert_eq!(converted.prompt["constructor"]["inputs"], json!({"__proto__": 1}));
}

#[test]
fn wrong_shapes_are_named() {
    for (drawn, message) in [
        (json!([]), "the workflow: expected an object, found an array"),
        (json!({"nodes": {}}), "nodes of the workflow: expected an array, found an object"),
        (json!({"nodes": [1]}), "nodes[0] of the workflow: expected an object, found a number"),
        (
            json!({"nodes": [{"id": 1, "type": "A"}, {"id": "1", "type": "A"}]}),
            "node id 1 occurs twice in the workflow: links to it are ambiguous; give one another id",
        ),
        (json!({"nodes": [{"id": 1}]}), "nodes[0] of the workflow.type: expected a string, found null"),
        (
            json!({"definitions": {"subgraphs": [{}]}}),
            "definitions.subgraphs[0].id: expected a string, found null",
        ),
    ] {
        assert_eq!(run(drawn).unwrap_err().to_string(), message);
    }
}

#[test]
fn deep_json_is_refused_by_the_parser() {
    let text = format!("{{\"nodes\": {}", "[".repeat(1_000_000));
    assert!(Source::read(text.as_bytes()).is_err());
}

/// The recorded files, to be damaged.
fn recorded() -> &'static [Json] {
    static FILES: OnceLock<Vec<Json>> = OnceLock::new();
    FILES.get_or_init(read_recorded)
}

fn read_recorded() -> Vec<Json> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/conformance/ui2api");
    let files = std::fs::read_dir(folder).unwrap().filter_map(|entry| Some(entry.ok()?.path()));
    let mut files: Vec<_> = files.filter(|path| path.to_string_lossy().ends_with(".ui.json")).collect();
    files.sort();
    let texts = files.iter().filter_map(|path| std::fs::read_to_string(path).ok());
    texts.filter(|text| text.len() < 50_000).map(|text| serde_json::from_str(&text).unwrap()).collect()
}

/// Replaces the value at a place that the numbers choose.
fn damage(json: &mut Json, path: &[usize], with: &Json) {
    let children = match json {
        Json::Array(items) => items.len(),
        Json::Object(map) => map.len(),
        _ => 0,
    };
    match (path.split_first(), children) {
        (Some((step, rest)), 1..) => {
            let step = step % children;
            match json {
                Json::Array(items) => damage(&mut items[step], rest, with),
                Json::Object(map) => damage(map.values_mut().nth(step).unwrap(), rest, with),
                _ => {}
            }
        }
        _ => *json = with.clone(),
    }
}

fn junk() -> impl Strategy<Value = Json> {
    prop_oneof![
        Just(Json::Null),
        any::<i64>().prop_map(|n| json!(n)),
        (-12i64..40).prop_map(|n| json!(n)),
        any::<f64>().prop_map(|n| json!(n)),
        any::<bool>().prop_map(|b| json!(b)),
        "[a-z{}|%/.]{0,8}".prop_map(|s| json!(s)),
        Just(json!("11111111-1111-4111-8111-111111111111")),
        Just(json!([])),
        Just(json!({})),
        Just(json!([[1, -10, 0, -20, 0, "*"]])),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_files_convert_or_say_why(
        file in 0usize..1000,
        changes in prop::collection::vec((prop::collection::vec(0usize..64, 1..9), junk()), 1..12),
    ) {
        let files = recorded();
        let mut drawn = files[file % files.len()].clone();
        for (path, with) in &changes {
            damage(&mut drawn, path, with);
        }
        if let Ok(converted) = convert(drawn, &catalog(), &mut Options::seeded(0)) {
            let prompt = converted.prompt.as_object().unwrap();
            for (id, node) in prompt {
                for (name, value) in node["inputs"].as_object().unwrap() {
                    // A bare list is always a link to a node that is there.
                    if let Json::Array(link) = value {
                        prop_assert!(prompt.contains_key(link[0].as_str().unwrap()), "{}.{}: {}", id, name, value);
                    }
                }
            }
        }
    }

    #[test]
    fn damaged_pngs_are_read_or_refused(
        mut bytes in Just(png()),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        cut in any::<prop::sample::Index>(),
    ) {
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(cut.index(bytes.len() + 1));
        let _ = Source::read(&bytes).map(|source| source.open(&catalog(), &mut Options::seeded(0)));
    }
}

fn png() -> Vec<u8> {
    let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
    let texts: [(&[u8], &[u8]); 3] = [
        (b"tEXt", b"prompt\0{\"1\": {\"class_type\": \"Make\", \"inputs\": {\"n\": NaN}}}"),
        (b"iTXt", b"workflow\0\0\0\0\0{\"nodes\": [{\"id\": 1, \"type\": \"Make\"}], \"links\": []}"),
        (b"zTXt", b"prompt\0\0\x78\x9c\x03\x00\x00\x00\x00\x01"),
    ];
    for (kind, content) in texts {
        bytes.extend(u32::try_from(content.len()).unwrap().to_be_bytes());
        bytes.extend(kind);
        bytes.extend(content);
        bytes.extend([0; 4]);
    }
    bytes
}
