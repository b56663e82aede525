//! The `ebb` command line.
fn main() {}
