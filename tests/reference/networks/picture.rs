//! Networks between pictures: TAESD and upscale models.

use std::path::Path;

use ebb_models::LoadOptions;
use ebb_models::taesd::{Scaling, Taesd};
use ebb_models::upscaler::Upscaler;

use super::BOUND;
use super::manifest::{Kit, backends, record};
use crate::support::{AnyResult, Family, Report, relative_difference};

pub(crate) const TAESD: Family = Family {
    name: "models/taesd",
    files: &["models/taesd/manifest.json", "models/taesd/io.safetensors"],
    check: taesd,
};
pub(crate) const ESRGAN: Family = Family {
    name: "models/esrgan-x4",
    files: &["models/esrgan-x4/manifest.json", "models/esrgan-x4/io.safetensors"],
    check: esrgan,
};

fn taesd(folder: &Path, report: &mut Report) -> AnyResult {
    let kit = Kit::open(folder, "taesd")?;
    for (backend, ops) in backends()? {
        let scaling = Scaling { scale: 1.0, shift: 0.0 };
        let model = Taesd::load(&ops, &kit.source("")?, scaling, LoadOptions::default())?;
        let decoded = relative_difference(&model.decode(kit.input("latent")?)?, kit.input("decoded")?);
        record(report, backend, "decoded", decoded, BOUND);
        let encoded = relative_difference(&model.encode(kit.input("image")?)?, kit.input("encoded")?);
        record(report, backend, "encoded", encoded, BOUND);
    }
    kit.leave_none_out(report);
    Ok(())
}

fn esrgan(folder: &Path, report: &mut Report) -> AnyResult {
    let kit = Kit::open(folder, "esrgan-x4")?;
    for (backend, ops) in backends()? {
        let model = Upscaler::load(&ops, &kit.source("")?, LoadOptions::default())?;
        let error = relative_difference(&model.upscale(kit.input("image")?)?, kit.input("output")?);
        record(report, backend, "output", error, BOUND);
    }
    kit.leave_none_out(report);
    Ok(())
}
