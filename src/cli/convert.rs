//! `ebb convert`.

use std::io::Write;
use std::path::PathBuf;

use ebb_engine::workflow::source::Source;
use ebb_engine::workflow::ui::{self, Catalog};

use super::failure::{Done, Failure};
use super::options::FolderOptions;
use super::{assemble, report, similar, workflow};

/// Arguments of `ebb convert`.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// What the editor saved: a JSON file, or a PNG that carries one; `-` reads the standard input
    workflow: PathBuf,
    /// Where to write the API format [default: the standard output]
    #[arg(short, long, value_name = "FILE.json")]
    output: Option<PathBuf>,
    /// What nodes declare, beside ebb's own: a file with the answer of a server's /object_info.
    /// Where both know a node, the file counts
    #[arg(long, value_name = "FILE.json")]
    object_info: Option<PathBuf>,
    /// Seed of the choices in prompts such as `{red|green}`
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    choices_seed: u64,
    #[command(flatten)]
    folders: FolderOptions,
}

pub(super) fn run(arguments: &Arguments) -> Done {
    let own = Catalog::from_registry(&assemble::registry(&arguments.folders, None)?);
    let catalog = match &arguments.object_info {
        Some(path) => {
            let info = serde_json::from_slice(&workflow::read(path)?)
                .map_err(|error| Failure::other(format!("{} is not JSON: {error}", path.display())))?;
            Catalog::from_object_info(&info).or(own)
        }
        None => own,
    };
    let path = arguments.workflow.display();
    let source = Source::read(&workflow::read(&arguments.workflow)?)
        .map_err(|error| Failure::workflow(format!("{path}: {error}")))?;
    let prompt = if source.format.is_ui() {
        let mut options = workflow::options(arguments.choices_seed);
        let converted = ui::convert(source.workflow, &catalog, &mut options)
            .map_err(|error| Failure::workflow(format!("{path}: {error}")))?;
        for node in &converted.unknown {
            let hint = similar::hint(&node.class, catalog.names());
            eprintln!(
                "warning: node #{} is a `{}`, which nobody declares{hint}; its entry has no class_type and its values \
                 no names (--object-info tells of further nodes)",
                node.id, node.class
            );
        }
        converted.prompt
    } else {
        eprintln!("note: {path} is in API format already");
        source.workflow
    };
    let text = serde_json::to_string_pretty(&prompt)? + "\n";
    match &arguments.output {
        Some(output) => report::write_whole(output, &text),
        None => Ok(std::io::stdout().write_all(text.as_bytes())?),
    }
}
