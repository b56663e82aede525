//! The `ebb` command line: arguments → one call into a library, exit codes, progress bars.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
