//! What happens to a text before it is cut into words, as BERT's basic tokenizer does it:
//! control characters go, every kind of space becomes one, ideographs stand alone, composed
//! characters are composed, letters are lower-case.

use std::sync::LazyLock;

use regex::Regex;
use unicode_normalization::UnicodeNormalization;

/// Everything of the general category C: control, format, private, unassigned.
#[allow(clippy::unwrap_used, reason = "a constant pattern, compiled in every test of this module")]
static OTHER: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\p{C}").unwrap());

pub(super) fn clean(text: &str) -> String {
    let mut spaced = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii_graphic() {
            spaced.push(c);
        } else if matches!(c, ' ' | '\t' | '\n' | '\r') {
            spaced.push(' ');
        } else if c == '\u{fffd}' || OTHER.is_match(c.encode_utf8(&mut [0; 4])) {
        } else if is_ideograph(c) {
            spaced.extend([' ', c, ' ']);
        } else {
            spaced.push(c);
        }
    }
    let composed: String = spaced.nfc().collect();
    // Word by word, because a final sigma is one only at its word's end.
    composed.split_whitespace().map(str::to_lowercase).collect::<Vec<_>>().join(" ")
}

/// The blocks of CJK ideographs. Kana and Hangul are not among them: they are written with spaces
/// or cut by the merges.
fn is_ideograph(c: char) -> bool {
    matches!(u32::from(c),
        0x4e00..=0x9fff
        | 0x3400..=0x4dbf
        | 0x20000..=0x2a6df
        | 0x2a700..=0x2b73f
        | 0x2b740..=0x2b81f
        | 0x2b820..=0x2ceaf
        | 0xf900..=0xfaff
        | 0x2f800..=0x2fa1f)
}
