//! Compares Ebb with numbers that ComfyUI computed: every key of every file under `tests/reference`, or
//! under the folder that `EBB_REFERENCE` names. Prints a line for each file.

#[path = "reference/mod.rs"]
mod families;
mod support;

use std::process::ExitCode;

use families::networks;
use support::Family;

/// What is compared. A family's module is added here and leaves [`UNSUPPORTED`].
const FAMILIES: &[Family] = &[
    families::rng::FAMILY,
    families::schedules::FAMILY,
    families::samplers::FAMILY,
    families::tokens::FAMILY,
    families::images::FAMILY,
    networks::sd::SD1,
    networks::sd::SD1_INPAINT,
    networks::sd::SD2,
    networks::sd::SDXL,
    networks::text::T5_ENCODER,
    networks::dit::SD3,
    networks::dit::SD35,
    networks::dit::FLUX_DEV,
    networks::dit::FLUX_SCHNELL,
    networks::picture::TAESD,
    networks::picture::ESRGAN,
    networks::demo::FAMILY,
];

/// Files of the reference kit that nothing here can compute yet.
const UNSUPPORTED: &[&str] = &[];

fn main() -> ExitCode {
    if support::run(FAMILIES, UNSUPPORTED) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
