//! The project's comparisons with reference numbers that this crate alone can make, without building the
//! rest. `tests/reference.rs` of the root package runs these and the others.

#[path = "../../../tests/reference/rng.rs"]
mod rng;
#[path = "../../../tests/reference/schedules.rs"]
mod schedules;
#[path = "../../../tests/support/mod.rs"]
mod support;

use std::process::ExitCode;

fn main() -> ExitCode {
    if support::run(&[rng::FAMILY, schedules::FAMILY], &[]) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
