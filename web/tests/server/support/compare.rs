//! What was recorded against what came. *Hard* differences fail; *soft* ones (wording of the reference's language
//! runtime, caching headers, extra keys, the order of frames of independent nodes) do not.

use serde_json::Value as Json;

/// Lists that the reference gives in the order of its hash tables.
const UNORDERED: [&str; 3] = ["executed", "current_outputs", "dependent_outputs"];
const SOFT: [&str; 17] = [
    "exception_message",
    "exception_type",
    "traceback",
    "description",
    "python_module",
    "output_tooltips",
    "display_name",
    "cache-control",
    "etag",
    "last-modified",
    "accept-ranges",
    "pragma",
    "expires",
    "allow",
    "content-encoding",
    "text",
    "x-content-type-options",
];
/// Errors whose details are worded by the reference's language runtime.
const WORDED: [&str; 4] = [
    "invalid_input_type",
    "exception_during_validation",
    "exception_during_inner_validation",
    "custom_validation_failed",
];
const ANY: [&str; 7] =
    ["<IGNORED>", "<VOLATILE>", "<TS>", "<TRACEBACK>", "<TENSOR_REPR>", "<NUM>", "<STATE>"];

#[derive(Debug, Default)]
pub(crate) struct Differences {
    pub hard: Vec<String>,
    pub soft: Vec<String>,
}

impl Differences {
    pub(crate) fn add(&mut self, soft: bool, path: &str, message: String) {
        if soft { &mut self.soft } else { &mut self.hard }.push(format!("{path}: {message}"));
    }
}

fn short(json: &Json) -> String {
    let text = json.to_string();
    if text.len() < 200 { text } else { format!("{}...", text.chars().take(197).collect::<String>()) }
}

pub(crate) fn json(expected: &Json, got: &Json, d: &mut Differences, path: &str, soft: bool) {
    let key = path.rsplit('/').next().unwrap_or_default();
    let soft = soft || SOFT.contains(&key);
    if expected.as_str().is_some_and(|e| ANY.contains(&e)) {
        return;
    }
    let differ = |d: &mut Differences, soft| {
        d.add(soft, path, format!("expected {}, got {}", short(expected), short(got)));
    };
    match (expected, got) {
        (Json::String(e), Json::String(g)) if key == "content-type" => {
            let plain = |t: &str| t.split(';').next().unwrap_or_default().trim().to_owned();
            let soft = soft || matches!(plain(e).as_str(), "application/octet-stream" | "text/plain");
            if plain(e) != plain(g) {
                differ(d, soft);
            }
        }
        // Counts depend on what was submitted before; their sign and kind do not.
        (Json::Number(e), g) if key == "number" && !e.is_f64() => {
            let negative = e.as_i64().is_some_and(|e| e < 0);
            if g.as_f64().is_none_or(|g| (g < 0.0) != negative) {
                differ(d, soft);
            }
        }
        // By value: 1 is 1.0.
        (Json::Number(e), Json::Number(g)) if e.as_f64() == g.as_f64() => {}
        (Json::Object(e), Json::Object(g)) => {
            let worded = expected["type"].as_str().is_some_and(|t| WORDED.contains(&t));
            for (k, value) in e {
                let path = format!("{path}/{k}");
                match g.get(k) {
                    Some(there) => json(value, there, d, &path, soft || (worded && k == "details")),
                    None => d.add(
                        soft || SOFT.contains(&k.as_str()),
                        &path,
                        format!("missing, expected {}", short(value)),
                    ),
                }
            }
            for (k, value) in g.iter().filter(|(k, _)| !e.contains_key(*k)) {
                d.add(true, &format!("{path}/{k}"), format!("extra key {}", short(value)));
            }
        }
        (Json::Array(e), Json::Array(g)) => list(e, g, d, path, soft),
        _ if expected != got => differ(d, soft),
        _ => {}
    }
}

fn list(expected: &[Json], got: &[Json], d: &mut Differences, path: &str, soft: bool) {
    let key = path.rsplit('/').next().unwrap_or_default();
    let (mut e, mut g) = (expected.to_vec(), got.to_vec());
    let is_queue_item = |l: &[Json]| l.len() == 5 && l[1].is_string() && l[2].is_object() && l[3].is_object();
    if UNORDERED.contains(&key) {
        e.sort_by_key(Json::to_string);
        g.sort_by_key(Json::to_string);
    } else if key == "errors" {
        let by = |v: &Json| format!("{} {}", v["type"], v["extra_info"]["input_name"]);
        e.sort_by_key(by);
        g.sort_by_key(by);
    } else if is_queue_item(&e) && is_queue_item(&g) {
        json(&e[0], &g[0], d, &format!("{path}/number"), soft);
        for list in [&mut e, &mut g] {
            list.remove(0);
            if let Some(outputs) = list[3].as_array_mut() {
                outputs.sort_by_key(Json::to_string);
            }
        }
    }
    if e.len() != g.len() {
        let (e, g) = (Json::Array(e), Json::Array(g));
        d.add(soft, path, format!("expected {}, got {}", short(&e), short(&g)));
        return;
    }
    for (i, (e, g)) in e.iter().zip(&g).enumerate() {
        json(e, g, d, &format!("{path}/{i}"), soft);
    }
}

fn label(frame: &Json) -> String {
    if let Some(kinds) = frame["run_of"].as_array() {
        return format!("run:{kinds:?}");
    }
    if let Some(event) = frame["binary_event"].as_u64() {
        return format!("binary:{event}");
    }
    let kind = frame["type"].as_str().unwrap_or_default();
    let node = frame["data"].get("node").or(frame["data"].get("node_id"));
    format!("{kind}:{}", node.map_or(String::new(), Json::to_string))
}

/// Status frames that say the same twice count once: how often depends on time.
fn squeezed(frames: &[Json]) -> Vec<Json> {
    let mut out: Vec<Json> = Vec::new();
    for frame in frames {
        let plain_status = frame["type"] == "status" && frame["data"].get("sid").is_none();
        if !(plain_status && out.last() == Some(frame)) {
            out.push(frame.clone());
        }
    }
    out
}

pub(crate) fn frames(expected: &[Json], got: &[Json], d: &mut Differences, path: &str) {
    let (e, g) = (squeezed(expected), squeezed(got));
    let counted = |frames: &[Json]| -> Vec<String> {
        frames
            .iter()
            .map(label)
            .filter(|l| !l.starts_with("run:") && !l.starts_with("progress_state"))
            .collect()
    };
    let (le, lg) = (counted(&e), counted(&g));
    let sorted = |mut l: Vec<String>| {
        l.sort();
        l
    };
    if sorted(le.clone()) != sorted(lg.clone()) {
        d.add(false, path, format!("frames differ\n      expected {le:?}\n      got      {lg:?}"));
        return;
    }
    if le != lg {
        d.add(true, path, format!("order differs\n      expected {le:?}\n      got      {lg:?}"));
    }
    let mut pool = g.clone();
    for frame in e.iter().filter(|f| counted(std::slice::from_ref(f)).len() == 1) {
        if let Some(i) = pool.iter().position(|f| label(f) == label(frame)) {
            json(frame, &pool.remove(i), d, &format!("{path}[{}]", label(frame)), false);
        }
    }
    let last = |frames: &[Json]| frames.iter().rfind(|f| f["type"] == "progress_state").cloned();
    match (last(&e), last(&g)) {
        (Some(e), Some(g)) => json(&e, &g, d, &format!("{path}[last progress_state]"), le != lg),
        (Some(_), None) => d.add(false, path, "no progress_state at all".to_owned()),
        (None, _) => {}
    }
}
