//! Literals → the declared type, as leniently as ComfyUI.

use serde_json::{Number, Value as Json};

use super::text;
use crate::schema::{Input, InputType};
use crate::workflow::json_kind;

/// The literal as its declared type, or why it cannot be. Wires and combos take it as it is.
pub(super) fn coerce(input: &Input, literal: &Json) -> Result<Json, String> {
    match &input.kind {
        InputType::Int => int(literal),
        InputType::Float => float(literal),
        InputType::String => Ok(match literal {
            Json::String(_) => literal.clone(),
            other => Json::String(text::plain(other)),
        }),
        InputType::Boolean => Ok(Json::Bool(truthy(literal))),
        InputType::Combo { .. } | InputType::Wire(_) => Ok(literal.clone()),
    }
}

fn int(literal: &Json) -> Result<Json, String> {
    let number = match literal {
        Json::Bool(b) => Number::from(u8::from(*b)),
        Json::Number(n) if !n.is_f64() => n.clone(),
        Json::Number(n) => {
            let float = n.as_f64().unwrap_or(f64::NAN).trunc();
            // `as` saturates, so the bounds are checked first.
            if (0.0..18_446_744_073_709_551_616.0).contains(&float) {
                Number::from(float as u64)
            } else if (-9_223_372_036_854_775_808.0..0.0).contains(&float) {
                Number::from(float as i64)
            } else {
                return Err(format!("{n} does not fit into 64 bits"));
            }
        }
        Json::String(text) => {
            let digits = text.trim().replace('_', "");
            match (digits.parse::<u64>(), digits.parse::<i64>()) {
                (Ok(n), _) => n.into(),
                (_, Ok(n)) => n.into(),
                _ => return Err(format!("expected a whole number, found the text '{text}'")),
            }
        }
        other => return Err(format!("expected a whole number, found {}", json_kind(other))),
    };
    Ok(Json::Number(number))
}

fn float(literal: &Json) -> Result<Json, String> {
    let float = match literal {
        Json::Bool(b) => f64::from(u8::from(*b)),
        Json::Number(n) => n.as_f64().unwrap_or(f64::NAN),
        Json::String(text) => text
            .trim()
            .replace('_', "")
            .parse::<f64>()
            .map_err(|_| format!("expected a number, found the text '{text}'"))?,
        other => return Err(format!("expected a number, found {}", json_kind(other))),
    };
    Number::from_f64(float).map(Json::Number).ok_or_else(|| "expected a finite number".to_owned())
}

/// Python's truth: empty and zero are false, the text "false" is true.
fn truthy(literal: &Json) -> bool {
    match literal {
        Json::Null => false,
        Json::Bool(b) => *b,
        Json::Number(n) => n.as_f64() != Some(0.0),
        Json::String(text) => !text.is_empty(),
        Json::Array(items) => !items.is_empty(),
        Json::Object(map) => !map.is_empty(),
    }
}

/// Whether `a` is smaller than `b`, without losing digits of 64-bit seeds.
pub(super) fn smaller(a: &Number, b: &Number) -> bool {
    match (wide(a), wide(b)) {
        (Some(a), Some(b)) => a < b,
        _ => a.as_f64() < b.as_f64(),
    }
}

fn wide(n: &Number) -> Option<i128> {
    n.as_u64().map(i128::from).or_else(|| n.as_i64().map(i128::from))
}

/// Equality where 1 and 1.0 are the same, as in a combo of numbers.
pub(super) fn same(a: &Json, b: &Json) -> bool {
    match (a, b) {
        (Json::Number(a), Json::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        _ => a == b,
    }
}

/// Whether what an output brings may enter an input: equal, `*` on either side, or sets of types
/// (separated by commas) that have one in common.
pub(super) fn fits(output: &crate::schema::Output, input: &Input) -> bool {
    if output.kind == "*" || input.type_name() == "*" {
        return true;
    }
    match (&output.choices, &input.kind) {
        (Some(offered), InputType::Combo { choices, .. }) => offered.values() == choices.values(),
        (Some(_), _) => false,
        (None, _) => kind_fits(&output.kind, input),
    }
}

/// [`fits`] for a type by its name.
pub(super) fn kind_fits(kind: &str, input: &Input) -> bool {
    let accepted = input.type_name();
    let shared = || kind.split(',').any(|kind| accepted.split(',').any(|a| a.trim() == kind.trim()));
    kind == "*" || accepted == "*" || kind == accepted || shared()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn whole_numbers_are_read_leniently_and_keep_64_bits() {
        for (from, to) in [
            (json!(8.9), json!(8)),
            (json!(-8.9), json!(-8)),
            (json!(true), json!(1)),
            (json!(" 1_6 "), json!(16)),
            (json!("18446744073709551615"), json!(u64::MAX)),
            (json!(u64::MAX), json!(u64::MAX)),
        ] {
            assert_eq!(int(&from), Ok(to), "{from}");
        }
        for bad in [json!("abc"), json!("1.5"), json!(null), json!({"a": 1}), json!(1e300)] {
            assert!(int(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn truth_is_pythons() {
        assert!(truthy(&json!("false")));
        assert!(!truthy(&json!("")));
        assert!(!truthy(&json!(0.0)));
    }

    #[test]
    fn bounds_compare_exactly() {
        let (a, b) = (Number::from(u64::MAX - 1), Number::from(u64::MAX));
        assert!(smaller(&a, &b) && !smaller(&b, &b));
        assert!(smaller(&Number::from(-1), &a));
    }
}
