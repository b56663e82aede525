//! Nodes that change a denoiser's layers while it runs.

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::Tensor;
use ebb_engine::node::{Context, Forecast, Inputs, Node, NodeError, Outcome, Sketch, Sketches};
use ebb_engine::registry::{DuplicateClass, Registry};
use ebb_engine::schema::{Input, Schema};
use ebb_models::changes::{Changes, FreeU, Recording, Resize, Shrink, Skipped, Version};
use ebb_sampling::guidance::functions::{self, Patched, SelfAttention};
use ebb_sampling::guidance::{LazyReuse, NegativePatch, Opaque};

use crate::pixels::{self, Crop, Method};
use crate::values::{Model, Patch, Reuse};

/// A class of this file: what it is told, and what it changes.
struct Change {
    class: &'static str,
    display: &'static str,
    category: &'static str,
    module: &'static str,
    experimental: bool,
    inputs: fn(Schema) -> Schema,
    change: fn(&mut Model, &Numbers<'_>) -> Result<(), NodeError>,
}

/// A node's inputs, or what a plan knows of them.
enum Numbers<'a> {
    Inputs(&'a Inputs),
    Sketches(&'a Sketches),
}

fn unknown(name: &str) -> NodeError {
    NodeError::input(name, "is not known yet")
}

impl Numbers<'_> {
    fn float(&self, name: &str) -> Result<f64, NodeError> {
        match self {
            Self::Inputs(inputs) => inputs.float(name),
            Self::Sketches(sketches) => {
                sketches.get(name).as_json().and_then(|v| v.as_f64()).ok_or_else(|| unknown(name))
            }
        }
    }

    fn size(&self, name: &str) -> Result<usize, NodeError> {
        match self {
            Self::Inputs(inputs) => inputs.size(name),
            Self::Sketches(sketches) => {
                let found = sketches.get(name).as_json().and_then(|v| v.as_u64());
                found.and_then(|v| usize::try_from(v).ok()).ok_or_else(|| unknown(name))
            }
        }
    }

    fn bool(&self, name: &str) -> Result<bool, NodeError> {
        match self {
            Self::Inputs(inputs) => inputs.bool(name),
            Self::Sketches(sketches) => {
                sketches.get(name).as_json().and_then(|v| v.as_bool()).ok_or_else(|| unknown(name))
            }
        }
    }

    fn str(&self, name: &str) -> Result<&str, NodeError> {
        match self {
            Self::Inputs(inputs) => inputs.str(name),
            Self::Sketches(sketches) => sketches.str(name).ok_or_else(|| unknown(name)),
        }
    }
}

fn hundredths(name: &str, default: f64, most: f64) -> Input {
    Input::float(name, default).between(0.0, most).option("step", 0.01)
}

fn percent(name: &str, default: f64) -> Input {
    Input::float(name, default).between(0.0, 1.0).option("step", 0.001)
}

const UNET: &str = "model_patches/unet";
const GUIDANCE: &str = "advanced/guidance";

pub(super) fn register(registry: &mut Registry) -> Result<(), DuplicateClass> {
    let plain = Change {
        class: "FreeU",
        display: "FreeU",
        category: UNET,
        module: "comfy_extras.nodes_freelunch",
        experimental: false,
        inputs: |schema| free_u_inputs(schema, 1.1, 1.2),
        change: |model, numbers| free_u(model, numbers, Version::First),
    };
    registry.add(Change { ..plain })?;
    registry.add(Change {
        class: "FreeU_V2",
        display: "FreeU_V2",
        inputs: |schema| free_u_inputs(schema, 1.3, 1.4),
        change: |model, numbers| free_u(model, numbers, Version::Second),
        ..plain
    })?;
    registry.add(Change {
        class: "HyperTile",
        display: "HyperTile",
        module: "comfy_extras.nodes_hypertile",
        inputs: |schema| {
            schema
                .input(Input::int("tile_size", 256).range(1, 2048))
                .input(Input::int("swap_size", 2).range(1, 128))
                .input(Input::int("max_depth", 0).range(0, 10))
                .input(Input::boolean("scale_depth", false))
        },
        change: |model, numbers| {
            model.patches.push(Patch::Tiles {
                size: numbers.size("tile_size")?.max(32) / 8,
                swap: numbers.size("swap_size")?,
                depth: numbers.size("max_depth")? as u32,
                scales: numbers.bool("scale_depth")?,
            });
            Ok(())
        },
        ..plain
    })?;
    registry.add(Change {
        class: "TomePatchModel",
        display: "TomePatchModel",
        module: "comfy_extras.nodes_tomesd",
        inputs: |schema| schema.input(hundredths("ratio", 0.3, 1.0)),
        change: |model, numbers| {
            model.patches.push(Patch::Merge(numbers.float("ratio")?));
            Ok(())
        },
        ..plain
    })?;
    registry.add(Change {
        class: "PatchModelAddDownscale",
        display: "PatchModelAddDownscale (Kohya Deep Shrink)",
        module: "comfy_extras.nodes_model_downscale",
        inputs: |schema| {
            schema
                .input(Input::int("block_number", 3).range(1, 32).option("step", 1))
                .input(Input::float("downscale_factor", 2.0).between(0.1, 9.0).option("step", 0.001))
                .input(percent("start_percent", 0.0))
                .input(percent("end_percent", 0.35))
                .input(Input::boolean("downscale_after_skip", true))
                .input(Input::combo("downscale_method", SHRINK_METHODS).named_combo())
                .input(Input::combo("upscale_method", SHRINK_METHODS).named_combo())
        },
        change: shrink,
        ..plain
    })?;
    registry.add(Change {
        class: "PerturbedAttentionGuidance",
        display: "PerturbedAttentionGuidance",
        module: "comfy_extras.nodes_pag",
        inputs: |schema| schema.input(hundredths("scale", 3.0, 100.0).option("round", 0.01)),
        change: |model, numbers| {
            let patch: Opaque = Arc::new(Changes { perturbed: true, ..Changes::default() });
            let away = Patched {
                patch,
                scale: numbers.float("scale")?,
                start_sigma: f64::INFINITY,
                end_sigma: 0.0,
                rescaling: 0.0,
            };
            Arc::make_mut(&mut model.hooks).post_cfg.push(functions::away_from_patched(away));
            Ok(())
        },
        ..plain
    })?;
    registry.add(Change {
        class: "SelfAttentionGuidance",
        display: "Self-Attention Guidance",
        category: "_for_testing",
        module: "comfy_extras.nodes_sag",
        experimental: true,
        inputs: |schema| {
            schema
                .input(Input::float("scale", 0.5).between(-2.0, 5.0).option("step", 0.01))
                .input(Input::float("blur_sigma", 2.0).between(0.0, 10.0).option("step", 0.1))
        },
        change: self_attention,
    })?;
    registry.add(Change {
        class: "SkipLayerGuidanceSD3",
        display: "SkipLayerGuidanceSD3",
        category: GUIDANCE,
        module: "comfy_extras.nodes_sd3",
        experimental: true,
        inputs: |schema| {
            schema
                .input(Input::string("layers", "7, 8, 9").option("multiline", false))
                .input(Input::float("scale", 3.0).between(0.0, 10.0).option("step", 0.1))
                .input(percent("start_percent", 0.01))
                .input(percent("end_percent", 0.15))
        },
        change: |model, numbers| {
            let skipped = Skipped { double: layers(numbers.str("layers")?), single: Vec::new() };
            skip_layers(model, numbers, skipped, 0.0)
        },
    })?;
    registry.add(Change {
        class: "SkipLayerGuidanceDiT",
        display: "SkipLayerGuidanceDiT",
        category: GUIDANCE,
        module: "comfy_extras.nodes_slg",
        experimental: true,
        inputs: |schema| {
            schema
                .input(Input::string("double_layers", "7, 8, 9").option("multiline", false))
                .input(Input::string("single_layers", "7, 8, 9").option("multiline", false))
                .input(Input::float("scale", 3.0).between(0.0, 10.0).option("step", 0.1))
                .input(percent("start_percent", 0.01))
                .input(percent("end_percent", 0.15))
                .input(hundredths("rescaling_scale", 0.0, 10.0))
        },
        change: |model, numbers| {
            skip_layers(model, numbers, skipped(numbers)?, numbers.float("rescaling_scale")?)
        },
    })?;
    registry.add(Change {
        class: "SkipLayerGuidanceDiTSimple",
        display: "SkipLayerGuidanceDiTSimple",
        category: GUIDANCE,
        module: "comfy_extras.nodes_slg",
        experimental: true,
        inputs: |schema| {
            schema
                .input(Input::string("double_layers", "7, 8, 9").option("multiline", false))
                .input(Input::string("single_layers", "7, 8, 9").option("multiline", false))
                .input(percent("start_percent", 0.0))
                .input(percent("end_percent", 1.0))
        },
        change: |model, numbers| {
            let skipped = skipped(numbers)?;
            if skipped == Skipped::default() {
                return Ok(());
            }
            let patch = NegativePatch {
                patch: Arc::new(Changes { skipped, ..Changes::default() }),
                start_sigma: model.sampling.percent_to_sigma(numbers.float("start_percent")?),
                end_sigma: model.sampling.percent_to_sigma(numbers.float("end_percent")?),
            };
            Arc::make_mut(&mut model.hooks).negative_patch = Some(patch);
            Ok(())
        },
    })?;
    registry.add(Change {
        class: "EasyCache",
        display: "EasyCache",
        category: "advanced/debug/model",
        module: "comfy_extras.nodes_easycache",
        experimental: true,
        inputs: reuse,
        change: |model, numbers| {
            model.reuse = Some(Reuse {
                threshold: numbers.float("reuse_threshold")?,
                start_percent: numbers.float("start_percent")?,
                end_percent: numbers.float("end_percent")?,
                verbose: numbers.bool("verbose")?,
            });
            Ok(())
        },
    })?;
    registry.add(Change {
        class: "LazyCache",
        display: "LazyCache",
        category: "advanced/debug/model",
        module: "comfy_extras.nodes_easycache",
        experimental: true,
        inputs: reuse,
        change: |model, numbers| {
            Arc::make_mut(&mut model.hooks).lazy = Some(LazyReuse {
                threshold: numbers.float("reuse_threshold")?,
                start_percent: numbers.float("start_percent")?,
                end_percent: numbers.float("end_percent")?,
            });
            Ok(())
        },
    })
}

/// How far steps may take earlier answers.
fn reuse(schema: Schema) -> Schema {
    schema
        .input(hundredths("reuse_threshold", 0.2, 3.0))
        .input(hundredths("start_percent", 0.15, 1.0))
        .input(hundredths("end_percent", 0.95, 1.0))
        .input(Input::boolean("verbose", false))
}

impl Node for Change {
    fn schema(&self) -> Schema {
        let schema = Schema::new(self.class)
            .display(self.display)
            .category(self.category)
            .module(self.module)
            .input(Input::wire("model", "MODEL"));
        let mut schema = (self.inputs)(schema).output("MODEL");
        schema.experimental = self.experimental;
        schema
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let mut model = (*inputs.payload::<Model>("model")?).clone();
        (self.change)(&mut model, &Numbers::Inputs(inputs))?;
        Ok(Outcome::payload(model))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        let Some(model) = inputs.what::<Model>("model") else { return Ok(Forecast::unknown()) };
        let mut changed = (*model).clone();
        // What another node is still to say changes nothing that a plan reckons with.
        let model = match (self.change)(&mut changed, &Numbers::Sketches(inputs)) {
            Ok(()) => Arc::new(changed),
            Err(_) => model,
        };
        Ok(Forecast::output(Sketch::handle(model)))
    }
}

fn free_u_inputs(schema: Schema, b1: f64, b2: f64) -> Schema {
    [("b1", b1), ("b2", b2), ("s1", 0.9), ("s2", 0.2)]
        .into_iter()
        .fold(schema, |schema, (name, default)| schema.input(hundredths(name, default, 10.0)))
}

/// The deepest blocks are four times as wide as the first, the next two times.
fn free_u(model: &mut Model, numbers: &Numbers<'_>, version: Version) -> Result<(), NodeError> {
    let one = |width, stream: &str, skip: &str| -> Result<FreeU, NodeError> {
        let (stream, skip) = (numbers.float(stream)? as f32, numbers.float(skip)? as f32);
        Ok(FreeU { version, width, stream, skip })
    };
    let free_u = vec![one(4, "b1", "s1")?, one(2, "b2", "s2")?];
    model.patches.push(Patch::Layers(Arc::new(Changes { free_u, ..Changes::default() })));
    Ok(())
}

const SHRINK_METHODS: [&str; 5] = ["bicubic", "nearest-exact", "bilinear", "area", "bislerp"];

fn resize(method: &str) -> Result<Resize, NodeError> {
    let method: Method = method
        .parse()
        .map_err(|_| NodeError::input("downscale_method", format!("'{method}' is not known")))?;
    Ok(Arc::new(move |x: &Tensor, height: usize, width: usize| {
        pixels::latent(x, width, height, method, Crop::Disabled)
            .map_err(|e| candle_core::Error::Msg(e.message).into())
    }))
}

fn shrink(model: &mut Model, numbers: &Numbers<'_>) -> Result<(), NodeError> {
    let sampling = &model.sampling;
    let sigmas = (
        sampling.percent_to_sigma(numbers.float("start_percent")?),
        sampling.percent_to_sigma(numbers.float("end_percent")?),
    );
    let shrink = Shrink {
        block: numbers.size("block_number")?,
        factor: numbers.float("downscale_factor")?,
        after_skip: numbers.bool("downscale_after_skip")?,
        down: resize(numbers.str("downscale_method")?)?,
        up: resize(numbers.str("upscale_method")?)?,
        sigmas,
    };
    model.patches.push(Patch::Shrink(shrink));
    Ok(())
}

fn self_attention(model: &mut Model, numbers: &Numbers<'_>) -> Result<(), NodeError> {
    let sums: Arc<Mutex<Vec<Vec<f32>>>> = Arc::default();
    let recorder = Some(Recording { sums: sums.clone(), samples: (0, 0) });
    model.patches.push(Patch::Layers(Arc::new(Changes { recorder, ..Changes::default() })));
    let settings = SelfAttention {
        scale: numbers.float("scale")?,
        blur: numbers.float("blur_sigma")?,
        looked_at: Arc::new(move || sums.lock().unwrap_or_else(PoisonError::into_inner).clone()),
    };
    let hooks = Arc::make_mut(&mut model.hooks);
    hooks.post_cfg.push(functions::self_attention_guidance(settings));
    hooks.needs_negative = true;
    Ok(())
}

/// The numbers in a text, whatever stands between them.
fn layers(text: &str) -> Vec<usize> {
    text.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}

fn skipped(numbers: &Numbers<'_>) -> Result<Skipped, NodeError> {
    Ok(Skipped {
        double: layers(numbers.str("double_layers")?),
        single: layers(numbers.str("single_layers")?),
    })
}

fn skip_layers(
    model: &mut Model,
    numbers: &Numbers<'_>,
    skipped: Skipped,
    rescaling: f64,
) -> Result<(), NodeError> {
    if skipped == Skipped::default() {
        return Ok(());
    }
    let away = Patched {
        patch: Arc::new(Changes { skipped, ..Changes::default() }),
        scale: numbers.float("scale")?,
        start_sigma: model.sampling.percent_to_sigma(numbers.float("start_percent")?),
        end_sigma: model.sampling.percent_to_sigma(numbers.float("end_percent")?),
        rescaling,
    };
    Arc::make_mut(&mut model.hooks).post_cfg.push(functions::away_from_patched(away));
    Ok(())
}
