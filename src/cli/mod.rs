//! The commands, a file each, and what they share:
//!
//! - `options`: arguments that several commands take. `assemble`: from these to an engine.
//! - `workflow`: from a file to a checked workflow; `set`: `--set NODE.INPUT=VALUE`.
//! - `progress`, `report`: readers of the engine's events.
//! - `failure`: what goes wrong, and the exit code that says so.

mod assemble;
mod completions;
mod convert;
mod coverage;
mod failure;
mod inspect;
mod memory;
mod nodes;
mod options;
mod plan;
mod process;
mod progress;
mod quantize;
mod report;
mod run;
mod saved;
mod serve;
mod set;
mod similar;
mod sweep;
mod validate;
mod workflow;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use failure::Failure;

/// Plans and runs node graphs of diffusion models: ComfyUI's workflows, clients and model folders,
/// in one program.
#[derive(Parser)]
#[command(name = "ebb", version, propagate_version = true, arg_required_else_help = true)]
#[command(after_help = "Exit codes: 0 done, 2 bad workflow, 3 model missing or broken, 1 anything else.")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a workflow: a file in API or UI format, or a PNG that carries one
    Run(run::Arguments),
    /// Run a workflow once for every combination of some values: all cells as one graph
    Sweep(sweep::Arguments),
    /// Show what would run, in which order, and how much memory it takes
    Plan(plan::Arguments),
    /// Check a workflow and say everything that is wrong with it
    Validate(validate::Arguments),
    /// Convert what the editor saves to the API format
    Convert(convert::Arguments),
    /// Tell which workflows have every node that they need, and which nodes the others lack
    Coverage(coverage::Arguments),
    /// List the nodes, or describe one
    Nodes(nodes::Arguments),
    /// Tell what a model file holds
    Inspect(inspect::Arguments),
    /// Rewrite a model file with fewer bits a weight
    Quantize(quantize::Arguments),
    /// Serve ComfyUI's protocol, /v1 and the editor
    Serve(serve::Arguments),
    /// Print completions for a shell
    Completions(completions::Arguments),
}

/// Does what the arguments say.
pub(crate) fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // A failure to write this has nowhere to go. Help and version are no failures; clap's own
            // code for wrong arguments, 2, means a bad workflow here.
            let _ = error.print();
            return if error.use_stderr() { failure::OTHER.into() } else { ExitCode::SUCCESS };
        }
    };
    let done = match arguments.command {
        Command::Run(arguments) => run::run(arguments),
        Command::Sweep(arguments) => sweep::run(arguments),
        Command::Plan(arguments) => plan::run(arguments),
        Command::Validate(arguments) => validate::run(arguments),
        Command::Convert(arguments) => convert::run(&arguments),
        Command::Coverage(arguments) => coverage::run(&arguments),
        Command::Nodes(arguments) => nodes::run(&arguments),
        Command::Inspect(arguments) => inspect::run(&arguments),
        Command::Quantize(arguments) => quantize::run(&arguments),
        Command::Serve(arguments) => serve::run(arguments),
        Command::Completions(arguments) => completions::run(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) if failure.is_broken_pipe() => ExitCode::SUCCESS,
        Err(failure) => {
            report(&failure);
            failure.code().into()
        }
    }
}

fn report(failure: &Failure) {
    let word = if std::io::stderr().is_terminal() { "\u{1b}[31;1merror:\u{1b}[0m" } else { "error:" };
    eprintln!("{word} {}", failure.to_string().trim_end());
}
