//! The UNet families.

use std::path::Path;
use std::sync::Arc;

use candle_core::Tensor;
use ebb_models::LoadOptions;
use ebb_models::controlnet::{ControlNet, ControlNetwork};
use ebb_models::denoiser::{Denoiser, Input, Session};
use ebb_models::ops::{Act, Ops};
use ebb_models::source::Prefixed;
use ebb_models::text::Stack;
use ebb_models::unet::Unet;
use ebb_models::vae::Vae;
use ebb_sampling::LatentFormat;

use super::BOUND;
use super::chain::{self, Pipeline};
use super::lora;
use super::manifest::{Kit, backends, record};
use super::text;
use crate::support::{AnyResult, Family, Report, relative_difference, values};

pub(crate) const SD1: Family = Family {
    name: "models/sd1",
    files: &["models/sd1/manifest.json", "models/sd1/io.safetensors"],
    check: |folder, report| check(folder, "sd1", report),
};
pub(crate) const SD1_INPAINT: Family = Family {
    name: "models/sd1-inpaint-unet",
    files: &["models/sd1-inpaint-unet/manifest.json", "models/sd1-inpaint-unet/io.safetensors"],
    check: |folder, report| check(folder, "sd1-inpaint-unet", report),
};
pub(crate) const SD2: Family = Family {
    name: "models/sd2",
    files: &["models/sd2/manifest.json", "models/sd2/io.safetensors"],
    check: |folder, report| check(folder, "sd2", report),
};
pub(crate) const SDXL: Family = Family {
    name: "models/sdxl",
    files: &["models/sdxl/manifest.json", "models/sdxl/io.safetensors"],
    check: |folder, report| check(folder, "sdxl", report),
};

fn check(folder: &Path, family: &str, report: &mut Report) -> AnyResult {
    let kit = Kit::open(folder, family)?;
    for (backend, ops) in backends()? {
        let unet = Unet::load(&ops, &kit.source("model.diffusion_model.")?, LoadOptions::default())?;
        let output = denoise(&kit, &unet).and_then(|y| relative_difference(&y, kit.input("output")?));
        record(report, backend, "output", output, BOUND);
        if !kit.io.contains_key("vae_latent") {
            continue;
        }
        let vae = Vae::load(&ops, &kit.source("first_stage_model.")?, LoadOptions::default())?;
        record(report, backend, "vae_decoded", decode(&kit, &vae), BOUND);
        record(report, backend, "vae_encoded", encode(&kit, &vae), BOUND);
        let stack = text::stack(&ops, &kit, family, None)?;
        text::check(&kit, family, &stack, "clip", backend, report);
        let format = if family == "sdxl" { LatentFormat::SDXL } else { LatentFormat::SD1 };
        let pipeline = Pipeline { stack: &stack, unet: &unet, vae: &vae, format };
        chain::check(&kit, family, &pipeline, backend, report);
        let skip = Stack { layer: Some(-2), ..stack };
        text::check(&kit, family, &skip, "clip_skip2", backend, report);
        if kit.io.contains_key("lora.unet_output") {
            lora::check(&kit, &ops, &unet, backend, report)?;
        }
        if kit.io.contains_key("controlnet.hint") {
            control(&kit, &ops, &unet, backend, report)?;
        }
    }
    kit.leave_none_out(report);
    Ok(())
}

pub(super) fn denoise(kit: &Kit, model: &dyn Denoiser) -> AnyResult<Tensor> {
    let timesteps = values(kit.input("timestep")?)?;
    let input =
        Input { y: kit.io.get("y"), ..Input::new(kit.input("x")?, &timesteps, kit.input("context")?) };
    Ok(model.denoise(&mut Session::new(), input)?)
}

pub(super) fn decode(kit: &Kit, vae: &Vae) -> AnyResult<f64> {
    relative_difference(&vae.decode(kit.input("vae_latent")?)?, kit.input("vae_decoded")?)
}

pub(super) fn encode(kit: &Kit, vae: &Vae) -> AnyResult<f64> {
    relative_difference(&vae.encode(kit.input("vae_image")?)?, kit.input("vae_encoded")?)
}

fn control(kit: &Kit, ops: &Ops, unet: &Unet, backend: &str, report: &mut Report) -> AnyResult {
    let source = Prefixed::new(kit.synth("controlnet")?, "control_model.");
    let net = ControlNet::load(ops, &source, LoadOptions::default())?;
    let timesteps = values(kit.input("timestep")?)?;
    let input = Input::new(kit.input("x")?, &timesteps, kit.input("context")?);
    let hint = net.hint(kit.input("controlnet.hint")?, None)?;
    let whole = net.residuals(&mut Session::new(), &hint, input, None, 1.0)?;
    let mut compare = |key: &str, found: Option<&Arc<Act>>| {
        let error = found
            .ok_or("no such residual".into())
            .and_then(|act| relative_difference(&ops.to_nchw(act)?, kit.input(key)?));
        record(report, backend, key, error, BOUND);
    };
    compare("controlnet.middle", whole.middle.as_ref());
    for key in kit.io.keys().filter(|k| k.starts_with("controlnet.out")) {
        let index: usize = key["controlnet.out".len()..].parse()?;
        compare(key, whole.output.get(index).and_then(Option::as_ref));
    }
    for (key, strength) in
        kit.io.keys().filter_map(|k| Some((k, k.strip_prefix("controlnet.unet_output_strength")?)))
    {
        let control = net.residuals(&mut Session::new(), &hint, input, None, strength.parse()?)?;
        let input = Input { control: Some(&control), ..input };
        let error = relative_difference(&unet.denoise(&mut Session::new(), input)?, kit.input(key)?);
        record(report, backend, key, error, BOUND);
    }
    Ok(())
}
