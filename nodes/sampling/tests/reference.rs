//! The project's comparisons with reference numbers that this crate alone can make, without building the
//! rest. `tests/reference.rs` of the root package runs these and the others.

#[path = "../../../tests/reference/rng.rs"]
mod rng;
#[path = "../../../tests/reference/samplers.rs"]
mod samplers;
#[path = "../../../tests/reference/schedules.rs"]
mod schedules;
#[path = "../../../tests/support/mod.rs"]
mod support;

use std::process::ExitCode;

fn main() -> ExitCode {
    let families = [rng::FAMILY, schedules::FAMILY, samplers::FAMILY];
    if support::run(&families, &[]) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
