//! A LoRA on the tiny SD 1: the patched UNet and text encoder, and what they share with the base.

use std::sync::Arc;

use ebb_models::LoadOptions;
use ebb_models::clip::{Clip, Kind};
use ebb_models::denoiser::Denoiser;
use ebb_models::lora::{Keys, Patched, Patches, Spelling};
use ebb_models::ops::Ops;
use ebb_models::source::{Info, Prefixed, Source, Values};
use ebb_models::text::{Composition, Stack};
use ebb_models::unet::Unet;

use super::manifest::{Kit, record};
use super::synth::Synth;
use super::{BOUND, sd, text};
use crate::support::{AnyResult, Report, relative_difference};

/// Strengths of the kit.
const UNET: f32 = 0.8;
const TEXT: f32 = 0.6;

/// The kit's LoRA: procedural matrices, and one alpha for all.
struct Lora {
    tensors: Synth,
    alpha: f32,
}

impl Source for Lora {
    fn names(&self) -> Vec<String> {
        self.tensors.names()
    }

    fn info(&self, name: &str) -> Option<Info> {
        self.tensors.info(name)
    }

    fn read(&self, name: &str) -> ebb_models::Result<Values> {
        if name.ends_with(".alpha") { Ok(Values::F32(vec![self.alpha])) } else { self.tensors.read(name) }
    }
}

/// Compares `lora.…`, and checks that what the patches leave alone is the base's.
pub(super) fn check(kit: &Kit, ops: &Ops, base: &Unet, backend: &str, report: &mut Report) -> AnyResult {
    let lora = Arc::new(Lora { tensors: kit.synth("lora")?, alpha: kit.number("lora_alpha")? as f32 });

    let source = kit.source("model.diffusion_model.")?;
    let patches = Arc::new(Patches::read(lora.clone(), &Keys::new(&source, Spelling::Denoiser), 1));
    let patched = Patched::new(&source, [(patches.clone(), UNET)]);
    let options = LoadOptions { base: Some(base.params()), ..LoadOptions::default() };
    let unet = Unet::load(ops, &patched, options)?;
    let error = sd::denoise(kit, &unet).and_then(|y| relative_difference(&y, kit.input("lora.unet_output")?));
    record(report, backend, "lora.unet_output", error, BOUND);
    let (own, shared) = (unet.params().own_bytes(), unet.params().shared_bytes());
    if own == 0 || own * 4 > shared || own + shared != base.params().bytes() {
        report.fail("lora shares the base", format!("{own} bytes of its own, {shared} shared"));
    }
    let nothing = Patched::new(&source, [(patches, 0.0)]);
    let options = LoadOptions { base: Some(base.params()), ..LoadOptions::default() };
    if Unet::load(ops, &nothing, options)?.params().own_bytes() != 0 {
        report.fail("lora of strength 0", "holds bytes of its own");
    }

    let source: Prefixed<Synth> = kit.source("cond_stage_model.transformer.")?;
    let patches = Patches::read(lora, &Keys::new(&source, Spelling::TextEncoder(0)), 1);
    let patched = Patched::new(&source, [(Arc::new(patches), TEXT)]);
    let clip = Clip::load(ops, &patched, Kind::L, LoadOptions::default())?;
    let stack = Stack {
        composition: Composition::Sd1,
        l: Some(Arc::new(clip)),
        g: None,
        t5: None,
        layer: None,
        unprojected: false,
    };
    text::check(kit, "sd1", &stack, "lora.clip", backend, report);
    Ok(())
}
