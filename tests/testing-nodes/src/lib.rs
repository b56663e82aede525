//! Model-free nodes that exercise the whole execution model: lazy inputs, lists, blockers,
//! expansion and loops, asynchronous nodes, change fingerprints, validators, undeclared inputs.
//! They bear the names that the recorded scenarios of the conformance kit use, and are linked
//! only into tests.
//!
//! - `stubs`: constant images, masks and numbers.
//! - `mix`: lazy inputs and undeclared ones.
//! - `changed`, `validation`: the hooks around a run.
//! - `lists`, `logic`: lists, blockers, arithmetic, comparisons.
//! - `expansion`, `loops`: nodes that return subgraphs.
//! - `waiting`, `progress`: asynchronous nodes, progress and previews.

mod changed;
mod expansion;
mod lists;
mod logic;
mod loops;
mod mix;
mod picture;
mod progress;
mod stubs;
mod validation;
mod waiting;

use ebb_engine::registry::{DuplicateClass, Registry};

/// Adds every testing node.
///
/// # Errors
/// Where a class name is taken already.
pub fn register(registry: &mut Registry) -> Result<(), DuplicateClass> {
    stubs::register(registry)?;
    mix::register(registry)?;
    changed::register(registry)?;
    validation::register(registry)?;
    lists::register(registry)?;
    logic::register(registry)?;
    expansion::register(registry)?;
    loops::register(registry)?;
    waiting::register(registry)?;
    progress::register(registry)
}
