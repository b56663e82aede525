//! The transformer families.

use std::path::Path;

use ebb_models::LoadOptions;
use ebb_models::denoiser::{Denoiser, Input, Session};
use ebb_models::dit::flux::Flux;
use ebb_models::dit::mmdit::Mmdit;
use ebb_models::ops::Ops;
use ebb_models::vae::Vae;

use super::manifest::{Kit, backends, record};
use super::{BOUND, sd};
use crate::support::{AnyResult, Family, Report, relative_difference, values};

pub(crate) const SD3: Family = Family {
    name: "models/sd3",
    files: &["models/sd3/manifest.json", "models/sd3/io.safetensors"],
    check: |folder, report| check(folder, "sd3", report, mmdit),
};
pub(crate) const SD35: Family = Family {
    name: "models/sd35",
    files: &["models/sd35/manifest.json", "models/sd35/io.safetensors"],
    check: |folder, report| check(folder, "sd35", report, mmdit),
};
pub(crate) const FLUX_DEV: Family = Family {
    name: "models/flux-dev",
    files: &["models/flux-dev/manifest.json", "models/flux-dev/io.safetensors"],
    check: |folder, report| check(folder, "flux-dev", report, flux),
};
pub(crate) const FLUX_SCHNELL: Family = Family {
    name: "models/flux-schnell",
    files: &["models/flux-schnell/manifest.json", "models/flux-schnell/io.safetensors"],
    check: |folder, report| check(folder, "flux-schnell", report, flux),
};

type Load = fn(&Kit, &Ops) -> AnyResult<Box<dyn Denoiser>>;

fn mmdit(kit: &Kit, ops: &Ops) -> AnyResult<Box<dyn Denoiser>> {
    Ok(Box::new(Mmdit::load(ops, &kit.source("model.diffusion_model.")?, LoadOptions::default())?))
}

fn flux(kit: &Kit, ops: &Ops) -> AnyResult<Box<dyn Denoiser>> {
    Ok(Box::new(Flux::load(ops, &kit.source("")?, LoadOptions::default())?))
}

fn check(folder: &Path, family: &str, report: &mut Report, load: Load) -> AnyResult {
    let kit = Kit::open(folder, family)?;
    for (backend, ops) in backends()? {
        let error = load(&kit, &ops).and_then(|model| denoise(&kit, &*model));
        record(report, backend, "output", error, BOUND);
        if kit.io.contains_key("vae_latent") {
            let vae = Vae::load(&ops, &kit.source("first_stage_model.")?, LoadOptions::default())?;
            record(report, backend, "vae_decoded", sd::decode(&kit, &vae), BOUND);
            record(report, backend, "vae_encoded", sd::encode(&kit, &vae), BOUND);
        }
    }
    kit.leave_none_out(report);
    Ok(())
}

fn denoise(kit: &Kit, model: &dyn Denoiser) -> AnyResult<f64> {
    let timesteps = values(kit.input("timestep")?)?;
    let guidance = kit.io.get("guidance").map(values).transpose()?;
    let input = Input {
        y: kit.io.get("y"),
        guidance: guidance.as_deref(),
        ..Input::new(kit.input("x")?, &timesteps, kit.input("context")?)
    };
    relative_difference(&model.denoise(&mut Session::new(), input)?, kit.input("output")?)
}
