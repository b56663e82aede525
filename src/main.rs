//! The `ebb` command line: arguments → one call into a library, exit codes, progress bars.

mod cli;

/// A server outlives the job for which there was no memory.
#[global_allocator]
static ALLOCATOR: ebb_kernels::heap::WithReserve = ebb_kernels::heap::WithReserve;

fn main() -> std::process::ExitCode {
    cli::main()
}
