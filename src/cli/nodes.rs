//! `ebb nodes`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;

use ebb_engine::schema::{Input, InputType, Schema, Section};

use super::failure::{Done, Failure};
use super::options::FolderOptions;
use super::{assemble, similar};

/// Arguments of `ebb nodes`.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The node to describe; without one, all are listed
    class: Option<String>,
    /// Print what a server's /object_info answers
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    folders: FolderOptions,
}

/// How many values of a list are shown.
const SHOWN: usize = 12;

pub(super) fn run(arguments: &Arguments) -> Done {
    let registry = assemble::registry(&arguments.folders, None)?;
    let text = match &arguments.class {
        Some(name) => {
            let class = registry.get(name).ok_or_else(|| {
                let known = registry.iter().map(|class| class.schema.class.as_str());
                Failure::other(format!("there is no node `{name}`{}", similar::hint(name, known)))
            })?;
            match arguments.json {
                true => format!("{:#}\n", serde_json::json!({name: class.schema.object_info()})),
                false => describe(&class.schema),
            }
        }
        None if arguments.json => format!("{:#}\n", registry.object_info()),
        None => {
            let mut categories: BTreeMap<&str, Vec<&Schema>> = BTreeMap::new();
            for class in registry.iter() {
                categories.entry(&class.schema.category).or_default().push(&class.schema);
            }
            let mut out = String::new();
            for (category, mut schemas) in categories {
                schemas.sort_by(|a, b| a.class.cmp(&b.class));
                let _ = writeln!(out, "{category}");
                for schema in schemas {
                    let _ = writeln!(out, "  {:36} {}", schema.class, schema.display_name);
                }
            }
            out
        }
    };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(())
}

fn describe(schema: &Schema) -> String {
    let mut out = format!("{} ({}), {}\n", schema.class, schema.display_name, schema.category);
    if !schema.description.is_empty() {
        let _ = writeln!(out, "{}", schema.description);
    }
    for (section, title) in [(Section::Required, "inputs"), (Section::Optional, "optional inputs")] {
        let inputs: Vec<&Input> = schema.inputs.iter().filter(|input| input.section == section).collect();
        if !inputs.is_empty() {
            let _ = writeln!(out, "{title}:");
            inputs.iter().for_each(|input| describe_input(&mut out, input));
        }
    }
    if !schema.outputs.is_empty() {
        out.push_str("outputs:\n");
    }
    for (slot, output) in schema.outputs.iter().enumerate() {
        let list = if output.is_list { " (list)" } else { "" };
        let _ = writeln!(out, "  {slot}  {:20} {}{list}", output.name, output.kind);
    }
    if schema.output_node {
        out.push_str("An output node: a workflow needs one to run.\n");
    }
    out
}

fn describe_input(out: &mut String, input: &Input) {
    let _ = write!(out, "  {:24} {}", input.name, input.type_name());
    if let Some(default) = &input.default {
        let _ = write!(out, ", default {default}");
    }
    match (&input.min, &input.max) {
        (Some(min), Some(max)) => {
            let _ = write!(out, ", {min} to {max}");
        }
        (Some(min), None) => {
            let _ = write!(out, ", at least {min}");
        }
        (None, Some(max)) => {
            let _ = write!(out, ", at most {max}");
        }
        (None, None) => {}
    }
    if let InputType::Combo { choices, .. } = &input.kind {
        let values = choices.values();
        let shown: Vec<String> = values.iter().take(SHOWN).map(ToString::to_string).collect();
        let more = values.len().saturating_sub(SHOWN);
        let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
        let _ = write!(
            out,
            ", one of {}{rest}",
            if shown.is_empty() { "no files yet".into() } else { shown.join(", ") }
        );
    }
    if input.lazy {
        out.push_str(", computed only if asked for");
    }
    out.push('\n');
}
