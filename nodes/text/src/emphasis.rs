//! Emphasis: `(words)` weigh 1.1 times as much, `(words:1.3)` weigh 1.3, `\(` and `\)` are letters.
//!
//! The rules are ComfyUI's, with what they make of unbalanced parentheses too. A weight that is
//! written out replaces the one around it; one that is not multiplies it.

use crate::{Result, TextError};

/// Deeper than any prompt; a bound on the work that a hostile one can ask for.
const MAX_DEPTH: usize = 500;

/// A stretch of a prompt with one weight.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Segment {
    pub(crate) text: String,
    pub(crate) weight: f64,
}

/// While groups are sought, escaped parentheses stand as these: control characters that no
/// vocabulary keeps anyway.
const CLOSING: &str = "\u{0}\u{1}";
const OPENING: &str = "\u{0}\u{2}";

/// A whole prompt in stretches of one weight each.
pub(crate) fn segments(prompt: &str) -> Result<Vec<Segment>> {
    let escaped = prompt.replace("\\)", CLOSING).replace("\\(", OPENING);
    let mut found = Vec::new();
    // What is still to be looked at, the next one last.
    let mut open = vec![Part::Group(escaped.as_str(), 1.0, 0)];
    while let Some(part) = open.pop() {
        match part {
            Part::Plain(text, weight) => found.push(Segment { text: unescape(text), weight }),
            Part::Group(_, _, depth) if depth > MAX_DEPTH => {
                return Err(TextError::TooDeep { limit: MAX_DEPTH });
            }
            Part::Group(text, weight, depth) => {
                open.extend(split(text).into_iter().rev().map(|part| match group(part, weight) {
                    Some((inside, weight)) => Part::Group(inside, weight, depth + 1),
                    None => Part::Plain(part, weight),
                }));
            }
        }
    }
    Ok(found)
}

/// A part of a prompt with its weight: plain text, or the inside of a group and its depth.
enum Part<'a> {
    Plain(&'a str, f64),
    Group(&'a str, f64, usize),
}

fn unescape(text: &str) -> String {
    text.replace(CLOSING, ")").replace(OPENING, "(")
}

/// Cuts a text into what stands in outermost parentheses, with these, and what stands between.
fn split(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut start = 0;
    // May fall below zero: after a stray `)` the next `(` opens no group.
    let mut level = 0i64;
    for (at, c) in text.char_indices() {
        match c {
            '(' => {
                if level == 0 && start < at {
                    parts.push(&text[start..at]);
                    start = at;
                }
                level += 1;
            }
            ')' => {
                level -= 1;
                if level == 0 {
                    parts.push(&text[start..=at]);
                    start = at + 1;
                }
            }
            _ => {}
        }
    }
    if start < text.len() {
        parts.push(&text[start..]);
    }
    parts
}

/// What is inside a part's parentheses and what it weighs, if it is such a group.
fn group(part: &str, weight: f64) -> Option<(&str, f64)> {
    let inside = part.strip_prefix('(')?.strip_suffix(')')?;
    if let Some(colon) = inside.rfind(':').filter(|at| *at > 0)
        && let Some(written) = number(&inside[colon + 1..])
    {
        return Some((&inside[..colon], written));
    }
    Some((inside, weight * 1.1))
}

/// A weight as people write it. Infinities and NaN, which ComfyUI would take, are words here: they
/// can only spoil the picture.
fn number(text: &str) -> Option<f64> {
    let text = text.trim();
    let underscored = text.as_bytes().windows(3).any(|w| w[1] == b'_' && w[0].is_ascii_digit());
    let parsed = if underscored && !text.contains("__") && !text.ends_with('_') {
        text.replace('_', "").parse::<f64>()
    } else {
        text.parse::<f64>()
    };
    parsed.ok().filter(|w| w.is_finite() && (*w as f32).is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(prompt: &str) -> Vec<(String, f64)> {
        segments(prompt).unwrap().into_iter().map(|s| (s.text, s.weight)).collect()
    }

    fn close(found: &[(String, f64)], expected: &[(&str, f64)]) {
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for ((text, weight), (t, w)) in found.iter().zip(expected) {
            assert!(text == t && (weight - w).abs() < 1e-12, "{found:?} is not {expected:?}");
        }
    }

    #[test]
    fn weights_multiply_until_one_is_written() {
        close(&parsed("a (b) c"), &[("a ", 1.0), ("b", 1.1), (" c", 1.0)]);
        close(&parsed("((b))"), &[("b", 1.21)]);
        close(&parsed("(a (b:2) c:0.5)"), &[("a ", 0.5), ("b", 2.0), (" c", 0.5)]);
        close(&parsed("(a:b:1.5)(c)d"), &[("a:b", 1.5), ("c", 1.1), ("d", 1.0)]);
        close(&parsed("(a: -1e-1 )"), &[("a", -0.1)]);
    }

    #[test]
    fn what_is_no_number_stays_text() {
        close(&parsed("(c:)"), &[("c:", 1.1)]);
        close(&parsed("(:2)"), &[(":2", 1.1)]);
        close(&parsed("(a:nan)"), &[("a:nan", 1.1)]);
        close(&parsed("(a:1e999)"), &[("a:1e999", 1.1)]);
    }

    #[test]
    fn escapes_are_letters() {
        close(&parsed(r"\(a\) (b\):1.5)"), &[("(a) ", 1.0), ("b)", 1.5)]);
    }

    #[test]
    fn unbalanced_parentheses_are_read_as_in_comfyui() {
        close(&parsed("(a"), &[("(a", 1.0)]);
        close(&parsed("(a (b)"), &[("a ", 1.1), ("(b", 1.1)]);
        close(&parsed(")a(b) (c)"), &[(")a(b) (c)", 1.0)]);
        assert!(parsed("()").is_empty());
    }

    #[test]
    fn case_16_deep_nesting_is_an_error_and_not_a_crash() {
        let deep = "(".repeat(50_000) + "a" + &")".repeat(50_000);
        assert!(matches!(segments(&deep), Err(TextError::TooDeep { .. })));
        let allowed = "(".repeat(400) + "a" + &")".repeat(400);
        assert_eq!(segments(&allowed).unwrap().len(), 1);
    }

    proptest! {
        #[test]
        fn every_letter_of_a_prompt_survives(prompt in "[a-c():1. \\\\]{0,40}") {
            let letters = |s: &str| s.chars().filter(|c| c.is_ascii_alphabetic()).collect::<String>();
            let joined: String = parsed(&prompt).into_iter().map(|(text, _)| text).collect();
            prop_assert_eq!(letters(&joined), letters(&prompt));
        }
    }
}
