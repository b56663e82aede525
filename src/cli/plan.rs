//! `ebb plan`.

use std::io::Write;
use std::path::PathBuf;

use clap::ValueEnum;
use ebb_engine::cache::CachePolicy;

use super::failure::Done;
use super::options::{ChangeOptions, EngineOptions, FolderOptions};
use super::{assemble, workflow};

/// Arguments of `ebb plan`.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The workflow: API format, UI format, a request body, or a PNG with one inside
    workflow: PathBuf,
    /// How to print it
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    #[command(flatten)]
    changes: ChangeOptions,
    #[command(flatten)]
    folders: FolderOptions,
    #[command(flatten)]
    engine: EngineOptions,
}

/// How a plan is printed.
#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// A line a step, for people
    Text,
    /// All of it, for programs
    Json,
    /// A graph, for Graphviz
    Dot,
}

pub(super) fn run(arguments: Arguments) -> Done {
    let Arguments { workflow: file, format, changes, folders, engine: options } = arguments;
    let engine = assemble::engine(&folders, &options, CachePolicy::None)?;
    let opened = workflow::open(&file, &changes, engine.registry())?;
    let targets = workflow::targets(&changes, &opened.workflow)?;
    let original = opened.workflow.clone();
    let valid = assemble::runtime()?
        .block_on(engine.validate(opened.workflow, targets.as_deref()))
        .map_err(|rejection| workflow::rejected_in(&rejection, &original, engine.registry(), &folders))?;
    if !valid.node_errors.is_empty() {
        let problems = valid.node_errors.explain(&original);
        eprintln!("warning: some outputs cannot run and are not in the plan\n{}", problems.trim_end());
    }
    let plan = engine.plan(&valid.graph);
    let text = match format {
        Format::Text => plan.to_text(),
        Format::Json => serde_json::to_string_pretty(&plan.to_json())? + "\n",
        Format::Dot => plan.to_dot(),
    };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(())
}
