//! Values as ComfyUI's messages print them: Python's notation.

use serde_json::{Number, Value as Json};

/// As `str()` prints: texts without quotes at the top level.
pub(super) fn plain(json: &Json) -> String {
    match json {
        Json::String(text) => text.clone(),
        other => quoted(other),
    }
}

/// As `repr()` prints.
pub(super) fn quoted(json: &Json) -> String {
    let mut out = String::new();
    write(&mut out, json);
    out
}

fn write(out: &mut String, json: &Json) {
    match json {
        Json::Null => out.push_str("None"),
        Json::Bool(true) => out.push_str("True"),
        Json::Bool(false) => out.push_str("False"),
        Json::Number(n) => out.push_str(&number(n)),
        Json::String(text) => {
            // Single quotes unless the text holds some and no double ones.
            let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
            out.push(quote);
            for c in text.chars() {
                match c {
                    '\\' => out.push_str("\\\\"),
                    '\n' => out.push_str("\\n"),
                    '\r' => out.push_str("\\r"),
                    '\t' => out.push_str("\\t"),
                    c if c == quote => {
                        out.push('\\');
                        out.push(c);
                    }
                    c => out.push(c),
                }
            }
            out.push(quote);
        }
        Json::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push_str(", ");
                }
                write(out, item);
            }
            out.push(']');
        }
        Json::Object(map) => {
            out.push('{');
            for (i, (key, value)) in map.iter().enumerate() {
                if i > 0 {
                    out.push_str(", ");
                }
                write(out, &Json::String(key.clone()));
                out.push_str(": ");
                write(out, value);
            }
            out.push('}');
        }
    }
}

/// A number: floats keep their point, and very small or large ones take an exponent.
pub(super) fn number(n: &Number) -> String {
    match n.as_f64() {
        Some(f) if n.is_f64() => {
            if f != 0.0 && !(1e-4..1e16).contains(&f.abs()) {
                let text = format!("{f:e}");
                let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
                let (sign, digits) = match exponent.strip_prefix('-') {
                    Some(digits) => ('-', digits),
                    None => ('+', exponent),
                };
                format!("{mantissa}e{sign}{digits:0>2}")
            } else if f.fract() == 0.0 {
                format!("{f:.1}")
            } else {
                f.to_string()
            }
        }
        _ => n.to_string(),
    }
}

/// The entry that a person may have meant: the closest one, if it is close.
pub(super) fn closest<'a>(word: &str, among: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (word.chars().count() / 3).clamp(1, 4);
    among
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Edits between two words, case aside (Levenshtein). Long words are never close.
fn distance(a: &str, b: &str) -> usize {
    let lower = |text: &str| text.chars().flat_map(char::to_lowercase).take(128).collect::<Vec<char>>();
    let (a, b) = (lower(a), lower(b));
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn prints_like_python() {
        let value = json!({"a": [1, 2.0, 0.5, null, true, "it's", "\"q\" 'q'"], "b": 1e-7, "c": 1e20});
        assert_eq!(
            quoted(&value),
            r#"{'a': [1, 2.0, 0.5, None, True, "it's", '"q" \'q\''], 'b': 1e-07, 'c': 1e+20}"#
        );
        assert_eq!(plain(&json!("x")), "x");
    }

    #[test]
    fn suggests_only_what_is_close() {
        let among = ["euler", "euler_ancestral", "heun"];
        assert_eq!(closest("Euler", among.into_iter()), Some("euler"));
        assert_eq!(closest("eulr", among.into_iter()), Some("euler"));
        assert_eq!(closest("dpmpp_2m", among.into_iter()), None);
    }
}
