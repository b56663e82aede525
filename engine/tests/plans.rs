//! Plans of real workflows, as text: what is loaded, what dies, what is held.
//!
//! The classes are those of ComfyUI's own `object_info`, with forecasts of Stable Diffusion's sizes, so that
//! these plans change when planning does and not when a node does.

mod support;

use std::sync::Arc;

use ebb_engine::cache::CachePolicy;
use ebb_engine::node::{Forecast, Node, NodeError, Sketch, Sketches};
use ebb_engine::plan::Plan;
use ebb_engine::registry::Registry;
use ebb_engine::residency::{ComponentKey, ComponentSpec};
use ebb_engine::schema::{Input, InputType, Schema};
use ebb_engine::workflow::Workflow;
use serde_json::Value as Json;
use support::engine;

fn repository(path: &str) -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// A class as `object_info` declares it.
struct Declared(String, Json);

/// A handle to the weights of a checkpoint.
struct Handle(&'static str, String, u64);

const MIB: u64 = 1024 * 1024;

fn weights(handle: &Handle) -> ComponentSpec {
    let Handle(part, file, bytes) = handle;
    ComponentSpec {
        key: ComponentKey { fingerprint: file.as_str().into(), part: (*part).into(), dtype: "f16".into() },
        label: format!("{file} {part}").into(),
        bytes: *bytes,
        load_overhead: 0,
    }
}

/// Width and height of a latent, in pixels.
struct Size(u64, u64);

impl Node for Declared {
    fn schema(&self) -> Schema {
        let mut schema = Schema::new(self.0.as_str());
        for section in ["required", "optional"] {
            for (name, spec) in self.1["input"][section].as_object().into_iter().flatten() {
                let kind = match spec[0].as_str() {
                    Some("INT") => InputType::Int,
                    Some("FLOAT") => InputType::Float,
                    Some("STRING") => InputType::String,
                    Some("BOOLEAN") => InputType::Boolean,
                    Some(wire) if wire != "COMBO" => InputType::Wire(wire.into()),
                    // The files of the machine that wrote it are not here.
                    _ => InputType::Wire("*".into()),
                };
                let input = Input::new(name, kind);
                schema = schema.input(if section == "required" { input } else { input.optional() });
            }
        }
        for kind in self.1["output"].as_array().into_iter().flatten() {
            schema = schema.output(kind.as_str().unwrap_or("COMBO"));
        }
        if self.1["output_node"] == true { schema.output_node() } else { schema }
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        let handle = |part, input: &str, bytes| {
            Sketch::known(0, Handle(part, inputs.str(input).unwrap_or("?").into(), bytes))
        };
        let image = |Size(width, height): &Size| Sketch::known(width * height * 12, Size(*width, *height));
        let latent = |Size(width, height): &Size| Sketch::known(width * height / 4, Size(*width, *height));
        let uses = |input: &str| inputs.what::<Handle>(input).map(|handle| weights(&handle));
        let mut forecast = match self.0.as_str() {
            "CheckpointLoaderSimple" => Forecast {
                outputs: vec![
                    handle("denoiser", "ckpt_name", 1640 * MIB),
                    handle("text_encoder", "ckpt_name", 235 * MIB),
                    handle("vae", "ckpt_name", 160 * MIB),
                ],
                ..Forecast::default()
            },
            "UNETLoader" => Forecast::output(handle("denoiser", "unet_name", 11_000 * MIB)),
            "DualCLIPLoader" => Forecast::output(handle("text_encoder", "clip_name1", 5_000 * MIB)),
            "VAELoader" => Forecast::output(handle("vae", "vae_name", 160 * MIB)),
            "EmptyLatentImage" => match (inputs.uint("width"), inputs.uint("height")) {
                (Some(width), Some(height)) => Forecast::output(latent(&Size(width, height))),
                _ => Forecast::unknown(),
            },
            "CLIPTextEncode" => Forecast::output(Sketch::known(77 * 768 * 4, ())),
            "KSampler" | "KSamplerAdvanced" => match inputs.what::<Size>("latent_image") {
                Some(size) => Forecast::output(latent(&size)).scratch(300 * MIB),
                None => Forecast::unknown(),
            },
            "VAEDecode" => match inputs.what::<Size>("samples") {
                Some(size) => Forecast::output(image(&size)).scratch(size.0 * size.1 * 1024),
                None => Forecast::unknown(),
            },
            _ => Forecast::unknown(),
        };
        forecast.uses.extend(["model", "clip", "vae"].into_iter().filter_map(uses));
        Ok(forecast)
    }
}

fn plan(file: &str) -> Plan {
    let classes: Json = serde_json::from_str(&repository("tests/conformance/object_info.core.json")).unwrap();
    let mut registry = Registry::new();
    for (class, info) in classes.as_object().unwrap() {
        registry.add(Declared(class.clone(), info.clone())).unwrap();
    }
    let workflow = Workflow::from_json(serde_json::from_str(&repository(file)).unwrap()).unwrap();
    let engine = engine(registry, CachePolicy::None);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let checked = runtime.block_on(engine.validate(workflow.clone(), None));
    let checked = checked.unwrap_or_else(|rejection| panic!("{file}: {}", rejection.explain(&workflow)));
    engine.plan(&checked.graph)
}

#[test]
fn text_to_image() {
    insta::assert_snapshot!(plan("workflows/text-to-image.json").to_text());
}

#[test]
fn two_branches_share_one_checkpoint() {
    let plan = plan("workflows/two-branches.json");
    let loads: Vec<Arc<str>> = plan.steps.iter().flat_map(|s| &s.loads).map(|l| l.label.clone()).collect();
    let distinct: std::collections::HashSet<_> = loads.iter().collect();
    assert_eq!(loads.len(), distinct.len(), "each component is loaded once");
    insta::assert_snapshot!(plan.to_text());
}

#[test]
fn upscale_and_refine() {
    insta::assert_snapshot!(plan("workflows/upscale-and-refine.json").to_text());
}

#[test]
fn sdxl_with_refiner() {
    insta::assert_snapshot!(plan("tests/conformance/ui2api/tpl_sdxl_simple_example.api.json").to_text());
}

#[test]
fn a_plan_as_dot() {
    insta::assert_snapshot!(plan("workflows/text-to-image.json").to_dot());
}
