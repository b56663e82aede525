//! What differs from run to run (ids, times, random names), put into one form on both sides.

use std::collections::HashMap;

use serde_json::{Map, Value as Json, json};

/// Live ids and the names that the recording has for them.
#[derive(Default)]
pub(crate) struct Names {
    placed: HashMap<String, String>,
    live: Vec<(String, String)>,
}

impl Names {
    fn place(&mut self, live: &str, kind: &str) -> String {
        if let Some(name) = self.placed.get(live) {
            return name.clone();
        }
        let prefix = format!("<{kind}_");
        let name =
            format!("{prefix}{}>", 1 + self.placed.values().filter(|v| v.starts_with(&prefix)).count());
        self.placed.insert(live.to_owned(), name.clone());
        self.live.push((name.clone(), live.to_owned()));
        name
    }

    /// Recorded names replaced by this run's ids.
    pub(crate) fn to_live(&self, json: &Json) -> Json {
        match json {
            Json::Object(map) => map.iter().map(|(k, v)| (self.text_to_live(k), self.to_live(v))).collect(),
            Json::Array(items) => items.iter().map(|v| self.to_live(v)).collect(),
            Json::String(text) => json!(self.text_to_live(text)),
            other => other.clone(),
        }
    }

    pub(crate) fn text_to_live(&self, text: &str) -> String {
        self.live.iter().fold(text.to_owned(), |t, (name, live)| t.replace(name, live))
    }

    /// This run's ids, times and random names replaced by the recording's.
    pub(crate) fn normal(&mut self, json: &Json) -> Json {
        match json {
            Json::Object(map) => {
                let mut out = Map::new();
                for (key, value) in map {
                    let name = self.text(key);
                    let value = match key.as_str() {
                        "timestamp" | "modified" | "created" if value.is_number() => json!("<TS>"),
                        "tooltip" => continue,
                        "traceback" if value.as_array().is_some_and(|t| !t.is_empty()) => {
                            json!("<TRACEBACK>")
                        }
                        _ => self.normal(value),
                    };
                    out.insert(name, value);
                }
                Json::Object(out)
            }
            Json::Array(items) => items.iter().map(|v| self.normal(v)).collect(),
            Json::String(text) => json!(self.text(text)),
            other => other.clone(),
        }
    }

    pub(crate) fn text(&mut self, text: &str) -> String {
        if text.starts_with("tensor(") {
            return "<TENSOR_REPR>".to_owned();
        }
        let mut out = String::new();
        let mut rest = text;
        while !rest.is_empty() {
            if let Some(id) = rest.get(..36).filter(|s| is_uuid(s)) {
                out.push_str(&self.place(id, "PROMPT"));
                rest = &rest[36..];
            } else {
                let c = rest.chars().next().expect("not empty");
                out.push(c);
                rest = &rest[c.len_utf8()..];
            }
        }
        if out.len() == 32 && out.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
            return self.place(&out, "SID");
        }
        without_random_letters(out)
    }
}

fn is_uuid(text: &str) -> bool {
    text.bytes().enumerate().all(|(i, b)| match i {
        8 | 13 | 18 | 23 => b == b'-',
        _ => b.is_ascii_digit() || (b'a'..=b'f').contains(&b),
    })
}

/// `ComfyUI_temp_abcde_00001_` → `ComfyUI_temp_<RAND>_00001_`.
fn without_random_letters(text: String) -> String {
    const HEAD: &str = "ComfyUI_temp_";
    let Some(at) = text.find(HEAD) else { return text };
    let (before, after) = text.split_at(at + HEAD.len());
    match after.get(..5) {
        Some(letters) if letters.bytes().all(|b| b.is_ascii_lowercase()) => {
            format!("{before}<RAND>{}", &after[5..])
        }
        _ => text,
    }
}
