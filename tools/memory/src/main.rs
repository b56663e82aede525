//! Measures what Ebb's memory really does.
//!
//! Every command prints JSON lines: what the process held by `/proc`, beside what the ledger says. `docs/memory.md`
//! tells what each figure should be; `tools/bench/allocators.py` runs `drops` under several allocators.

mod bench;
mod cage;
mod drops;
mod endings;
mod loads;
mod peaks;
mod process;
mod switches;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Measures what Ebb's memory really does")]
struct Arguments {
    /// What the C library does with freed memory: `default`, `untouched` (no shared heap), `trim` (untouched, and another trim after each run), or the size
    /// in bytes from which blocks go back at once
    #[arg(long, global = true, default_value = "default")]
    allocator: String,
    #[command(flatten)]
    setup: bench::Setup,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Loads a checkpoint, makes a small picture, drops everything; again and again
    Drops(drops::Arguments),
    /// What each component takes while it is read
    Loads(loads::Arguments),
    /// Predicted against measured peaks of workflows, each at several budgets
    Peaks(peaks::Arguments),
    /// One run of one workflow, for `peaks`
    Peak(peaks::One),
    /// Loads that fail, loads that are cancelled, nodes that panic
    Endings(endings::Arguments),
    /// Alternates between checkpoints
    Switches(switches::Arguments),
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let trims = arguments.allocator == "trim";
    if let Ok(from) = arguments.allocator.parse::<usize>() {
        ebb_kernels::heap::map_blocks_from(from);
    } else {
        if !trims && arguments.allocator != "untouched" {
            ebb_kernels::heap::share();
        }
        anyhow::ensure!(
            trims || arguments.allocator == "untouched" || arguments.allocator == "default",
            "no such allocator"
        );
    }
    let setup = &arguments.setup;
    match arguments.command {
        Command::Drops(drops) => drops.run(setup, trims),
        Command::Endings(endings) => endings.run(setup),
        Command::Loads(loads) => loads.run(setup),
        Command::Peaks(peaks) => peaks.run(setup),
        Command::Peak(peak) => peak.run(setup),
        Command::Switches(switches) => switches.run(setup),
    }
}
