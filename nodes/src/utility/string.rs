//! Nodes for texts. They count in characters and compare as Python does.

use ebb_engine::node::{Context, Inputs, Node, NodeError, Outcome};
use ebb_engine::registry::{DuplicateClass, Registry};
use ebb_engine::schema::{Input, InputType, Schema};

pub(super) fn register(registry: &mut Registry) -> Result<(), DuplicateClass> {
    registry.add(StringConcatenate)?;
    registry.add(StringSubstring)?;
    registry.add(StringLength)?;
    registry.add(CaseConverter)?;
    registry.add(StringTrim)?;
    registry.add(StringReplace)?;
    registry.add(StringContains)?;
    registry.add(StringCompare)
}

/// `text[start:end]`.
fn part(text: &str, start: i64, end: i64) -> String {
    let length = text.chars().count() as i64;
    let place = |at: i64| if at < 0 { (at + length).max(0) } else { at.min(length) };
    let (start, end) = (place(start), place(end));
    text.chars().skip(start as usize).take((end - start).max(0) as usize).collect()
}

fn cased(text: &str, mode: &str) -> String {
    match mode {
        "UPPERCASE" => text.to_uppercase(),
        "lowercase" => text.to_lowercase(),
        "Capitalize" => words(text, |_, before| before.is_none()),
        // A word begins after anything that is no letter.
        _ => words(text, |_, before| !before.is_some_and(char::is_alphabetic)),
    }
}

/// Capitals where `begins` says so of a letter and the one before it, small letters elsewhere.
fn words(text: &str, begins: impl Fn(char, Option<char>) -> bool) -> String {
    let mut before = None;
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        if begins(letter, before) {
            out.extend(letter.to_uppercase())
        } else {
            out.extend(letter.to_lowercase())
        }
        before = Some(letter);
    }
    out
}

/// Two texts as they are compared: in small letters where case does not count.
fn compared(inputs: &Inputs, a: &str, b: &str) -> Result<(String, String), NodeError> {
    let (a, b) = (inputs.str(a)?, inputs.str(b)?);
    Ok(match inputs.bool("case_sensitive")? {
        true => (a.to_owned(), b.to_owned()),
        false => (a.to_lowercase(), b.to_lowercase()),
    })
}

/// Two texts with something between them.
struct StringConcatenate;

impl Node for StringConcatenate {
    fn schema(&self) -> Schema {
        Schema::new("StringConcatenate")
            .display("Concatenate")
            .category("utils/string")
            .module("comfy_extras.nodes_string")
            .input(Input::new("string_a", InputType::String).option("multiline", true))
            .input(Input::new("string_b", InputType::String).option("multiline", true))
            .input(Input::string("delimiter", "").option("multiline", false))
            .output("STRING")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        Ok(Outcome::value(format!(
            "{}{}{}",
            inputs.str("string_a")?,
            inputs.str("delimiter")?,
            inputs.str("string_b")?
        )))
    }
}

/// The characters from one place to another; negative places count from the end.
struct StringSubstring;

impl Node for StringSubstring {
    fn schema(&self) -> Schema {
        Schema::new("StringSubstring")
            .display("Substring")
            .category("utils/string")
            .module("comfy_extras.nodes_string")
            .input(Input::new("string", InputType::String).option("multiline", true))
            .input(Input::new("start", InputType::Int))
            .input(Input::new("end", InputType::Int))
            .output("STRING")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        Ok(Outcome::value(part(inputs.str("string")?, inputs.int("start")?, inputs.int("end")?)))
    }
}

/// How many characters a text has.
struct StringLength;

impl Node for StringLength {
    fn schema(&self) -> Schema {
        Schema::new("StringLength")
            .display("Length")
            .category("utils/string")
            .module("comfy_extras.nodes_string")
            .input(Input::new("string", InputType::String).option("multiline", true))
            .named_output("INT", "length")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        Ok(Outcome::value(inputs.str("string")?.chars().count() as i64))
    }
}

/// A text in other letters.
struct CaseConverter;

impl Node for CaseConverter {
    fn schema(&self) -> Schema {
        Schema::new("CaseConverter")
            .display("Case Converter")
            .category("utils/string")
            .module("comfy_extras.nodes_string")
            .input(Input::new("string", InputType::String).option("multiline", true))
            .input(Input::combo("mode", ["UPPERCASE", "lowercase", "Capitalize", "Title Case"]).named_combo())
            .output("STRING")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        Ok(Outcome::value(cased(inputs.str("string")?, inputs.str("mode")?)))
    }
}

/// A text without white space at its ends.
struct StringTrim;

impl Node for StringTrim {
    fn schema(&self) -> Schema {
        Schema::new("StringTrim")
            .display("Trim")
            .category("utils/string")
            .module("comfy_extras.nodes_string")
            .input(Input::new("string", InputType::String).option("multiline", true))
            .input(Input::combo("mode", ["Both", "Left", "Right"]).named_combo())
            .output("STRING")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let text = inputs.str("string")?;
        let trimmed = match inputs.str("mode")? {
            "Left" => text.trim_start(),
            "Right" => text.trim_end(),
            _ => text.trim(),
        };
        Ok(Outcome::value(trimmed.to_owned()))
    }
}

/// A text with every occurrence of another replaced.
struct StringReplace;

impl Node for StringReplace {
    fn schema(&self) -> Schema {
        Schema::new("StringReplace")
            .display("Replace")
            .category("utils/string")
            .module("comfy_extras.nodes_string")
            .input(Input::new("string", InputType::String).option("multiline", true))
            .input(Input::new("find", InputType::String).option("multiline", true))
            .input(Input::new("replace", InputType::String).option("multiline", true))
            .output("STRING")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        Ok(Outcome::value(inputs.str("string")?.replace(inputs.str("find")?, inputs.str("replace")?)))
    }
}

/// Whether a text holds another.
struct StringContains;

impl Node for StringContains {
    fn schema(&self) -> Schema {
        Schema::new("StringContains")
            .display("Contains")
            .category("utils/string")
            .module("comfy_extras.nodes_string")
            .input(Input::new("string", InputType::String).option("multiline", true))
            .input(Input::new("substring", InputType::String).option("multiline", true))
            .input(Input::boolean("case_sensitive", true))
            .named_output("BOOLEAN", "contains")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let (text, part) = compared(inputs, "string", "substring")?;
        Ok(Outcome::value(text.contains(&part)))
    }
}

/// Whether a text begins with, ends with or is another.
struct StringCompare;

impl Node for StringCompare {
    fn schema(&self) -> Schema {
        Schema::new("StringCompare")
            .display("Compare")
            .category("utils/string")
            .module("comfy_extras.nodes_string")
            .input(Input::new("string_a", InputType::String).option("multiline", true))
            .input(Input::new("string_b", InputType::String).option("multiline", true))
            .input(Input::combo("mode", ["Starts With", "Ends With", "Equal"]).named_combo())
            .input(Input::boolean("case_sensitive", true))
            .output("BOOLEAN")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let (a, b) = compared(inputs, "string_a", "string_b")?;
        Ok(Outcome::value(match inputs.str("mode")? {
            "Starts With" => a.starts_with(&b),
            "Ends With" => a.ends_with(&b),
            _ => a == b,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_counted_in_characters_from_either_end() {
        assert_eq!(part("grüne Bäume", 0, 5), "grüne");
        assert_eq!(part("grüne Bäume", -5, -1), "Bäum");
        assert_eq!(part("abc", 2, 1), "");
        assert_eq!(part("abc", -9, 99), "abc");
    }

    #[test]
    fn letters_are_those_of_python() {
        assert_eq!(cased("hello WORLD it's 3rd", "Title Case"), "Hello World It'S 3Rd");
        assert_eq!(cased("hELLO World", "Capitalize"), "Hello world");
        assert_eq!(cased("straße", "UPPERCASE"), "STRASSE");
    }
}
