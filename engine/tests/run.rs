//! Workflows run to their end: order, equal work, cache, drops.

mod support;

use ebb_engine::cache::CachePolicy;
use serde_json::json;
use support::{engine, lines, registry, run, shown};

fn sum() -> serde_json::Value {
    json!({
        "1": {"class_type": "Number", "inputs": {"value": 2}},
        "2": {"class_type": "Number", "inputs": {"value": 3}},
        "3": {"class_type": "Add", "inputs": {"a": ["1", 0], "b": ["2", 0]}},
        "4": {"class_type": "Show", "inputs": {"value": ["3", 0]}},
    })
}

#[tokio::test]
async fn a_value_is_dropped_right_after_its_last_use() {
    let engine = engine(registry(), CachePolicy::None);
    let (result, events) = run(&engine, sum()).await;
    assert!(result.is_ok());
    assert_eq!(shown(&events), [("4".to_owned(), json!([5]))]);
    let expected = [
        "cached ", "start 2", "finish 2", "start 1", "finish 1", "start 3", "finish 3", "drop 1.0",
        "drop 2.0", "start 4", "finish 4", "drop 3.0", "done",
    ];
    assert_eq!(lines(&events), expected);
    assert_eq!(engine.residency().ledger().total(), 0);
}

#[tokio::test]
async fn an_unchanged_workflow_runs_nothing_and_a_changed_one_what_changed() {
    let engine = engine(registry(), CachePolicy::LastRun);
    run(&engine, sum()).await.0.unwrap();
    let (_, again) = run(&engine, sum()).await;
    assert_eq!(lines(&again), ["cached 1 2 3 4", "finish 4 from 4", "done"]);
    let mut changed = sum();
    changed["1"]["inputs"]["value"] = json!(7);
    let (_, events) = run(&engine, changed).await;
    let expected = ["cached 2", "start 1", "finish 1", "start 3", "finish 3", "start 4", "finish 4", "done"];
    assert_eq!(lines(&events), expected);
    // What the last workflow does not name is gone: A, B, A computes A again.
    let (report, _) = run(&engine, sum()).await;
    assert_eq!(report.unwrap().executed.len(), 3);
}

#[tokio::test]
async fn ids_are_no_part_of_what_is_remembered() {
    let engine = engine(registry(), CachePolicy::LastRun);
    run(&engine, sum()).await.0.unwrap();
    let renamed = sum().to_string().replace("\"1\"", "\"a\"").replace("\"3\"", "\"c\"");
    let (_, events) = run(&engine, serde_json::from_str(&renamed).unwrap()).await;
    assert_eq!(lines(&events), ["cached a 2 c 4", "finish 4 from 4", "done"]);
}

#[tokio::test]
async fn equal_nodes_run_once() {
    let engine = engine(registry(), CachePolicy::None);
    let workflow = json!({
        "1": {"class_type": "Number", "inputs": {"value": 2}},
        "2": {"class_type": "Number", "inputs": {"value": 2}},
        "3": {"class_type": "Add", "inputs": {"a": ["1", 0], "b": ["2", 0]}},
        "4": {"class_type": "Show", "inputs": {"value": ["3", 0]}},
        "5": {"class_type": "Show", "inputs": {"value": ["3", 0]}},
    });
    let (_, events) = run(&engine, workflow).await;
    let shows = shown(&events);
    assert_eq!(shows, [("4".to_owned(), json!([4])), ("5".to_owned(), json!([4]))]);
    let started: Vec<_> = lines(&events).into_iter().filter(|line| line.starts_with("start")).collect();
    assert_eq!(started, ["start 2", "start 3", "start 4"]);
}
