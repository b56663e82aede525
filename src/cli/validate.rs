//! `ebb validate`.

use std::io::Write;
use std::path::PathBuf;

use ebb_engine::workflow::source::Format;

use super::failure::{Done, Failure};
use super::options::{ChangeOptions, FolderOptions};
use super::{assemble, workflow};

/// Arguments of `ebb validate`.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The workflow: API format, UI format, a request body, or a PNG with one inside
    workflow: PathBuf,
    /// Print ComfyUI's answer: `{"error": …, "node_errors": …}`, or `{"node_errors": {}}`
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    changes: ChangeOptions,
    #[command(flatten)]
    folders: FolderOptions,
}

pub(super) fn run(arguments: Arguments) -> Done {
    let Arguments { workflow: file, json, changes, folders } = arguments;
    let registry = assemble::registry(&folders, None)?;
    let opened = workflow::open(&file, &changes, &registry)?;
    let targets = workflow::targets(&changes, &opened.workflow)?;
    let original = opened.workflow.clone();
    let checking = ebb_engine::validate::validate(opened.workflow, &registry, targets.as_deref());
    let mut out = std::io::stdout();
    let valid = match assemble::runtime()?.block_on(checking) {
        Ok(valid) => valid,
        Err(rejection) => {
            if json {
                writeln!(out, "{:#}", rejection.to_json())?;
            }
            return Err(workflow::rejected_in(&rejection, &original, &registry, &folders));
        }
    };
    if json {
        writeln!(out, "{:#}", serde_json::json!({"node_errors": valid.node_errors.to_json()}))?;
    }
    if !valid.node_errors.is_empty() {
        let problems = valid.node_errors.explain(&original);
        return Err(Failure::workflow(format!("some outputs cannot run\n{problems}")));
    }
    if !json {
        let outputs: Vec<String> = valid.outputs.iter().map(|id| format!("#{id}")).collect();
        let written = match opened.format {
            Format::Api => "API format",
            Format::Ui => "UI format",
            Format::Envelope => "request body",
            Format::PngPrompt => "prompt of a PNG",
            Format::PngWorkflow => "UI workflow of a PNG",
        };
        let (nodes, outputs) = (original.nodes.len(), outputs.join(", "));
        writeln!(out, "valid ({written}): {nodes} nodes, outputs {outputs}")?;
    }
    Ok(())
}
