//! The engine's plan in the words of `docs/v1-editor-contract.md`.

use std::collections::HashMap;

use ebb_engine::node::Saving;
use ebb_engine::plan::{Plan, Step, show_bytes};
use serde_json::{Value as Json, json};

/// What the editor draws: steps, the lives of values, the peak and what is done about the budget.
///
/// `prompt` is the checked prompt, whose links say who reads what; `type_of` gives the type of a class's output.
pub(crate) fn to_json(
    plan: &Plan,
    prompt: &Json,
    budget: Option<u64>,
    type_of: &dyn Fn(&str, usize) -> Option<Json>,
) -> Json {
    let mut place: HashMap<&str, usize> = HashMap::new();
    for (index, step) in plan.steps.iter().enumerate() {
        for node in std::iter::once(&step.node).chain(&step.equal) {
            place.insert(node.id.as_str(), index);
        }
    }
    let run = plan.steps.iter().enumerate().map(|(index, s)| step(index, s));
    // What will not run stands behind what does, so that the numbers of steps are those of the run.
    let cached = plan.cached.iter().enumerate().map(|(i, node)| {
        json!({"index": plan.steps.len() + i, "node": node.id.as_str(), "class_type": node.class, "cached": true, "loads": [],
               "activation_bytes": 0, "live_bytes": null, "peak_bytes": null})
    });
    let peak =
        plan.steps.iter().enumerate().max_by_key(|(index, s)| (s.held_during, std::cmp::Reverse(*index)));
    json!({
        "steps": run.chain(cached).collect::<Vec<_>>(),
        "cached": plan.cached.iter().map(|n| n.id.as_str()).collect::<Vec<_>>(),
        "values": values(plan, prompt, &place, type_of),
        "peak": peak.map(|(index, s)| json!({"bytes": plan.predicted_peak, "step": index, "node": s.node.id.as_str()})),
        "budget": budget,
        "fits": plan.refusal.is_none() && budget.is_none_or(|b| plan.predicted_peak <= b),
        "decisions": decisions(plan, budget, &place),
    })
}

fn step(index: usize, step: &Step) -> Json {
    let loads =
        step.loads.iter().map(|w| json!({"id": w.key.to_string(), "name": w.label, "bytes": w.bytes}));
    json!({
        "index": index,
        "node": step.node.id.as_str(),
        "class_type": step.node.class,
        "cached": false,
        "loads": loads.collect::<Vec<_>>(),
        "activation_bytes": step.scratch,
        "live_bytes": step.held_during.saturating_sub(step.scratch),
        "peak_bytes": step.held_during,
    })
}

/// Every value that somebody reads: where it is made, by whom it is read, and the step after which it is gone.
fn values(
    plan: &Plan,
    prompt: &Json,
    place: &HashMap<&str, usize>,
    type_of: &dyn Fn(&str, usize) -> Option<Json>,
) -> Vec<Json> {
    let mut deaths: HashMap<(&str, usize), (usize, u64)> = HashMap::new();
    for (index, step) in plan.steps.iter().enumerate() {
        for value in &step.dies {
            deaths.insert((value.node.id.as_str(), value.slot), (index, value.bytes));
        }
    }
    let Some(nodes) = prompt.as_object() else { return Vec::new() };
    let mut found: Vec<((&str, usize), Vec<Json>)> = Vec::new();
    for (consumer, node) in nodes {
        let Some(&at) = place.get(consumer.as_str()) else { continue };
        for (input, value) in node["inputs"].as_object().into_iter().flatten() {
            let Some((from, slot)) = link(value).filter(|(from, _)| place.contains_key(from)) else {
                continue;
            };
            let read = json!({"node": consumer, "input": input, "step": at});
            match found.iter_mut().find(|(key, _)| *key == (from, slot)) {
                Some((_, readers)) => readers.push(read),
                None => found.push(((from, slot), vec![read])),
            }
        }
    }
    let value = |((node, slot), consumers): ((&str, usize), Vec<Json>)| {
        let class = nodes.get(node).and_then(|n| n["class_type"].as_str()).unwrap_or_default();
        let death = deaths.get(&(node, slot));
        json!({
            "id": format!("{node}.{slot}"), "node": node, "slot": slot, "type": type_of(class, slot),
            "bytes": death.map(|(_, bytes)| *bytes), "produced_at": place[node], "consumers": consumers,
            "dies_at": death.map(|(step, _)| *step),
        })
    };
    found.into_iter().map(value).collect()
}

/// `[node, slot]`.
fn link(value: &Json) -> Option<(&str, usize)> {
    match value.as_array()?.as_slice() {
        [from, slot] => Some((from.as_str()?, usize::try_from(slot.as_u64()?).ok()?)),
        _ => None,
    }
}

fn decisions(plan: &Plan, budget: Option<u64>, place: &HashMap<&str, usize>) -> Vec<Json> {
    let last = plan.steps.len().saturating_sub(1);
    let mut all: Vec<Json> = Vec::new();
    for (index, step) in plan.steps.iter().enumerate().filter(|(index, _)| *index < last) {
        for weights in &step.unloads {
            all.push(
                json!({"kind": "evict", "step": index, "id": weights.key.to_string(), "bytes": weights.bytes,
                            "text": format!("{} may go: no later step needs it", weights.label)}),
            );
        }
    }
    for decision in &plan.decisions {
        let step = place.get(decision.node.id.as_str()).copied().unwrap_or(0);
        for saving in &decision.savings {
            all.push(json!({"kind": kind(saving), "step": step, "id": decision.node.id.as_str(),
                            "bytes": decision.before.saturating_sub(decision.after),
                            "text": format!("{} #{}: {saving}, to fit the budget: {} instead of {}",
                                            decision.node.class, decision.node.id.as_str(),
                                            show_bytes(decision.after), show_bytes(decision.before))}));
        }
    }
    for (index, step) in plan.steps.iter().enumerate() {
        for weights in &step.evicts {
            all.push(
                json!({"kind": "evict", "step": index, "id": weights.key.to_string(), "bytes": weights.bytes,
                            "text": format!("{} makes room and is loaded again later", weights.label)}),
            );
        }
    }
    if let Some((node, refusal)) = &plan.refusal {
        let step = place.get(node.id.as_str()).copied().unwrap_or(last);
        all.push(json!({"kind": "refuse", "step": step, "id": node.id.as_str(),
                        "bytes": refusal.needed.saturating_sub(refusal.budget),
                        "text": format!("{} #{}: {refusal}", node.class, node.id.as_str())}));
    } else if let Some(over) =
        budget.and_then(|b| plan.predicted_peak.checked_sub(b)).filter(|over| *over > 0)
    {
        all.push(json!({"kind": "refuse", "step": last, "id": null, "bytes": over,
                        "text": format!("the peak is {} over the budget", show_bytes(over))}));
    }
    for doubt in &plan.doubts {
        let step = place.get(doubt.node.id.as_str()).copied().unwrap_or(0);
        all.push(json!({"kind": "refuse", "step": step, "id": null, "bytes": null,
                        "text": format!("{} #{}: {}", doubt.node.class, doubt.node.id.as_str(), doubt.message)}));
    }
    all
}

/// The contract's word for a saving.
fn kind(saving: &Saving) -> &'static str {
    match saving {
        Saving::Tiles { .. } => "tile",
        Saving::Slices => "split",
        Saving::Stream { .. } => "stream",
        Saving::Narrow { .. } => "quantize",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_told_from_lists() {
        assert_eq!(link(&json!(["4", 1])), Some(("4", 1)));
        for other in
            [json!([1, 2]), json!(["4"]), json!(["4", -1]), json!("4"), json!({"__value__": ["4", 1]})]
        {
            assert_eq!(link(&other), None, "{other}");
        }
    }

    #[test]
    fn an_empty_plan_fits_and_has_no_peak() {
        let plan = Plan::default();
        let answer = to_json(&plan, &json!({}), Some(1), &|_, _| None);
        assert_eq!(
            (&answer["fits"], &answer["peak"], &answer["decisions"]),
            (&json!(true), &Json::Null, &json!([]))
        );
    }

    #[test]
    fn a_peak_over_the_budget_says_by_how_much() {
        let plan = Plan { predicted_peak: 3 << 20, ..Plan::default() };
        let answer = to_json(&plan, &json!({}), Some(1 << 20), &|_, _| None);
        assert_eq!(answer["fits"], json!(false));
        assert_eq!(answer["decisions"][0]["bytes"], json!(2 << 20));
    }
}
