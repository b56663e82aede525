//! What the editor does to texts on their way into a prompt: choices, comments and placeholders.

use super::Clock;

/// Removes `//` and `/* */` comments and replaces each `{a|b}` by one of its choices, choices within
/// choices included. `\{`, `\|` and `\}` stand for the characters themselves. A brace that is never
/// closed takes the rest of the text as its last choice.
pub(super) fn dynamic_prompt(text: &str, pick: &mut dyn FnMut(usize) -> usize) -> String {
    let text = without_comments(text);
    // Open braces, outermost first: the choices before the current one, and the current one.
    let mut open: Vec<Vec<String>> = Vec::new();
    let mut current = vec![String::new()];
    let mut chars = text.chars().peekable();
    let push = |choices: &mut Vec<String>, text: &str| {
        if let Some(last) = choices.last_mut() {
            last.push_str(text);
        }
    };
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next_if(|next| matches!(next, '{' | '|' | '}')) {
                Some(escaped) => push(&mut current, escaped.encode_utf8(&mut [0; 4])),
                None => push(&mut current, "\\"),
            },
            '{' => open.push(std::mem::replace(&mut current, vec![String::new()])),
            '|' if !open.is_empty() => current.push(String::new()),
            '}' if !open.is_empty() => {
                let chosen = choose(&mut current, pick);
                current = open.pop().unwrap_or_default();
                push(&mut current, &chosen);
            }
            c => push(&mut current, c.encode_utf8(&mut [0; 4])),
        }
    }
    while let Some(outer) = open.pop() {
        let chosen = choose(&mut current, pick);
        current = outer;
        push(&mut current, &chosen);
    }
    current.pop().unwrap_or_default()
}

fn choose(choices: &mut Vec<String>, pick: &mut dyn FnMut(usize) -> usize) -> String {
    let index = if choices.len() > 1 { pick(choices.len()) % choices.len() } else { 0 };
    choices.swap_remove(index)
}

/// A text without its comments; an unclosed `/*` stays.
fn without_comments(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    // Once a `/*` has no end, no later one has.
    let mut closable = true;
    while let Some(at) = rest.find('/') {
        kept.push_str(&rest[..at]);
        let from = &rest[at..];
        if from.starts_with("//") {
            rest = &from[from.find(['\n', '\r', '\u{2028}', '\u{2029}']).unwrap_or(from.len())..];
            continue;
        }
        if closable && from.starts_with("/*") {
            match from[2..].find("*/") {
                Some(end) => {
                    rest = &from[2 + end + 2..];
                    continue;
                }
                None => closable = false,
            }
        }
        kept.push('/');
        rest = &from[1..];
    }
    kept + rest
}

/// Replaces `%date:FORMAT%` by the time and `%NODE.WIDGET%` by a widget's value, as `lookup` knows
/// it. What neither knows stays, `%width%` and its like for the node that saves the file.
pub(super) fn placeholders(
    text: &str,
    clock: Option<&Clock>,
    mut lookup: impl FnMut(&str, &str) -> Option<String>,
) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, from)) = rest.split_once('%') {
        let Some(end) = from.find('%') else { break };
        let name = &from[..end];
        out.push_str(before);
        if name.is_empty() {
            // "%%" is no placeholder, and its second sign may begin one.
            out.push('%');
            rest = from;
            continue;
        }
        let parts: Vec<&str> = name.splitn(3, '.').collect();
        let replaced = match (parts.as_slice(), name.strip_prefix("date:")) {
            ([node, widget], _) => lookup(node, widget).map(|value| file_safe(&value)),
            (_, Some(format)) => clock.map(|clock| clock.format(format)),
            _ => None,
        };
        match replaced {
            Some(value) => out.push_str(&value),
            None => {
                out.push('%');
                out.push_str(name);
                out.push('%');
            }
        }
        rest = &from[end + 1..];
    }
    out + rest
}

/// A value as part of a file name: separators and what file systems refuse become `_`.
fn file_safe(value: &str) -> String {
    value
        .chars()
        .map(|c| match c {
            '/' | '?' | '<' | '>' | '\\' | ':' | '*' | '|' | '"' => '_',
            c if c.is_ascii_control() => '_',
            c => c,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(text: &str) -> String {
        dynamic_prompt(text, &mut |_| 0)
    }

    fn last(text: &str) -> String {
        dynamic_prompt(text, &mut |bound| bound - 1)
    }

    #[test]
    fn choices_nest_and_escapes_stand_for_themselves() {
        assert_eq!(first("a {red|green} {cat|{big|small} dog}"), "a red cat");
        assert_eq!(last("a {red|green} {cat|{big|small} dog}"), "a green small dog");
        assert_eq!(first("{one}"), "one");
        assert_eq!(last(r"\{a\|b\} | c"), "{a|b} | c");
        assert_eq!(last("{a|b"), "b");
        assert_eq!(first("a}b"), "a}b");
        assert_eq!(first(r"C:\dir"), r"C:\dir");
    }

    #[test]
    fn comments_go_and_line_ends_stay() {
        assert_eq!(first("a // b\nc"), "a \nc");
        assert_eq!(first("a /* b\n// */c"), "a c");
        assert_eq!(first("1/2 /* open"), "1/2 /* open");
    }

    #[test]
    fn deep_braces_do_not_recurse() {
        let text = "{".repeat(200_000);
        assert_eq!(first(&text), "");
    }

    #[test]
    fn placeholders_take_values_and_dates() {
        let clock = Clock { year: 2026, month: 3, day: 7, hour: 9, minute: 5, second: 1 };
        let lookup =
            |node: &str, widget: &str| (node == "KSampler" && widget == "name").then(|| "a/b:c".to_owned());
        let run = |text| placeholders(text, Some(&clock), lookup);
        assert_eq!(run("%KSampler.name%_x"), "a_b_c_x");
        assert_eq!(run("%date:yyyy-MM-dd_hhmmss%"), "2026-03-07_090501");
        assert_eq!(run("%date:d.M.yy%"), "7.3.26");
        assert_eq!(run("%width%x%Nobody.width% 100%"), "%width%x%Nobody.width% 100%");
        assert_eq!(run("50%%KSampler.name%"), "50%a_b_c");
    }
}
