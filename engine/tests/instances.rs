//! Subgraphs of the editor: flattened by the converter, and equal work of their instances done once.

mod support;

use ebb_engine::cache::CachePolicy;
use ebb_engine::workflow::Workflow;
use ebb_engine::workflow::ui::{Catalog, Options, convert};
use serde_json::{Value as Json, json};
use support::{engine, lines, registry, run};

fn number(id: u32, value: i64, links: &[u32]) -> Json {
    json!({"id": id, "type": "Number", "widgets_values": [value], "inputs": [],
           "outputs": [{"name": "INT", "type": "INT", "links": links}]})
}

fn add(id: u32, a: u32, b: u32) -> Json {
    let input =
        |name: &str, link: u32| json!({"name": name, "type": "INT", "link": link, "widget": {"name": name}});
    json!({"id": id, "type": "Add", "widgets_values": [0, 0], "inputs": [input("a", a), input("b", b)],
           "outputs": [{"name": "INT", "type": "INT"}]})
}

fn instance(id: u32, of: &str, link: u32) -> Json {
    json!({"id": id, "type": of, "inputs": [{"name": "x", "type": "INT", "link": link}],
           "outputs": [{"name": "INT", "type": "INT"}]})
}

fn show(id: u32, link: u32) -> Json {
    json!({"id": id, "type": "Show", "inputs": [{"name": "value", "type": "*", "link": link}], "outputs": []})
}

/// `double` adds its input to itself; `fourfold` holds two of it, one after the other. Four instances of `fourfold`
/// stand on two numbers, of which one is there twice.
fn drawn() -> Json {
    let link = |id: u32, from: i32, to: i32, slot: u32| json!({"id": id, "origin_id": from, "origin_slot": 0, "target_id": to, "target_slot": slot, "type": "INT"});
    let definition = |id: &str, nodes: Vec<Json>, links: Vec<Json>| {
        json!({"id": id, "name": id, "nodes": nodes, "links": links,
               "inputs": [{"name": "x", "type": "INT"}], "outputs": [{"name": "INT", "type": "INT"}]})
    };
    let double = definition(
        "double",
        vec![add(31, 51, 52)],
        vec![link(51, -10, 31, 0), link(52, -10, 31, 1), link(53, 31, -20, 0)],
    );
    let fourfold = definition(
        "fourfold",
        vec![instance(41, "double", 61), instance(42, "double", 62)],
        vec![link(61, -10, 41, 0), link(62, 41, 42, 0), link(63, 42, -20, 0)],
    );
    let mut nodes = vec![number(1, 5, &[1, 2]), number(2, 5, &[3]), number(3, 7, &[4])];
    let mut links = Vec::new();
    for (place, from) in [1, 1, 2, 3].into_iter().enumerate() {
        let place = place as u32;
        nodes.push(instance(10 + place, "fourfold", 1 + place));
        nodes.push(show(20 + place, 11 + place));
        links.push(json!([1 + place, from, 0, 10 + place, 0, "INT"]));
        links.push(json!([11 + place, 10 + place, 0, 20 + place, 0, "INT"]));
    }
    json!({"nodes": nodes, "links": links, "definitions": {"subgraphs": [double, fourfold]}})
}

#[tokio::test]
async fn repeated_instances_share_equal_work() {
    let catalog = Catalog::from_object_info(&registry().object_info());
    let prompt = convert(drawn(), &catalog, &mut Options::seeded(0)).unwrap().prompt;
    // 3 numbers, 4 × 2 additions, 4 that show.
    assert_eq!(prompt.as_object().unwrap().len(), 3 + 8 + 4, "{prompt:#}");
    let inner = json!({"a": ["10:41:31", 0], "b": ["10:41:31", 0]});
    assert_eq!(prompt["10:42:31"]["inputs"], inner, "{prompt:#}");

    for cache in [CachePolicy::None, CachePolicy::LastRun] {
        let engine = engine(registry(), cache);
        let checked = engine.validate(Workflow::from_json(prompt.clone()).unwrap(), None).await.unwrap();
        let plan = engine.plan(&checked.graph);
        // Two numbers and two additions on each; what shows it is equal where the number is.
        assert_eq!(plan.steps.len(), 2 + 4 + 2, "{}", plan.to_text());
        let equal: usize = plan.steps.iter().map(|step| step.equal.len()).sum();
        assert_eq!(equal, 15 - 8);
        let (ended, events) = run(&engine, prompt.clone()).await;
        ended.unwrap();
        let started = lines(&events).iter().filter(|line| line.starts_with("start ")).count();
        assert_eq!(started, 8);
        let mut shown = support::shown(&events);
        shown.sort_by(|a, b| a.0.cmp(&b.0));
        let expected = [("20", 20), ("21", 20), ("22", 20), ("23", 28)];
        assert_eq!(shown, expected.map(|(id, value)| (id.to_owned(), json!([value]))));
    }
}
