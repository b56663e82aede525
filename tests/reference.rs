//! Compares Ebb with numbers that ComfyUI computed: every key of every file under `tests/reference`, or
//! under the folder that `EBB_REFERENCE` names. Prints a line for each file.

#[path = "reference/mod.rs"]
mod families;
mod support;

use std::path::Path;
use std::process::ExitCode;

use families::networks;
use support::Family;

/// What is compared. What the folder holds beside this is told as not supported yet.
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

/// Folders of the kit that hold shapes and no numbers: the full-size checkpoints' manifests, from which
/// benchmarks make theirs.
const SHAPES_ONLY: [&str; 2] = ["models/sd15-full", "models/sdxl-full"];

/// Files of numbers in the folder that no comparison above reads.
fn unsupported(folder: &Path) -> Vec<String> {
    let entries = |part: &str| {
        let read = std::fs::read_dir(folder.join(part)).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            read.filter_map(|entry| Some(format!("{part}/{}", entry.file_name().to_str()?))).collect();
        names.sort();
        names
    };
    // `samplers.errors.json` lists what the reference itself could not compute.
    let maths = entries("math").into_iter().filter(|name| !name.ends_with(".errors.json"));
    let maths = maths.filter(|name| !FAMILIES.iter().any(|family| family.files.contains(&name.as_str())));
    let models = entries("models").into_iter().filter(|name| !SHAPES_ONLY.contains(&name.as_str()));
    let models = models.filter(|name| !FAMILIES.iter().any(|family| family.name == name));
    maths.chain(models).collect()
}

fn main() -> ExitCode {
    if support::run(FAMILIES, &unsupported(&support::folder())) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
