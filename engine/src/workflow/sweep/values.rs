//! Values of an axis as people write them: `1,2,3`, `"a, b",c`, `1..4`, `4..12 step 2`.

/// How many values an axis may have.
pub const MAX_VALUES: usize = 100_000;

/// Why a list of values cannot be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ValuesError {
    /// A quotation without its end.
    #[error("a quotation mark is not closed")]
    Unclosed,
    /// Something stands between the end of a quotation and the next comma.
    #[error("`{rest}` follows the end of a quotation: put a comma between them, or double the mark")]
    AfterQuote {
        /// What stands there.
        rest: String,
    },
    /// A range that is too long, or never ends.
    #[error("`{range}` has more than {MAX_VALUES} values, or a step that never gets there")]
    TooLong {
        /// The range.
        range: String,
    },
}

/// Splits at commas. Quotation marks keep commas and spaces, `""` within them is one mark; spaces
/// around a value go.
///
/// # Errors
/// Where a quotation is not closed, or something follows its end.
pub fn split(list: &str) -> Result<Vec<String>, ValuesError> {
    let mut values = Vec::new();
    let mut rest = list;
    loop {
        rest = rest.trim_start();
        let next = if let Some(quoted) = rest.strip_prefix('"') {
            let (value, after) = unquote(quoted)?;
            values.push(value);
            let after = after.trim_start();
            match after.strip_prefix(',') {
                Some(next) => Some(next),
                None if after.is_empty() => None,
                None => return Err(ValuesError::AfterQuote { rest: after.trim_end().into() }),
            }
        } else {
            let (value, next) = match rest.split_once(',') {
                Some((value, next)) => (value, Some(next)),
                None => (rest, None),
            };
            values.push(value.trim().to_owned());
            next
        };
        match next {
            Some(next) => rest = next,
            None => return Ok(values),
        }
    }
}

/// A quotation's text and what follows its end.
fn unquote(quoted: &str) -> Result<(String, &str), ValuesError> {
    let mut value = String::new();
    let mut rest = quoted;
    loop {
        let (before, after) = rest.split_once('"').ok_or(ValuesError::Unclosed)?;
        value.push_str(before);
        match after.strip_prefix('"') {
            Some(more) => {
                value.push('"');
                rest = more;
            }
            None => return Ok((value, after)),
        }
    }
}

/// The numbers of a range, both ends in: `1..4`, `12..4 step -2`, `0..1 step 0.25`; none where the
/// text is no range.
///
/// # Errors
/// Where there are too many, or the step leads away from the end.
pub fn range(text: &str) -> Result<Option<Vec<String>>, ValuesError> {
    let Some((from, rest)) = text.split_once("..") else { return Ok(None) };
    let (to, step) = match rest.split_once("step") {
        Some((to, step)) => (to, Some(step.trim())),
        None => (rest, None),
    };
    let (from, to) = (from.trim(), to.trim());
    let too_long = || ValuesError::TooLong { range: text.into() };
    // Whole numbers stay exact: a seed has up to 64 bits.
    let whole = |text: &str| text.parse::<i128>().ok();
    if let (Some(first), Some(last)) = (whole(from), whole(to)) {
        let default = if first <= last { 1 } else { -1 };
        if let Some(step) = step.map_or(Some(default), whole) {
            let count = (last - first).checked_div(step).filter(|n| (0..MAX_VALUES as i128).contains(n));
            let count = count.ok_or_else(too_long)?;
            return Ok(Some((0..=count).map(|i| (first + i * step).to_string()).collect()));
        }
    }
    let number = |text: &str| text.parse::<f64>().ok().filter(|n| n.is_finite());
    let (Some(first), Some(last)) = (number(from), number(to)) else { return Ok(None) };
    let Some(step) = step.map_or(Some(if first <= last { 1.0 } else { -1.0 }), number) else {
        return Ok(None);
    };
    // The end is in, although 0.1 + 0.1 + 0.1 is a little more than 0.3.
    let count = ((last - first) / step + 1e-9).floor();
    if !(0.0..MAX_VALUES as f64).contains(&count) {
        return Err(too_long());
    }
    // A step such as 0.1 is no binary fraction: what is shown are the digits that were meant.
    let digits = [from, step.to_string().as_str()].into_iter().map(decimals).max().unwrap_or(0);
    let value = |i: usize| format!("{:.digits$}", first + i as f64 * step);
    Ok(Some((0..=count as usize).map(value).collect()))
}

fn decimals(text: &str) -> usize {
    text.split_once('.').map_or(0, |(_, digits)| digits.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_split() {
        assert_eq!(split("1, 2,3").unwrap(), ["1", "2", "3"]);
        assert_eq!(split(r#""a, b" , c "d", "say ""x""" "#).unwrap(), ["a, b", "c \"d\"", "say \"x\""]);
        assert_eq!(split("a,,b").unwrap(), ["a", "", "b"]);
        assert_eq!(split("\"a"), Err(ValuesError::Unclosed));
        assert_eq!(split("\"a\" b, c"), Err(ValuesError::AfterQuote { rest: "b, c".into() }));
    }

    #[test]
    fn ranges_have_both_ends() {
        let of = |text: &str| range(text).unwrap().unwrap();
        assert_eq!(of("3..5"), ["3", "4", "5"]);
        assert_eq!(of("2..-1"), ["2", "1", "0", "-1"]);
        assert_eq!(of("4 .. 12 step 4"), ["4", "8", "12"]);
        assert_eq!(of("0..0.3 step 0.1"), ["0.0", "0.1", "0.2", "0.3"]);
        assert_eq!(of("7.5..9"), ["7.5", "8.5"]);
        assert_eq!(of("18446744073709551614..18446744073709551615").len(), 2);
        assert_eq!(range("a..b").unwrap(), None);
        assert_eq!(range("5").unwrap(), None);
    }

    #[test]
    fn ranges_that_never_end_are_errors() {
        for text in ["0..99999999", "0..1 step 0.000001", "1..2 step 0", "1..2 step -1", "0.5..2 step 0"] {
            assert!(matches!(range(text), Err(ValuesError::TooLong { .. })), "{text}");
        }
    }
}
